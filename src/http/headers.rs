//! What each header is to a cache and to a proxy: which ones can change an answer, which say who the client
//! is, and which belong to one connection.

use std::{borrow::Cow, fmt};

use bytes::BytesMut;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};

/// A header name, or a prefix of one (`x-ratelimit-*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPattern(String);

impl HeaderPattern {
    /// Every header that begins with `prefix` (lower case).
    pub(crate) fn prefix(prefix: &str) -> Self {
        Self(format!("{prefix}*"))
    }

    /// The pattern as text, in lower case.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads `name` or `prefix*`, in any case.
    ///
    /// # Errors
    /// The text is no header name; the error says so.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_suffix('*').unwrap_or(&lower);
        // A lone `*` means every header.
        if lower != "*" && HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(format!("`{text}` is no header name (a `*` may stand at its end)"));
        }
        Ok(Self(lower))
    }

    pub(crate) fn matches(&self, name: &HeaderName) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => name.as_str().starts_with(prefix),
            None => name.as_str() == self.0,
        }
    }
}

pub(crate) fn any_matches(patterns: &[HeaderPattern], name: &HeaderName) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

/// Request headers that are known not to change answers.
const NEVER_KEYED: [&str; 37] = [
    // Framing, besides the headers of one connection. A body that cannot be decoded has no key.
    "content-length",
    "content-encoding",
    "expect",
    // Where the request was sent; the upstream gets its own.
    "host",
    // Ours.
    "x-cache-ttl",
    "x-cache-similar",
    "x-sidecache-hop",
    // Who asks with what, and how the answer travels.
    "user-agent",
    "accept-encoding",
    "cache-control",
    "pragma",
    "range",
    "date",
    "referer",
    "dnt",
    "priority",
    // The way of this request.
    "via",
    "forwarded",
    "x-real-ip",
    // Names of this request.
    "idempotency-key",
    "x-request-id",
    "x-correlation-id",
    "x-client-request-id",
    "x-ms-client-request-id",
    "x-trace-id",
    "x-span-id",
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "sentry-trace",
    "newrelic",
    "elastic-apm-traceparent",
    "langsmith-trace",
    "uber-trace-id",
];

/// The beginnings of further ones.
const NEVER_KEYED_PREFIXES: [&str; 6] =
    ["if-", "sec-", "x-forwarded-", "x-b3-", "x-datadog-", "x-stainless-"];

/// Whether a request with these headers is signed over its body, or says a digest of it: it does not hold for another
/// body (RFC 9530; RFC 9421; RFC 1864; AWS Signature Version 4).
pub(crate) fn cover_body(headers: &HeaderMap) -> bool {
    const NAMES: [&str; 6] =
        ["content-digest", "repr-digest", "digest", "content-md5", "signature", "x-amz-content-sha256"];
    let is_of_aws = |value: &HeaderValue| value.as_bytes().starts_with(b"AWS4-");
    NAMES.iter().any(|name| headers.contains_key(*name))
        || headers.get_all(header::AUTHORIZATION).iter().any(is_of_aws)
}

/// Whether the header says who the client is. Credentials are hashed into the key under the scope, and
/// nowhere else.
pub(crate) fn is_credential(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "authorization"
            | "proxy-authorization"
            | "x-api-key"
            | "api-key"
            | "x-goog-api-key"
            | "x-auth-token"
            | "cookie"
    )
}

/// Whether the header is known not to change answers, on any route.
pub(crate) fn never_keyed(name: &HeaderName) -> bool {
    let text = name.as_str();
    is_hop_by_hop(name)
        || NEVER_KEYED.contains(&text)
        || NEVER_KEYED_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

/// Whether the header belongs to one connection, so that a proxy must not pass it on (RFC 9110, section
/// 7.6.1).
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Removes the headers of one connection, and whatever `Connection` names. Returns whether there was any.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) -> bool {
    let fixed: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    if fixed.is_empty() {
        return false;
    }
    let named: Vec<HeaderName> = list(headers, &header::CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .collect();
    for name in fixed.into_iter().chain(named) {
        headers.remove(name);
    }
    true
}

/// The items of a comma-separated header over all its lines, trimmed, empty ones left out.
pub fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// Whether a comma-separated header has `item`, in any case.
pub(crate) fn list_has(headers: &HeaderMap, name: &HeaderName, item: &str) -> bool {
    list(headers, name).any(|own| own.eq_ignore_ascii_case(item))
}

/// The media type of `Content-Type`, lower case, without its parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    headers.get(header::CONTENT_TYPE).and_then(media_type_of)
}

/// The media types of most bodies.
const USUAL_MEDIA: [&str; 2] = ["application/json", "text/event-stream"];

/// The media type that a `Content-Type` names, lower case, without its parameters.
pub(crate) fn media_type_of(content_type: &HeaderValue) -> Option<Cow<'_, str>> {
    // First what most have.
    if let Some(usual) = USUAL_MEDIA.into_iter().find(|usual| content_type == usual) {
        return Some(usual.into());
    }
    let media = content_type.to_str().ok()?.split(';').next()?.trim();
    let is_lower = !media.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if is_lower { media.into() } else { media.to_ascii_lowercase().into() })
}

/// Whether the body is JSON (`application/json`, or a type that ends in `+json`) in UTF-8. With two
/// `Content-Type`s it is not: nobody knows which one the upstream believes.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).into_iter();
    let (Some(value), None) = (types.next(), types.next()) else { return false };
    let is_json = |media: Cow<'_, str>| {
        media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
    };
    media_type_of(value).is_some_and(is_json) && charsets_of(value).all(is_utf8)
}

/// The names that the Encoding Standard of the WHATWG has for UTF-8, and the one that Python and Java have besides.
const UTF8: [&str; 7] =
    ["utf-8", "utf8", "utf_8", "unicode-1-1-utf-8", "unicode11utf8", "unicode20utf8", "x-unicode20utf8"];

fn is_utf8(charset: &str) -> bool {
    UTF8.iter().any(|name| charset.eq_ignore_ascii_case(name))
}

fn charsets_of(content_type: &HeaderValue) -> impl Iterator<Item = &str> {
    // A value that is no text names no charset that is UTF-8.
    content_type.to_str().unwrap_or("; charset=?").split(';').skip(1).filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim();
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        name.trim().eq_ignore_ascii_case("charset").then(|| quoted.unwrap_or(value).trim())
    })
}

/// Room for all values that sidecache adds to a response.
const ROOM: usize = 256;

/// Writes the values of headers into one piece of memory.
#[derive(Debug)]
pub(crate) struct ValueWriter(BytesMut);

impl Default for ValueWriter {
    fn default() -> Self {
        Self(BytesMut::with_capacity(ROOM))
    }
}

impl ValueWriter {
    /// The value that `write` writes; `None` if no header may have that text.
    pub(crate) fn value(&mut self, write: impl FnOnce(&mut BytesMut) -> fmt::Result) -> Option<HeaderValue> {
        // A write that failed may have left something.
        self.0.clear();
        write(&mut self.0).ok()?;
        HeaderValue::from_maybe_shared(self.0.split().freeze()).ok()
    }
}

/// Appends `item` to a comma-separated header, on a line of its own behind those that are there.
pub(crate) fn append_item(headers: &mut HeaderMap, name: HeaderName, item: HeaderValue) {
    match headers.entry(name) {
        Entry::Occupied(mut entry) => entry.append(item),
        Entry::Vacant(entry) => {
            entry.insert(item);
        }
    }
}

/// Gives all lines of the header `from` the name `to`, behind those that have it already.
pub(crate) fn rename(headers: &mut HeaderMap, from: &HeaderName, to: &HeaderName) {
    let lines: Vec<_> = headers.get_all(from).iter().cloned().collect();
    if !lines.is_empty() {
        headers.remove(from);
    }
    for line in lines {
        headers.append(to, line);
    }
}

/// The headers that describe a body as it came. They would be wrong about one that was made here.
const OF_THE_BODY: [HeaderName; 3] = [header::ETAG, header::LAST_MODIFIED, header::CACHE_CONTROL];

/// Removes what describes the body as it came, before another one takes its place.
pub(crate) fn forget_body(headers: &mut HeaderMap) {
    for name in OF_THE_BODY {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn removes_what_connection_names() {
        let mut headers = map(&[
            ("connection", "close, X-Secret"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("x-kept", "1"),
        ]);
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("x-kept", "1")]));
    }

    #[test]
    fn renamed_lines_come_behind_those_of_that_name() {
        let mut headers = map(&[("x-b", "1"), ("x-a", "2"), ("x-b", "3"), ("x-a", "4"), ("x-c", "5")]);
        rename(&mut headers, &HeaderName::from_static("x-a"), &HeaderName::from_static("x-b"));
        let expected = map(&[("x-b", "1"), ("x-b", "3"), ("x-b", "2"), ("x-b", "4"), ("x-c", "5")]);
        assert_eq!(headers, expected);
        rename(&mut headers, &HeaderName::from_static("x-a"), &HeaderName::from_static("x-b"));
        assert_eq!(headers, expected);
    }

    #[test]
    fn json_is_told_by_type_and_charset() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/problem+json", true),
            ("application/json; charset=\"utf-8\"", true),
            ("application/json;charset=utf8", true),
            ("application/json; Charset=\"UTF8\"", true),
            ("application/json; v=1; charset = Utf-8 ", true),
            ("application/json; charset=unicode-1-1-utf-8", true),
            ("application/json; charset=Unicode11UTF8", true),
            ("application/json; charset=unicode20utf8", true),
            ("application/json; charset=\"x-unicode20utf8\"", true),
            ("application/vnd.api+json; charset=utf8", true),
            ("application/json; charset=utf8; charset=UTF-8", true),
            ("application/json; charset=utf-8; charset=latin1", false),
            ("application/json; charset=", false),
            ("application/json; charset=utf", false),
            ("application/json; charset=utf-88", false),
            ("application/json; charset=utf-7", false),
            ("application/json; charset=cp65001", false),
            ("application/json; charset=utf_8", true),
            ("application/json; charset=\"UTF_8\"", true),
            ("application/json; charset='utf-8'", false),
            ("application/json; charset=us-ascii", false),
            ("application/json; charset=utf-8-sig", false),
            ("application/json; charset=utf-16", false),
            ("application/json; charset=iso-8859-1", false),
            ("application/jsonl", false),
            ("text/plain", false),
        ] {
            assert_eq!(is_json(&map(&[("content-type", value)])), expected, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
        let mut two = map(&[("content-type", "application/json")]);
        two.append(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        assert!(!is_json(&two));
    }

    #[test]
    fn patterns_match_names_and_prefixes() {
        let name = HeaderName::from_static("x-ratelimit-remaining");
        assert!(HeaderPattern::parse("X-RateLimit-*").expect("a pattern").matches(&name));
        assert!(HeaderPattern::parse("x-ratelimit-remaining").expect("a pattern").matches(&name));
        assert!(!HeaderPattern::parse("x-ratelimit").expect("a pattern").matches(&name));
        assert!(HeaderPattern::parse("bad name").is_err());
    }
}
