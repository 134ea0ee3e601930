//! What the tests of chunks with choices need: documents at random, streams that say them in random pieces,
//! and an accumulator like those of clients.

use std::{collections::BTreeMap, fmt::Write as _};

use fastrand::Rng;
use proptest::prelude::*;

use crate::{
    dialect::testing::{
        any_number, any_text, any_value, canonical, maybe, object, one_member, or_null, parse, written,
    },
    http::sse,
    json::{Json, Member},
};

/// A stream of these chunks.
pub(in crate::dialect) fn stream(chunks: &[impl AsRef<str>]) -> String {
    chunks.iter().map(AsRef::as_ref).chain(["[DONE]"]).fold(String::new(), |mut text, data| {
        let _ = write!(text, "data: {data}\n\n");
        text
    })
}

/// A document with these choices, each without its `index`.
pub(in crate::dialect) fn any_whole(
    object_name: &'static str,
    choice: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    let choices = proptest::collection::vec(choice, 1..4);
    let others = (
        maybe("service_tier", or_null(any_text())),
        maybe("system_fingerprint", or_null(any_text())),
        maybe("prompt_filter_results", any_value()),
        maybe("vendors_own", any_value()),
        maybe("timings", any_number().prop_map(|n| format!(r#"{{"predicted_ms":{n}}}"#))),
    );
    (any_text(), any_text(), choices, others, any_number()).prop_map(
        move |(id, model, choices, (tier, print, filter, vendors, timings), number)| {
            let choices: Vec<_> = choices
                .iter()
                .enumerate()
                .map(|(index, choice)| format!("{{\"index\":{index},{}", &choice[1..]))
                .collect();
            object([
                Some(format!(r#""id":{id},"object":"{object_name}","created":17,"model":{model}"#)),
                tier,
                print,
                filter,
                vendors,
                timings,
                Some(format!(r#""choices":[{}]"#, choices.join(","))),
                Some(format!(r#""usage":{{"prompt_tokens":1,"x":{{"y":{number}}},"total_tokens":2}}"#)),
            ])
        },
    )
}

/// Chunks that say a document's choices in `parts`. Those of one choice are in order, the choices at random.
pub(in crate::dialect) fn tell(
    whole: &Json<'_>,
    chunk_name: &str,
    mut parts: Vec<std::collections::VecDeque<String>>,
    rng: &mut Rng,
) -> Vec<String> {
    let without = |name: &&Member<'_>| !matches!(&*name.name, "choices" | "usage" | "object");
    let head: Vec<_> = whole.members().iter().filter(without).map(one_member).collect();
    let mut chunks = Vec::new();
    while !parts.is_empty() {
        let mut choices = Vec::new();
        while choices.is_empty() || (rng.u8(..5) == 0 && !parts.is_empty()) {
            let place = rng.usize(..parts.len());
            choices.extend(parts[place].pop_front());
            parts.retain(|parts| !parts.is_empty());
        }
        let mut chunk: Vec<_> = head.clone();
        // What is told in no chunk but one, or in all.
        if !chunks.is_empty() {
            chunk.retain(|member| !member.starts_with("\"prompt_filter_results\""));
        }
        // It grows, and only the last counts.
        chunk.retain(|member| !member.starts_with("\"timings\""));
        if head.iter().any(|member| member.starts_with("\"timings\"")) && rng.u8(..4) == 0 {
            chunk.push(r#""timings":0"#.to_owned());
        }
        chunk.push(format!(r#""object":"{chunk_name}""#));
        chunk.push(format!(r#""choices":[{}]"#, choices.join(",")));
        if rng.bool() {
            chunk.push(r#""obfuscation":"xyz""#.to_owned());
        }
        chunk.push(r#""usage":null"#.to_owned());
        rng.shuffle(&mut chunk);
        chunks.push(format!("{{{}}}", chunk.join(",")));
    }
    let mut last = head;
    last.retain(|member| !member.starts_with("\"prompt_filter_results\""));
    last.push(format!(r#""object":"{chunk_name}","choices":[],"obfuscation":"""#));
    last.push(format!("\"usage\":{}", written(whole.get("usage").expect("usage"))));
    chunks.push(format!("{{{}}}", last.join(",")));
    chunks
}

/// What a client has read when the stream is over: where each text and value came from, and what it is. It
/// knows nothing of the dialects but that texts grow, that lists do, and that elements with an `index` are
/// told in parts: as `accumulate_delta` of the API's own Python client does.
pub(in crate::dialect) fn accumulate(stream: &str) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    for event in sse::decode(stream.as_bytes()) {
        if event.data != "[DONE]" {
            add(&mut seen, String::new(), &parse(&event.data));
        }
    }
    seen
}

fn add(seen: &mut BTreeMap<String, String>, path: String, json: &Json<'_>) {
    let name = path.rsplit('/').next().unwrap_or_default();
    match json {
        Json::Null => {}
        Json::Object(members) => {
            for Member { name, value, .. } in members.iter().filter(|member| member.name != "obfuscation") {
                let path = format!("{path}/{name}");
                // All but choices is told whole, if at all.
                if path.starts_with("/choices") || value.is_null() {
                    add(seen, path, value);
                } else {
                    seen.insert(path, canonical(&written(value)));
                }
            }
        }
        Json::Array(items) => {
            for item in items {
                let count = seen.entry(format!("{path}#")).or_default();
                let place = item.get("index").map_or_else(|| format!("+{}", count.len()), written);
                if item.get("index").is_none() {
                    count.push('|');
                }
                add(seen, format!("{path}/{place}"), item);
            }
        }
        Json::String(text)
            if path.starts_with("/choices/")
                && !matches!(name, "role" | "id" | "type" | "name" | "finish_reason") =>
        {
            seen.entry(path).or_default().push_str(text);
        }
        // The same again, or for the first time.
        _ => drop(seen.insert(path, written(json))),
    }
}
