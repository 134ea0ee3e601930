//! Parses a line of recorded requests, or of sidecache's log. Pure.

use std::borrow::Cow;

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};

use crate::{
    json::{Json, Member},
    proxy::body::RequestBody,
    request::dispatch::HealthPage,
    telemetry::log::query::MASK,
};

#[derive(Debug)]
pub(super) enum Line {
    Request(Box<Request<RequestBody>>),
    /// A request in sidecache's log that lacks a part.
    Partial,
    /// Nothing to send: an empty line, or another event of the log.
    Other,
}

/// Headers that belong to the recorded connection, or that the client makes itself.
const CONNECTION_HEADERS: [HeaderName; 6] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

/// Parses `{"method", "path", "headers"?, "body"?}`, or a line of sidecache's log. Requests for the health
/// pages at `health_path` are not sent.
///
/// # Errors
/// A text that says why it is neither.
pub(super) fn parse(text: &[u8], health_path: &str) -> Result<Line, String> {
    if text.trim_ascii().is_empty() {
        return Ok(Line::Other);
    }
    let json = Json::parse(text).map_err(|error| error.to_string())?;
    if !json.is_object() {
        return Err("is no JSON object".to_owned());
    }
    match json.get("event_type").and_then(Json::as_str) {
        Some("http_request") => parse_logged(&json, health_path),
        Some(_) => Ok(Line::Other),
        None => parse_recorded(&json, text).map(|request| Line::Request(Box::new(request))),
    }
}

fn parse_recorded(json: &Json<'_>, text: &[u8]) -> Result<Request<RequestBody>, String> {
    let (body, is_json) = match json.member("body") {
        None => (Bytes::new(), false),
        Some(Member { value: Json::Null, .. }) => (Bytes::new(), false),
        Some(Member { value: Json::String(body), .. }) => (Bytes::copy_from_slice(body.as_bytes()), true),
        // The bytes of the value as they are in the line.
        Some(body) => (Bytes::copy_from_slice(&text[body.span.clone()]), true),
    };
    let mut request = build_request(required(json, "method")?, required(json, "path")?, body)?;
    *request.headers_mut() = parse_headers(json.get("headers").unwrap_or(&Json::Null))?;
    if is_json && !request.headers().contains_key(header::CONTENT_TYPE) {
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(request)
}

fn required<'a>(json: &'a Json<'_>, name: &str) -> Result<&'a str, String> {
    json.get(name).and_then(Json::as_str).ok_or_else(|| format!("has no text under `{name}`"))
}

fn build_request(method: &str, path: &str, body: Bytes) -> Result<Request<RequestBody>, String> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| format!("{method:?} is no method"))?;
    let uri = path.parse::<Uri>().ok().filter(|uri| path.starts_with('/') && uri.path().starts_with('/'));
    let uri = uri.ok_or_else(|| format!("{path:?} is no path"))?;
    let mut request = Request::new(RequestBody::from(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    Ok(request)
}

fn parse_headers(json: &Json<'_>) -> Result<HeaderMap, String> {
    if !json.is_null() && !json.is_object() {
        return Err("`headers` is no object".to_owned());
    }
    let mut headers =
        crate::json::headers::from_json(json).map_err(|name| format!("the header {name:?} is none"))?;
    for name in CONNECTION_HEADERS {
        headers.remove(name);
    }
    Ok(headers)
}

/// The log has neither bodies nor headers, so that only a `GET` is complete there, if its query has no masked
/// secret.
fn parse_logged(json: &Json<'_>, health_path: &str) -> Result<Line, String> {
    let method = required(json, "method")?;
    let path = required(json, "path")?;
    if HealthPage::from_path(health_path, path).is_some() {
        return Ok(Line::Other);
    }
    if method != "GET" {
        return Ok(Line::Partial);
    }
    let mut query = Serializer::new(String::new());
    for Member { name, value, .. } in json.get("query_params").unwrap_or(&Json::Null).members() {
        let values = if value.as_str().is_some() { std::slice::from_ref(value) } else { value.items() };
        for value in values.iter().filter_map(Json::as_str) {
            if value == MASK {
                return Ok(Line::Partial);
            }
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    let target = if query.is_empty() { Cow::Borrowed(path) } else { format!("{path}?{query}").into() };
    build_request(method, &target, Bytes::new()).map(|request| Line::Request(Box::new(request)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Line, String> {
        parse(text.as_bytes(), "/health")
    }

    fn sent(text: &str) -> (String, Vec<(String, String)>, String) {
        match line(text) {
            Ok(Line::Request(request)) => {
                let headers = request.headers().iter();
                let headers =
                    headers.map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()));
                let bytes = request.body().bytes();
                let body =
                    bytes.map_or_else(String::new, |bytes| String::from_utf8_lossy(bytes).into_owned());
                (format!("{} {}", request.method(), request.uri()), headers.collect(), body)
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn recorded_requests_are_sent_as_they_were_written() {
        let json = [("content-type".to_owned(), "application/json".to_owned())];
        let (target, headers, body) =
            sent(r#"{"method":"POST","path":"/ask?x=%20","body": {"n": 1e400,  "b":[]}, "more": 1}"#);
        assert_eq!(
            (target.as_str(), &headers[..], body.as_str()),
            ("POST /ask?x=%20", &json[..], r#"{"n": 1e400,  "b":[]}"#)
        );
        let (_, headers, body) = sent(
            r#"{"method":"POST","path":"/ask","headers":{"Content-Type":"text/plain","X-A":["1","2"],"Host":"h","Content-Length":"9"},"body":"a\nb"}"#,
        );
        let names: Vec<_> = headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            (names.join(" "), body.as_str()),
            ("content-type=text/plain x-a=1 x-a=2".to_owned(), "a\nb")
        );
        let (target, headers, body) = sent(r#"{"method":"DELETE","path":"/d","body":null}"#);
        assert_eq!((target.as_str(), headers.len(), body.as_str()), ("DELETE /d", 0, ""));
    }

    #[test]
    fn gets_of_the_log_are_sent() {
        let get = |path: &str, params: &str| {
            format!(
                r#"{{"event_type":"http_request","method":"GET","path":"{path}","query_params":{params}}}"#
            )
        };
        assert_eq!(sent(&get("/d/a%20b", "{}")).0, "GET /d/a%20b");
        assert_eq!(sent(&get("/d", r#"{"a":["1","é&"],"b":"x y"}"#)).0, "GET /d?a=1&a=%C3%A9%26&b=x+y");
        for partial in [get("/d", r#"{"a":"1","key":"***"}"#), get("/d", "{}").replace("GET", "POST")] {
            assert!(matches!(line(&partial), Ok(Line::Partial)), "{partial}");
        }
        for other in [
            get("/health/live", "{}"),
            get("/d", "{}").replace("http_request", "http_response"),
            " \r".to_owned(),
        ] {
            assert!(matches!(line(&other), Ok(Line::Other)), "{other}");
        }
    }

    #[test]
    fn other_lines_are_bad() {
        for (text, expected) in [
            ("{", "no JSON"),
            ("[]", "no JSON object"),
            ("{}", "`method`"),
            (r#"{"method":"GET"}"#, "`path`"),
            (r#"{"method":"G T","path":"/"}"#, "no method"),
            (r#"{"method":"GET","path":"http://evil.example/"}"#, "no path"),
            (r#"{"method":"GET","path":"d"}"#, "no path"),
            (r#"{"method":"GET","path":"/","headers":[]}"#, "no object"),
            (r#"{"method":"GET","path":"/","headers":{"a b":"c"}}"#, "a b"),
            (r#"{"method":"GET","path":"/","headers":{"a":"b\r\nc: d"}}"#, "\"a\""),
            (r#"{"method":"GET","path":"/","headers":{"a":1}}"#, "\"a\""),
        ] {
            let error = line(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
