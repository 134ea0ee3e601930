//! Parses the body of `PUT /entries/KEY`: an entry put by hand. Pure.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{
    config::units,
    http::headers,
    json::{Json, Member, headers::from_json},
    proxy::response::X_REQUEST_ID,
    store::MAX_TTL,
};

const MEMBERS: &str = "body, body_base64, status, headers, ttl, tags";

#[derive(Debug, PartialEq, Eq)]
pub(super) struct NewEntry {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// `None` takes the kind's.
    pub(super) ttl: Option<Duration>,
    pub(super) tags: Vec<String>,
}

impl NewEntry {
    /// Parses `{"body" | "body_base64", "status"?, "headers"?, "ttl"?, "tags"?}`.
    ///
    /// # Errors
    /// A text that names the wrong member, and says what it should be.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let json = Json::parse(text).map_err(|error| format!("the body is no JSON: {error}"))?;
        if !json.is_object() {
            return Err(format!("the body is no JSON object with {MEMBERS}"));
        }
        let mut status = StatusCode::OK;
        let mut headers = HeaderMap::new();
        let mut ttl = None;
        let mut tags = Vec::new();
        let mut content = None;
        for member in json.members() {
            let Member { name, value, .. } = member;
            match &**name {
                "body" | "body_base64" if content.is_some() => {
                    return Err("body and body_base64: give one of them".to_owned());
                }
                "body" => content = Some(read_body(member, text)),
                "body_base64" => content = Some(decode_body(value)?),
                "status" => status = parse_status(value)?,
                "headers" => headers = parse_headers(value)?,
                "ttl" => ttl = Some(parse_ttl(value)?),
                "tags" => tags = parse_tags(value)?,
                _ => return Err(format!("{name:?} is no member: {MEMBERS}")),
            }
        }
        let (body, media) = content.ok_or("body: is required (or body_base64)")?;
        if !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        }
        Ok(Self { status, headers, body, ttl, tags })
    }
}

/// The body and its media type: a string is its text, any other JSON value stays as it was written.
pub(super) fn read_body(member: &Member<'_>, text: &[u8]) -> (Bytes, &'static str) {
    match member.value.as_str() {
        None => (Bytes::copy_from_slice(&text[member.span.clone()]), "application/json"),
        Some(body) => {
            let is_json = Json::parse(body.as_bytes()).is_ok();
            let media = if is_json { "application/json" } else { "text/plain; charset=utf-8" };
            (Bytes::copy_from_slice(body.as_bytes()), media)
        }
    }
}

pub(super) fn decode_body(value: &Json<'_>) -> Result<(Bytes, &'static str), String> {
    let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok());
    let bytes = bytes.ok_or("body_base64: is no base64 text (RFC 4648, section 4)")?;
    Ok((bytes.into(), "application/octet-stream"))
}

fn parse_status(value: &Json<'_>) -> Result<StatusCode, String> {
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
    let status = number.filter(|number| (200..600).contains(number) && *number != 304);
    let status = status.and_then(|number| StatusCode::from_u16(number).ok());
    status.ok_or_else(|| "status: is no final status, 200 to 599 but for 304".to_owned())
}

fn parse_headers(value: &Json<'_>) -> Result<HeaderMap, String> {
    if !value.is_object() {
        return Err("headers: is no object of names and texts".to_owned());
    }
    let mut all = from_json(value)
        .map_err(|name| format!("headers: {name:?} is no header with a text, or a list of texts"))?;
    // These belong to one response or connection, or are made for each response.
    headers::remove_hop_by_hop(&mut all);
    for name in [header::CONTENT_LENGTH, header::AGE, X_REQUEST_ID] {
        all.remove(name);
    }
    Ok(all)
}

fn parse_ttl(value: &Json<'_>) -> Result<Duration, String> {
    let seconds = value.as_u64().map(Duration::from_secs);
    let ttl = seconds.or_else(|| value.as_str().and_then(|text| units::parse_duration(text).ok()));
    let ttl = ttl.ok_or("ttl: is no whole number of seconds, nor a duration as in \"30m\"")?;
    Ok(ttl.min(MAX_TTL))
}

fn parse_tags(value: &Json<'_>) -> Result<Vec<String>, String> {
    const WRONG: &str = "tags: is no list of texts";
    let Json::Array(items) = value else { return Err(WRONG.to_owned()) };
    let text = |item: &Json<'_>| item.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    items.iter().map(text).collect::<Option<_>>().ok_or_else(|| WRONG.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> NewEntry {
        NewEntry::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn header(entry: &NewEntry, name: &str) -> String {
        let lines = entry.headers.get_all(name).iter();
        lines.map(|value| value.to_str().expect("text")).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn bodies_are_stored_as_they_are_written() {
        for (text, body, media) in [
            (r#"{"body": {"n": 1e400,  "a": []}}"#, r#"{"n": 1e400,  "a": []}"#, "application/json"),
            (r#"{"body": null}"#, "null", "application/json"),
            (r#"{"body": "{\"a\": 1}"}"#, r#"{"a": 1}"#, "application/json"),
            (r#"{"body": "hällo\n"}"#, "hällo\n", "text/plain; charset=utf-8"),
            (r#"{"body": ""}"#, "", "text/plain; charset=utf-8"),
            (r#"{"body_base64": "aGk="}"#, "hi", "application/octet-stream"),
            (
                r#"{"headers": {"Content-Type": "text/event-stream"}, "body": "data: [DONE]\n\n"}"#,
                "data: [DONE]\n\n",
                "text/event-stream",
            ),
        ] {
            let entry = parse(text);
            assert_eq!(
                (&entry.body[..], header(&entry, "content-type").as_str()),
                (body.as_bytes(), media),
                "{text}"
            );
        }
    }

    #[test]
    fn the_other_members_are_taken_over() {
        let entry = parse(
            r#"{"body": 1, "status": 404, "ttl": 90, "tags": ["a", "b"],
                "headers": {"X-A": ["1", "2"], "Connection": "x-hop", "X-Hop": "1", "Age": "7", "Content-Length": "9"}}"#,
        );
        assert_eq!((entry.status.as_u16(), entry.ttl), (404, Some(Duration::from_secs(90))));
        assert_eq!((entry.tags.join(" "), header(&entry, "x-a")), ("a b".to_owned(), "1 | 2".to_owned()));
        assert_eq!(entry.headers.len(), 3, "{:?}", entry.headers);
        assert_eq!(parse(r#"{"body": 1, "ttl": "30m"}"#).ttl, Some(Duration::from_secs(1800)));
        assert_eq!(parse(r#"{"body": 1, "ttl": 18446744073709551615}"#).ttl, Some(MAX_TTL));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("", "no JSON"),
            ("[]", "no JSON object"),
            ("{}", "body: is required"),
            (r#"{"body": 1, "body": 2}"#, "a repeated member"),
            (r#"{"body": 1, "body_base64": "aGk="}"#, "give one"),
            (r#"{"body_base64": "aGk"}"#, "body_base64"),
            (r#"{"body_base64": 7}"#, "body_base64"),
            (r#"{"body": 1, "kind": "query"}"#, "\"kind\" is no member"),
            (r#"{"body": 1, "status": 304}"#, "status"),
            (r#"{"body": 1, "status": "200"}"#, "status"),
            (r#"{"body": 1, "status": 99}"#, "status"),
            (r#"{"body": 1, "headers": []}"#, "headers"),
            (r#"{"body": 1, "headers": {"a b": "c"}}"#, "a b"),
            (r#"{"body": 1, "headers": {"a": "b\r\nc: d"}}"#, "\"a\""),
            (r#"{"body": 1, "headers": {"a": []}}"#, "\"a\""),
            (r#"{"body": 1, "ttl": -1}"#, "ttl"),
            (r#"{"body": 1, "ttl": 1.5}"#, "ttl"),
            (r#"{"body": 1, "ttl": "soon"}"#, "ttl"),
            (r#"{"body": 1, "tags": "a"}"#, "tags"),
            (r#"{"body": 1, "tags": [1]}"#, "tags"),
            (r#"{"body": 1, "tags": [""]}"#, "tags"),
        ] {
            let error = NewEntry::parse(text.as_bytes()).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
