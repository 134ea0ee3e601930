//! A stream with its usage, and without.

use super::{DONE, chunks, merge::same, value};
use crate::{
    dialect::sse,
    json::{Json, Member},
};

/// The stream for a request that asks for its usage, or does not
/// (`stream_options.include_usage`: platform.openai.com/docs/api-reference/chat/create): without it, there is no
/// chunk that has nothing but the usage, and no `usage` member in any other.
///
/// `None` where the usage is asked for and was not told, or where the chunk that tells it says something else too.
pub(in crate::dialect) fn with_usage(events: &[sse::Event], with_usage: bool) -> Option<Vec<u8>> {
    let chunks: Vec<_> = chunks(events)?.collect::<Option<_>>()?;
    if with_usage {
        let told = |chunk: &Vec<Member<'_>>| value(chunk, "usage").is_some_and(Json::is_object);
        chunks.iter().any(told).then_some(())?;
    }
    let (mut out, mut last) = (Vec::new(), None);
    for (event, chunk) in events.iter().zip(&chunks) {
        let usage = chunk.iter().position(|member| member.name == "usage");
        match usage.filter(|_| !with_usage) {
            None => write(event, &event.data, &mut out),
            Some(place) if only_tells_usage(chunk, place) => {
                repeats(chunk, last?).then_some(())?;
                continue;
            }
            Some(place) => write(event, &without(&event.data, chunk, place)?, &mut out),
        }
        last = Some(chunk);
    }
    out.extend_from_slice(format!("data: {DONE}\n\n").as_bytes());
    Some(out)
}

fn only_tells_usage(chunk: &[Member<'_>], usage: usize) -> bool {
    value(chunk, "choices").is_some_and(|choices| choices.items().is_empty())
        && chunk.get(usage).is_some_and(|usage| usage.value.is_object())
}

/// Whether a chunk says nothing that the one before it does not say, its usage aside.
fn repeats(chunk: &[Member<'_>], before: &[Member<'_>]) -> bool {
    chunk
        .iter()
        .filter(|member| !member.value.is_null())
        .filter(|member| !matches!(&*member.name, "usage" | "choices" | "object" | "created" | "obfuscation"))
        .all(|member| value(before, &member.name).is_some_and(|value| same(value, &member.value)))
}

/// The text of an object without the member at `place`, all else as it was.
fn without(text: &str, members: &[Member<'_>], place: usize) -> Option<String> {
    let end = members.get(place)?.span.end;
    let cut = match place.checked_sub(1) {
        // With the comma before it,
        Some(before) => members.get(before)?.span.end..end,
        // or, where it is the first, with the one behind it.
        None => {
            let comma = text.get(end..)?.find([',', '}'])? + end;
            let behind = if members.len() > 1 { comma + 1 } else { comma };
            text.find('{')? + 1..behind
        }
    };
    let (before, behind) = (text.get(..cut.start)?, text.get(cut.end..)?);
    Some([before, behind].concat())
}

fn write(event: &sse::Event, data: &str, out: &mut Vec<u8>) {
    let name = (!event.name.is_empty()).then(|| format!("event: {}\n", event.name));
    out.extend_from_slice(name.unwrap_or_default().as_bytes());
    for line in data.split('\n') {
        out.extend_from_slice(format!("data: {line}\n").as_bytes());
    }
    out.push(b'\n');
}
