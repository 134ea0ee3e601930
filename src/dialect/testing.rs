//! What the tests of several APIs need: documents at random, both directions of a conversion, and damage.

use fastrand::Rng;
use proptest::prelude::*;
use serde_json::Value;

use crate::{
    dialect::api::Api,
    http::sse::{self, Framing},
    json::{Json, Member},
};

pub(super) fn parse(text: &str) -> Json<'_> {
    Json::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(super) fn written(json: &Json<'_>) -> String {
    let mut out = Vec::new();
    json.write(&mut out);
    String::from_utf8(out).expect("UTF-8")
}

/// The text of a value with all members in the order of their names.
pub(super) fn canonical(text: &str) -> String {
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

/// The text of [`canonical`] without members that are null.
pub(super) fn said(text: &str) -> String {
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

/// Adds null under some of these names, if an object has no such member.
pub(super) fn add_nulls(json: &mut Json<'_>, names: &[&'static str], rng: &mut Rng) {
    for name in names {
        if json.is_object() && json.get(name).is_none() && rng.bool() {
            json.set(*name, Json::Null);
        }
    }
}

/// The element of `json` at these members and indices, to be changed.
pub(super) fn items_mut<'j, 'a>(json: &'j mut Json<'a>, name: &str) -> &'j mut [Json<'a>] {
    let Json::Object(members) = json else { return &mut [] };
    match members.iter_mut().find(|member| member.name == name).map(|member| &mut member.value) {
        Some(Json::Array(items)) => items,
        _ => &mut [],
    }
}

/// The member `name` of an object, to be changed.
pub(super) fn member_mut<'j, 'a>(json: &'j mut Json<'a>, name: &str) -> Option<&'j mut Json<'a>> {
    let Json::Object(members) = json else { return None };
    members.iter_mut().find(|member| member.name == name).map(|member| &mut member.value)
}

/// A text of some thousand bytes, most of them parts of longer characters, as JSON.
pub(super) fn long_text() -> impl Strategy<Value = String> {
    ("[ab ü😀\"\\\\\n\u{2028}]{1,9}", 0..5_000_usize)
        .prop_map(|(text, times)| written(&Json::text(text.repeat(times / text.len()))))
}

/// The longest text in a value.
pub(super) fn longest(json: &Json<'_>) -> usize {
    match json {
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(longest).max().unwrap_or(0),
        Json::Object(members) => members.iter().map(|member| longest(&member.value)).max().unwrap_or(0),
        _ => 0,
    }
}

/// The longest text in a stream's events.
pub(super) fn longest_told(events: &[sse::Event]) -> usize {
    let told = |event: &sse::Event| Json::parse(event.data.as_bytes()).map_or(0, |json| longest(&json));
    events.iter().map(told).max().unwrap_or(0)
}

pub(super) fn to_whole(api: &dyn Api, stream: &str) -> Option<String> {
    let events = Framing::from_media_type(api.stream_media()).events(stream.as_bytes()).expect("a stream");
    api.to_whole(&events).map(|out| String::from_utf8(out).expect("UTF-8"))
}

pub(super) fn to_stream(api: &dyn Api, whole: &str, with_usage: bool) -> Option<String> {
    api.to_stream(&parse(whole), with_usage).map(|out| String::from_utf8(out).expect("UTF-8"))
}

pub(super) fn with_usage(api: &dyn Api, stream: &str, with_usage: bool) -> Option<String> {
    let out = api.with_usage(&sse::decode(stream.as_bytes()), with_usage);
    out.map(|out| String::from_utf8(out).expect("UTF-8"))
}

/// A string of JSON, with what needs escapes, what is longer than two bytes, and what lines end in.
pub(super) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "\\PC{1,9}", "[\n\r\t\"\\\\ a-c{}é\u{2028}😀]{1,12}"]
        .prop_map(|text: String| written(&Json::text(text)))
}

pub(super) fn any_number() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,25})?(e-[1-9]{1,2})?"
}

/// Some value, nested or not.
pub(super) fn any_value() -> impl Strategy<Value = String> {
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
pub(super) fn maybe(
    name: &'static str,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = Option<String>> {
    proptest::option::of(value).prop_map(move |value| value.map(|value| format!("\"{name}\":{value}")))
}

pub(super) fn or_null(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    proptest::option::of(value).prop_map(|value| value.unwrap_or_else(|| "null".to_owned()))
}

pub(super) fn list(item: impl Strategy<Value = String>, max: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(item, 0..=max).prop_map(|items| format!("[{}]", items.join(",")))
}

pub(super) fn object(members: impl IntoIterator<Item = Option<String>>) -> String {
    format!("{{{}}}", members.into_iter().flatten().collect::<Vec<_>>().join(","))
}

pub(super) fn one_member(member: &Member<'_>) -> String {
    format!("{}:{}", written(&Json::text(&*member.name)), written(&member.value))
}

/// `text`, one character replaced by, or one piece of JSON put before it.
pub(super) fn broken(text: &str, rng: &mut Rng) -> String {
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
pub(super) fn convert_all(api: &dyn Api, bytes: &[u8]) {
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

/// A document without white space.
pub(super) fn compact(document: &str) -> String {
    written(&parse(document))
}

/// The data of a stream's events, each of which has its type for a name.
pub(super) fn typed_events(stream: &str) -> Vec<Value> {
    let read = |event: sse::Event| {
        let json: Value = serde_json::from_str(&event.data).expect("JSON");
        assert_eq!(json["type"], event.name);
        json
    };
    sse::decode(stream.as_bytes()).into_iter().map(read).collect()
}

/// The stream of these events, each with its type for a name.
pub(super) fn typed_stream(events: &[Value]) -> String {
    let name = |event: &Value| event["type"].as_str().unwrap_or("x").to_owned();
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", name(event))).collect()
}

/// A short text of JSON, with escapes, long characters, and what some readers take for the end of a line.
pub(super) fn short_text() -> impl Strategy<Value = String> {
    "[ab ü😀\"\\\\\n\u{85}\u{2028}]{0,12}".prop_map(|text| Value::from(text).to_string())
}

/// `text` with `to` in place of one `from`: of the one before the piece number `place`.
pub(super) fn damaged(text: &str, from: &str, to: &str, place: usize) -> String {
    let mut pieces = text.split(from).enumerate();
    let first = pieces.next().map(|(_, piece)| piece.to_owned()).unwrap_or_default();
    pieces.fold(first, |text, (at, piece)| text + if at == place { to } else { from } + piece)
}

/// A text's tokens at random: its characters, some of them together.
pub(super) fn any_tokens(text: &str, rng: &mut Rng) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    for letter in text.chars() {
        match tokens.last_mut() {
            Some(token) if rng.u8(..8) > 0 => token.push(letter),
            _ => tokens.push(letter.to_string()),
        }
    }
    tokens
}

/// A text in random pieces, some empty, as JSON.
pub(super) fn pieces(text: &str, rng: &mut Rng) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for letter in text.chars() {
        if rng.u8(..4) == 0 {
            pieces.push(String::new());
        }
        pieces.last_mut().expect("a piece").push(letter);
    }
    pieces.iter().map(|piece| written(&Json::text(piece.as_str()))).collect()
}
