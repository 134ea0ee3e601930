//! What `simulate` reads of a line of the log.
//!
//! Most lines are of no interest, and a log has millions: such a line is known by its `event_type` alone, and the texts
//! of the others are borrowed from the line.

use std::{borrow::Cow, time::Duration};

use memchr::{memchr, memmem};
use serde::Deserialize;

/// A line, as far as a simulation needs it.
#[derive(Debug)]
pub(super) enum Line<'a> {
    Response(Response<'a>),
    Call(Call<'a>),
    Other,
}

/// An `http_response` line.
#[derive(Debug, Deserialize)]
pub(super) struct Response<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) request_id: Cow<'a, str>,
    pub(super) status_code: u16,
    duration_ms: f64,
    pub(super) bytes: u64,
    #[serde(borrow)]
    pub(super) cache: Option<CacheInfo<'a>>,
}

/// What an `http_response` line says of the cache.
#[derive(Debug, Deserialize)]
pub(super) struct CacheInfo<'a> {
    #[serde(borrow)]
    pub(super) status: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) kind: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) key: Option<Text<'a>>,
    pub(super) age: Option<u64>,
    pub(super) ttl: Option<i64>,
    #[serde(borrow)]
    pub(super) reason: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) route: Option<Text<'a>>,
    /// Of a hit by meaning: the key of the entry that was served.
    #[serde(borrow)]
    pub(super) original: Option<Text<'a>>,
}

/// An `llm_call` line.
#[derive(Debug, Deserialize)]
pub(super) struct Call<'a> {
    #[serde(borrow, default)]
    pub(super) request_id: Cow<'a, str>,
    #[serde(borrow)]
    cost: Option<Amount<'a>>,
    #[serde(borrow)]
    currency: Option<Text<'a>>,
}

/// A text that is borrowed also where it may be absent.
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Amount<'a> {
    Number(f64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

impl Response<'_> {
    /// How long the request took.
    pub(super) fn duration(&self) -> Duration {
        Duration::try_from_secs_f64(self.duration_ms / 1000.0).unwrap_or_default()
    }

    /// When the response had gone, in microseconds since 1970.
    ///
    /// # Errors
    /// If that is no time as the log writes it.
    pub(super) fn ended(&self) -> Result<i64, String> {
        micros(&self.timestamp).ok_or_else(|| "its `timestamp` is no time".to_owned())
    }
}

impl Call<'_> {
    /// What the call cost, and in which currency; `None` if the line does not say.
    pub(super) fn cost(&self) -> Option<(f64, &str)> {
        let amount = match self.cost.as_ref()? {
            Amount::Number(number) => *number,
            Amount::Text(text) => text.parse().ok()?,
        };
        amount.is_finite().then_some((amount, &*self.currency.as_ref()?.0))
    }
}

/// Reads a line.
///
/// # Errors
/// A text for the user, if the line is none of the log's.
pub(super) fn parse(text: &[u8]) -> Result<Line<'_>, String> {
    let text = text.trim_ascii();
    match event_type(text)?.as_deref() {
        Some("http_response") => serde_json::from_slice(text).map(Line::Response).map_err(no_line),
        Some("llm_call") => serde_json::from_slice(text).map(Line::Call).map_err(no_line),
        _ => Ok(Line::Other),
    }
}

/// The `event_type` of a line without spaces around it; `None` for an empty one.
///
/// # Errors
/// A text for the user, if the line is none of the log's.
pub(super) fn event_type(text: &[u8]) -> Result<Option<Cow<'_, str>>, String> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow, default)]
        event_type: Cow<'a, str>,
    }
    match quick_event_type(text) {
        Some(_) if !text.ends_with(b"}") => Err("is no line of the log: it is cut".to_owned()),
        Some(name) => Ok(Some(String::from_utf8_lossy(name))),
        None if text.is_empty() => Ok(None),
        // Written by something else, with spaces perhaps.
        None => Ok(Some(serde_json::from_slice::<Head<'_>>(text).map_err(no_line)?.event_type)),
    }
}

pub(super) fn no_line(error: serde_json::Error) -> String {
    format!("is no line of the log: {error}")
}

/// The `event_type` as the log writes it. In a text its quotes would have backslashes.
fn quick_event_type(line: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = br#""event_type":""#;
    let rest = &line[memmem::find(line, NAME)? + NAME.len()..];
    rest.get(..memchr(b'"', rest)?)
}

/// Microseconds since 1970 of a time in UTC, as in `2026-02-01T10:30:45.123Z`.
pub(super) fn micros(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let is_mark = |(place, mark): (usize, u8)| bytes.get(place) == Some(&mark);
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
    if bytes.len() != 24 || !marks.into_iter().all(is_mark) {
        return None;
    }
    let number = |place: std::ops::Range<usize>| {
        let digits = &bytes[place];
        let add = |sum, digit: &u8| sum * 10 + i64::from(digit - b'0');
        digits.iter().all(u8::is_ascii_digit).then(|| digits.iter().fold(0, add))
    };
    let days = days_from_civil(number(0..4)?, number(5..7)?, number(8..10)?);
    let seconds = ((days * 24 + number(11..13)?) * 60 + number(14..16)?) * 60 + number(17..19)?;
    Some((seconds * 1000 + number(20..23)?) * 1000)
}

/// Year, month and day to days since 1970-01-01: the way back of `time::write_rfc3339`.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let from_march = (month + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let day_of_era = year % 400 * 365 + year % 400 / 4 - year % 400 / 100 + day_of_year;
    year / 400 * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;
    use crate::time::rfc3339;

    #[track_caller]
    fn response(text: &str) -> Response<'_> {
        match parse(text.as_bytes()) {
            Ok(Line::Response(response)) => response,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn the_logs_own_lines_are_read() {
        let golden = include_str!("../../telemetry/log/golden/events.jsonl");
        let lines: Vec<_> = golden.lines().map(|line| parse(line.as_bytes()).expect(line)).collect();
        let hit = lines.iter().find_map(|line| match line {
            Line::Response(response) => response.cache.as_ref().filter(|cache| cache.status == "HIT"),
            _ => None,
        });
        let hit = hit.expect("a hit");
        let Some(Text(Cow::Borrowed("support-chat"))) = hit.route else { panic!("{hit:?}") };
        assert_eq!((hit.age, hit.ttl), (Some(12), Some(1788)));
        assert!(lines.iter().any(|line| matches!(line, Line::Call(call) if call.cost().is_none())));
        assert!(lines.iter().any(|line| matches!(line, Line::Other)));
    }

    #[test]
    fn other_spacing_further_members_and_escapes_are_read() {
        let text = r#" {"event_type": "http_response", "timestamp": "1970-01-01T00:00:01.500Z", "new": {"a": [1]},
            "status_code": 200, "duration_ms": 0.25, "bytes": 3, "cache": {"status": "MISS", "route": "a\"b"}}"#;
        let response = response(text);
        assert_eq!(response.ended(), Ok(1_500_000));
        assert_eq!(response.duration(), Duration::from_micros(250));
        assert_eq!(response.cache.expect("a cache").route.expect("a route").0, "a\"b");
    }

    #[test]
    fn a_cost_is_a_number_or_a_text() {
        for (members, expected) in [
            (r#""cost":0.5,"currency":"USD""#, Some((0.5, "USD"))),
            (r#""cost":2,"currency":"EUR""#, Some((2.0, "EUR"))),
            (r#""cost":"0.000123","currency":"USD""#, Some((0.000_123, "USD"))),
            (r#""cost":null,"currency":null"#, None),
            (r#""cost":1"#, None),
            (r#""cost":"x","currency":"USD""#, None),
            (r#""cached":true"#, None),
        ] {
            let text = format!(r#"{{"event_type":"llm_call","request_id":"r",{members}}}"#);
            let Ok(Line::Call(call)) = parse(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(call.cost(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_line_of_the_log_is_told() {
        for text in [
            "rubbish",
            r#"{"event_type":"performance","message":"cut"#,
            r#"{"event_type":"http_response","timestamp":"#,
            r#"{"event_type":"http_response"}"#,
            r#"{"event_type":"llm_call","request_id":7}"#,
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(matches!(parse(b" \r\n"), Ok(Line::Other)));
    }

    proptest! {
        #[test]
        fn times_are_read_as_the_log_writes_them(millis in 0u64..250_000_000_000_000) {
            let text = rfc3339(UNIX_EPOCH + Duration::from_millis(millis));
            prop_assert_eq!(micros(&text), Some(millis as i64 * 1000), "{}", text);
        }

        #[test]
        fn any_line_is_read_or_refused(text in ".*") {
            let _ = parse(text.as_bytes());
            prop_assert!(micros(&text).is_none() || text.len() == 24);
        }
    }
}
