//! A stream with its usage, and without; a request that asks for it.

use std::borrow::Cow;

use super::{DONE, TIMINGS, chunks, value};
use crate::{
    dialect::merge::same,
    http::sse::{self, Framing},
    json::{Json, Member, splice::Splicer},
};

/// The stream for a request that asks for its usage, or does not (`stream_options.include_usage`:
/// platform.openai.com/docs/api-reference/chat/create). Without it, no chunk has only the usage, and no other
/// has a `usage` member. The timings move to the chunk before, which is the last then.
///
/// `None` if the request asks for a usage that was not reported, or if the chunk with the usage says
/// something else too.
pub(in crate::dialect) fn with_usage(events: &[sse::Event], with_usage: bool) -> Option<Vec<u8>> {
    let chunks = chunks(events)?;
    if with_usage {
        let has_usage = |chunk: &[Member<'_>]| value(chunk, "usage").is_some_and(Json::is_object);
        chunks.iter().any(|(_, chunk)| has_usage(chunk)).then_some(())?;
    }
    let mut out = Vec::new();
    let mut last: Option<Shown<'_>> = None;
    for (event, chunk) in &chunks {
        let usage = chunk.iter().position(|member| member.name == "usage");
        let data = match usage.filter(|_| !with_usage) {
            None => Cow::Borrowed(event.data.as_str()),
            Some(place) if has_only_usage(chunk, place) => {
                let last = last.as_mut()?;
                repeats(chunk, last.chunk).then_some(())?;
                if let Some(timings) = value(chunk, TIMINGS).filter(|timings| !timings.is_null()) {
                    last.data = with_timings(&last.data, timings)?.into();
                }
                continue;
            }
            Some(place) => without(&event.data, chunk, place)?.into(),
        };
        if let Some(last) = last.replace(Shown { event, chunk, data }) {
            last.write(&mut out);
        }
    }
    if let Some(last) = last {
        last.write(&mut out);
    }
    out.extend_from_slice(format!("data: {DONE}\n\n").as_bytes());
    Some(out)
}

/// Whole events of a stream without their usage, for clients that did not ask for it. All else is as it was.
pub(in crate::dialect) fn hidden(whole: &[u8]) -> Vec<u8> {
    let mut splicer = Splicer::new(whole);
    let mut end = 0;
    for event in Framing::Events.events(whole).unwrap_or_default() {
        let start = std::mem::replace(&mut end, event.end);
        let Some(data) = &event.span else { continue };
        let Ok(Json::Object(chunk)) = Json::parse(event.data.as_bytes()) else { continue };
        let Some(place) = chunk.iter().position(|member| member.name == "usage") else { continue };
        if has_only_usage(&chunk, place) {
            splicer.replace(start..end, b"");
        } else if let Some(shown) = without(&event.data, &chunk, place) {
            splicer.replace(data.clone(), shown.as_bytes());
        }
    }
    splicer.finish()
}

/// The request `body` with a wish for the stream's usage. It is `json`, parsed, and asks for a stream. All
/// else is as it was.
pub(in crate::dialect) fn asked(body: &[u8], json: &Json<'_>) -> Vec<u8> {
    const ASKS: &str = "\"include_usage\":true";
    let options = json.member("stream_options");
    let (cut, text) = match options.map(|options| (&options.value, options)) {
        Some((Json::Object(members), options)) => {
            match members.iter().find(|own| own.name == "include_usage") {
                Some(own) => (own.span.clone(), "true".to_owned()),
                None => {
                    let inside = options.span.start + 1;
                    let comma = if members.is_empty() { "" } else { "," };
                    (inside..inside, format!("{ASKS}{comma}"))
                }
            }
        }
        Some((_, options)) => (options.span.clone(), format!("{{{ASKS}}}")),
        None => {
            let inside = body.iter().position(|byte| *byte == b'{').map_or(0, |brace| brace + 1);
            (inside..inside, format!("\"stream_options\":{{{ASKS}}},"))
        }
    };
    let mut splicer = Splicer::with_capacity(body, body.len() + text.len());
    splicer.replace(cut, text.as_bytes());
    splicer.finish()
}

fn has_only_usage(chunk: &[Member<'_>], usage: usize) -> bool {
    value(chunk, "choices").is_none_or(|choices| choices.items().is_empty())
        && chunk.get(usage).is_some_and(|usage| usage.value.is_object())
}

/// Whether a chunk says nothing but its usage that the one before it does not say.
fn repeats(chunk: &[Member<'_>], before: &[Member<'_>]) -> bool {
    chunk
        .iter()
        .filter(|member| !member.value.is_null())
        .filter(|member| {
            !matches!(&*member.name, "usage" | "choices" | "object" | "created" | "obfuscation" | TIMINGS)
        })
        .all(|member| value(before, &member.name).is_some_and(|value| same(value, &member.value)))
}

/// The text of an object without the member at `place`. All else is as it was.
fn without(text: &str, members: &[Member<'_>], place: usize) -> Option<String> {
    let end = members.get(place)?.span.end;
    let cut = match place.checked_sub(1) {
        // The comma before it goes,
        Some(before) => members.get(before)?.span.end..end,
        // or the one behind it, if it is the first.
        None => {
            let comma = text.get(end..)?.find([',', '}'])? + end;
            let behind = if members.len() > 1 { comma + 1 } else { comma };
            text.find('{')? + 1..behind
        }
    };
    let (before, behind) = (text.get(..cut.start)?, text.get(cut.end..)?);
    Some([before, behind].concat())
}

/// The text of a chunk with these timings.
fn with_timings(text: &str, timings: &Json<'_>) -> Option<String> {
    let mut chunk = Json::parse(text.as_bytes()).ok()?;
    chunk.set(TIMINGS, timings.clone());
    let mut out = Vec::new();
    chunk.write(&mut out);
    String::from_utf8(out).ok()
}

/// A chunk, and its text for the request.
struct Shown<'a> {
    event: &'a sse::Event,
    chunk: &'a [Member<'a>],
    data: Cow<'a, str>,
}

impl Shown<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let name = &self.event.name;
        let name = (!name.is_empty()).then(|| format!("event: {name}\n"));
        out.extend_from_slice(name.unwrap_or_default().as_bytes());
        for line in self.data.split('\n') {
            out.extend_from_slice(format!("data: {line}\n").as_bytes());
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_hidden_and_nothing_else() {
        let stream = ": note\n\ndata: {\"usage\": null, \"choices\":[{\"index\":0}]}\n\n\
                      data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\r\n\r\n\
                      event: x\ndata: {\"choices\":[{}],\"usage\":{\"a\":1},\"z\":2}\n\ndata: [DONE]\n\n";
        let shown = ": note\n\ndata: { \"choices\":[{\"index\":0}]}\n\n\
                     \nevent: x\ndata: {\"choices\":[{}],\"z\":2}\n\ndata: [DONE]\n\n";
        assert_eq!(String::from_utf8(hidden(stream.as_bytes())).expect("UTF-8"), shown);
    }

    #[test]
    fn a_request_asks_for_usage_with_all_else_as_it_was() {
        for (body, expected) in [
            (
                r#" {"stream":true, "a": 1.0}"#,
                r#" {"stream_options":{"include_usage":true},"stream":true, "a": 1.0}"#,
            ),
            (r#"{"stream_options": null}"#, r#"{"stream_options": {"include_usage":true}}"#),
            (r#"{"stream_options":{}}"#, r#"{"stream_options":{"include_usage":true}}"#),
            (
                r#"{"stream_options":{ "include_usage" : false }}"#,
                r#"{"stream_options":{ "include_usage" : true }}"#,
            ),
            (r#"{"stream_options":{"x":1}}"#, r#"{"stream_options":{"include_usage":true,"x":1}}"#),
        ] {
            let json = Json::parse(body.as_bytes()).expect("JSON");
            assert_eq!(String::from_utf8(asked(body.as_bytes(), &json)).expect("UTF-8"), expected);
        }
    }
}
