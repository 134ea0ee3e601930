//! The event of a request, as text.

use std::{fmt::Write, time::SystemTime};

use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::{
    cache::key::Key,
    time::{rfc3339, rounded_millis},
};

/// A request that has ended. What is not known is left out.
#[derive(Debug, Serialize)]
pub(crate) struct RequestEvent<'a> {
    /// When it ended.
    #[serde(serialize_with = "write_time")]
    pub(crate) time: SystemTime,
    pub(crate) method: &'a str,
    /// Without the query.
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    /// As in `X-Cache`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'a str>,
    #[serde(rename = "ms", serialize_with = "write_millis")]
    pub(crate) duration: std::time::Duration,
    /// The body's bytes that were sent.
    pub(crate) bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<&'a Key>,
    /// Of a hit by meaning: how near the question is whose answer was served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) similarity: Option<f64>,
}

fn write_time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

fn write_millis<S: Serializer>(duration: &std::time::Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(rounded_millis(*duration))
}

impl RequestEvent<'_> {
    /// As a server-sent event.
    pub(crate) fn to_event(&self) -> Bytes {
        // Only the method and the path are the client's, and all texts can be written.
        let json = serde_json::to_string(self).unwrap_or_default();
        Bytes::from(format!("data: {}\n\n", plain(&json)))
    }
}

/// The event that tells a reader how many it missed.
pub(super) fn missed(count: u64) -> Bytes {
    Bytes::from(format!("event: missed\ndata: {{\"missed\": {count}}}\n\n"))
}

/// JSON without the characters that JSON allows as they are, and that do something to a terminal: controls from U+007F
/// on, line separators, and those that turn the direction of text.
pub(crate) fn plain(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                // To write to a String never fails.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}
