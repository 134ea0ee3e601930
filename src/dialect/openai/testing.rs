//! What the tests of both dialects need: answers at random, streams that tell them in random pieces, and an
//! accumulator such as clients have.

use std::{collections::BTreeMap, fmt::Write as _};

use fastrand::Rng;
use proptest::prelude::*;

use crate::{
    dialect::api::Api,
    http::sse,
    json::{Json, Member},
};

pub(in crate::dialect) fn parse(text: &str) -> Json<'_> {
    Json::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(in crate::dialect) fn written(json: &Json<'_>) -> String {
    let mut out = Vec::new();
    json.write(&mut out);
    String::from_utf8(out).expect("UTF-8")
}

/// The text of a value with all members in the order of their names.
pub(in crate::dialect) fn canonical(text: &str) -> String {
    fn sort(json: &mut Json<'_>) {
        match json {
            Json::Array(items) => items.iter_mut().for_each(sort),
            Json::Object(members) => {
                members.iter_mut().for_each(|member| sort(&mut member.value));
                members.sort_by(|a, b| a.name.cmp(&b.name));
            }
            _ => {}
        }
    }
    let mut json = parse(text);
    sort(&mut json);
    written(&json)
}

/// The same without members that are null.
pub(in crate::dialect) fn said(text: &str) -> String {
    fn strip(json: &mut Json<'_>) {
        match json {
            Json::Array(items) => items.iter_mut().for_each(strip),
            Json::Object(members) => {
                members.retain(|member| !member.value.is_null());
                members.iter_mut().for_each(|member| strip(&mut member.value));
            }
            _ => {}
        }
    }
    let mut json = parse(text);
    strip(&mut json);
    canonical(&written(&json))
}

/// Some members more that are null, where an object has none of that name.
pub(in crate::dialect) fn add_nulls(json: &mut Json<'_>, names: &[&'static str], rng: &mut Rng) {
    for name in names {
        if json.is_object() && json.get(name).is_none() && rng.bool() {
            json.set(*name, Json::Null);
        }
    }
}

/// The element of `json` at these members and indices, to be changed.
pub(in crate::dialect) fn items_mut<'j, 'a>(json: &'j mut Json<'a>, name: &str) -> &'j mut [Json<'a>] {
    let Json::Object(members) = json else { return &mut [] };
    match members.iter_mut().find(|member| member.name == name).map(|member| &mut member.value) {
        Some(Json::Array(items)) => items,
        _ => &mut [],
    }
}

/// The member `name` of an object, to be changed.
pub(in crate::dialect) fn member_mut<'j, 'a>(json: &'j mut Json<'a>, name: &str) -> Option<&'j mut Json<'a>> {
    let Json::Object(members) = json else { return None };
    members.iter_mut().find(|member| member.name == name).map(|member| &mut member.value)
}

/// A text of some thousand bytes, most of them parts of longer characters, as JSON.
pub(in crate::dialect) fn long_text() -> impl Strategy<Value = String> {
    ("[ab ü😀\"\\\\\n\u{2028}]{1,9}", 0..5_000_usize)
        .prop_map(|(text, times)| written(&Json::text(text.repeat(times / text.len()))))
}

/// The longest text in a value.
pub(in crate::dialect) fn longest(json: &Json<'_>) -> usize {
    match json {
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(longest).max().unwrap_or(0),
        Json::Object(members) => members.iter().map(|member| longest(&member.value)).max().unwrap_or(0),
        _ => 0,
    }
}

/// The longest text in a stream's events.
pub(in crate::dialect) fn longest_told(events: &[sse::Event]) -> usize {
    let told = |event: &sse::Event| Json::parse(event.data.as_bytes()).map_or(0, |json| longest(&json));
    events.iter().map(told).max().unwrap_or(0)
}

/// A text's tokens at random: its characters, some of them together.
pub(in crate::dialect) fn any_tokens(text: &str, rng: &mut Rng) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    for letter in text.chars() {
        match tokens.last_mut() {
            Some(token) if rng.u8(..8) > 0 => token.push(letter),
            _ => tokens.push(letter.to_string()),
        }
    }
    tokens
}

/// A stream of these chunks.
pub(in crate::dialect) fn stream(chunks: &[impl AsRef<str>]) -> String {
    chunks.iter().map(AsRef::as_ref).chain(["[DONE]"]).fold(String::new(), |mut text, data| {
        let _ = write!(text, "data: {data}\n\n");
        text
    })
}

pub(in crate::dialect) fn to_whole(api: &dyn Api, stream: &str) -> Option<String> {
    api.to_whole(&sse::decode(stream.as_bytes())).map(|out| String::from_utf8(out).expect("UTF-8"))
}

pub(in crate::dialect) fn to_stream(api: &dyn Api, whole: &str, with_usage: bool) -> Option<String> {
    api.to_stream(&parse(whole), with_usage).map(|out| String::from_utf8(out).expect("UTF-8"))
}

pub(in crate::dialect) fn with_usage(api: &dyn Api, stream: &str, with_usage: bool) -> Option<String> {
    let out = api.with_usage(&sse::decode(stream.as_bytes()), with_usage);
    out.map(|out| String::from_utf8(out).expect("UTF-8"))
}

/// A string of JSON, with what needs escapes, what is longer than two bytes, and what lines end in.
pub(in crate::dialect) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "\\PC{1,9}", "[\n\r\t\"\\\\ a-c{}é\u{2028}😀]{1,12}"]
        .prop_map(|text: String| written(&Json::text(text)))
}

pub(in crate::dialect) fn any_number() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,25})?(e-[1-9]{1,2})?"
}

/// Some value, nested or not.
pub(in crate::dialect) fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("[]".to_owned()),
        Just("true".to_owned()),
        any_text(),
        any_number(),
        any_text().prop_map(|text| format!(r#"{{"index":0,"x":[{text}]}}"#)),
        any_number().prop_map(|number| format!(r#"[{{"index":7,"n":{number}}},{number}]"#)),
    ]
}

/// `"NAME":VALUE`, or nothing.
pub(in crate::dialect) fn maybe(
    name: &'static str,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = Option<String>> {
    proptest::option::of(value).prop_map(move |value| value.map(|value| format!("\"{name}\":{value}")))
}

pub(in crate::dialect) fn or_null(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    proptest::option::of(value).prop_map(|value| value.unwrap_or_else(|| "null".to_owned()))
}

pub(in crate::dialect) fn list(
    item: impl Strategy<Value = String>,
    max: usize,
) -> impl Strategy<Value = String> {
    proptest::collection::vec(item, 0..=max).prop_map(|items| format!("[{}]", items.join(",")))
}

pub(in crate::dialect) fn object(members: impl IntoIterator<Item = Option<String>>) -> String {
    format!("{{{}}}", members.into_iter().flatten().collect::<Vec<_>>().join(","))
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

/// A text in random pieces, some empty, as JSON.
pub(in crate::dialect) fn pieces(text: &str, rng: &mut Rng) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for letter in text.chars() {
        if rng.u8(..4) == 0 {
            pieces.push(String::new());
        }
        pieces.last_mut().expect("a piece").push(letter);
    }
    pieces.iter().map(|piece| written(&Json::text(piece.as_str()))).collect()
}

/// The chunks that tell a document's choices in `parts`, those of each choice in order, of all at random.
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

pub(in crate::dialect) fn one_member(member: &Member<'_>) -> String {
    format!("{}:{}", written(&Json::text(&*member.name)), written(&member.value))
}

/// What a client has read when the stream is over: where each text and value came from, and what it is. It knows
/// nothing of the dialects but that texts grow, that lists do, and that elements with an `index` are told in
/// parts: as `accumulate_delta` of the API's own Python client does.
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

/// `text`, one character replaced by, or one piece of JSON put before it.
pub(in crate::dialect) fn broken(text: &str, rng: &mut Rng) -> String {
    const JUNK: [&str; 12] =
        ["", "{", "}", "[", "]", "\"", ",", "null", "0", "\n\n", "data: {}\n\n", "\"index\":null,"];
    let mut letters: Vec<String> = text.chars().map(String::from).collect();
    for _ in 0..=rng.u8(..3) {
        let place = rng.usize(..letters.len());
        let junk = *rng.choice(&JUNK).expect("some");
        if rng.bool() {
            letters[place] = junk.to_owned();
        } else {
            letters.insert(place, junk.to_owned());
        }
    }
    letters.concat()
}

/// Every conversion of whatever this is.
pub(in crate::dialect) fn convert_all(api: &dyn Api, bytes: &[u8]) {
    for events in [sse::decode(bytes), sse::decode_lines(bytes)] {
        api.to_whole(&events);
        api.with_usage(&events, true);
        api.with_usage(&events, false);
    }
    if let Ok(whole) = Json::parse(bytes) {
        api.to_stream(&whole, true);
        api.to_stream(&whole, false);
    }
}
