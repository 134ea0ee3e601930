//! One line of JSON as one line for people. Pure.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::telemetry::{
    stats::human_bytes,
    terminal::{cache_color, escaped, painted, status_color},
};

/// A longer value is cut, in characters: it would hide the others.
const MAX_VALUE: usize = 200;

/// The members that stand at the beginning of a line, or say what its message says.
const SAID: [&str; 14] = [
    "timestamp",
    "level",
    "logger",
    "event_type",
    "message",
    "method",
    "path",
    "operation",
    "slow",
    "model",
    "cached",
    "error_type",
    "error_message",
    "settings",
];

/// Those that a response has at its beginning.
const SAID_OF_RESPONSE: [&str; 4] = ["status_code", "duration_ms", "bytes", "cache"];

/// Writes the text of `json`, which ends with its newline, to `out`. A line that is no JSON object is left as it
/// is, but for characters that a terminal would obey.
pub(super) fn write(json: &[u8], colored: bool, out: &mut Vec<u8>) {
    let text = match serde_json::from_slice(json) {
        Ok(Value::Object(members)) => text(&members, colored),
        _ => escaped(String::from_utf8_lossy(json).trim_end()),
    };
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

fn text(members: &Map<String, Value>, colored: bool) -> String {
    let named = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
    let level = painted(&format!("{:7}", escaped(named("level"))), level_color(named("level")), colored);
    let is_response = named("event_type") == "http_response";
    let mut text = format!("{} {level} ", escaped(named("timestamp")));
    if is_response {
        text += &response(members, colored);
    } else {
        text += &escaped(named("message"));
    }
    for (name, value) in members {
        let is_said = SAID.contains(&name.as_str())
            || (is_response && SAID_OF_RESPONSE.contains(&name.as_str()))
            || (named("event_type") == "performance" && ["duration_ms"].contains(&name.as_str()))
            || (name == "success" && *value == Value::Bool(true));
        if !is_said && let Some(value) = shown(value) {
            // To write to a String never fails, here and below.
            let _ = write!(text, "  {}={value}", escaped(name));
        }
    }
    text
}

/// What a response is about: method, path, status, cache word, duration, bytes, route and reason.
fn response(members: &Map<String, Value>, colored: bool) -> String {
    let named = |name: &str| escaped(members.get(name).and_then(Value::as_str).unwrap_or_default());
    let number = |name: &str| members.get(name).and_then(Value::as_u64).unwrap_or_default();
    let cache = |name: &str| members.get("cache")?.get(name)?.as_str().map(escaped);
    let word = cache("status").unwrap_or_else(|| "-".to_owned());
    let millis = members.get("duration_ms").and_then(Value::as_f64).unwrap_or_default();
    let status = number("status_code");
    let mut text = format!(
        "{} {} {} {} {millis} ms {}",
        named("method"),
        named("path"),
        painted(&status.to_string(), status_color(status), colored),
        painted(&word, cache_color(&word), colored),
        human_bytes(number("bytes")),
    );
    for more in ["route", "reason", "detail"].into_iter().filter_map(cache) {
        text += "  ";
        text += &more;
    }
    text
}

/// A value as people read it; `None` for one that says nothing.
fn shown(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::Object(members) if members.is_empty() => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let end = text.char_indices().nth(MAX_VALUE).map(|(end, _)| end);
    Some(end.map_or_else(|| escaped(&text), |end| escaped(&text[..end]) + "…"))
}

fn level_color(level: &str) -> u8 {
    match level {
        "ERROR" => 31,
        "WARNING" => 33,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(json: &str, colored: bool) -> String {
        let mut out = Vec::new();
        write(json.as_bytes(), colored, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn each_event_is_one_line() {
        let texts: String = include_str!("../golden/events.jsonl")
            .split_inclusive('\n')
            .map(|json| shown(json, false))
            .collect();
        assert_eq!(texts, include_str!("../golden/events.txt"));
    }

    #[test]
    fn colours_are_for_what_to_look_at() {
        let json = r#"{"timestamp":"t","level":"WARNING","event_type":"http_response","message":"m","method":"GET","path":"/","status_code":502,"duration_ms":1.5,"bytes":0,"cache":{"status":"MISS","reason":"status"}}"#;
        assert_eq!(
            shown(json, true),
            "t \u{1b}[33mWARNING\u{1b}[0m GET / \u{1b}[31m502\u{1b}[0m \u{1b}[33mMISS\u{1b}[0m 1.5 ms 0B  status\n"
        );
    }

    #[test]
    fn long_values_are_cut_and_what_is_no_json_is_shown() {
        let long = "ä".repeat(300);
        let text = shown(&format!(r#"{{"timestamp":"t","level":"INFO","message":"m","x":"{long}"}}"#), false);
        assert_eq!(text, format!("t INFO    m  x={}…\n", "ä".repeat(200)));
        assert_eq!(shown("no \u{1b}[2J JSON\n", false), "no \\u{1b}[2J JSON\n");
    }

    proptest! {
        /// Nothing that comes from a request moves the cursor, clears the screen or begins another line.
        #[test]
        fn a_terminal_is_never_told_what_to_do(text in "[\\x00-\\xa0\u{202e}\u{2028}a\"\\\\]*") {
            let json = serde_json::json!({
                "timestamp": "t", "level": "INFO", "event_type": "http_response", "message": text,
                "method": text, "path": text, "status_code": 200, "duration_ms": 1.0, "bytes": 1,
                "cache": {"status": text, "route": text, "reason": text}, "request_id": text, (&*text): text,
            });
            for line in [json.to_string(), json.to_string().replace("http_response", "error"), text] {
                let shown = shown(&line, false);
                let line = shown.strip_suffix('\n').expect("a line");
                prop_assert!(!line.chars().any(|c| c.is_control() || ['\u{202e}', '\u{2028}'].contains(&c)), "{shown:?}");
            }
        }
    }
}
