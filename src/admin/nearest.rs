//! `POST /nearest`: which stored question is nearest to a request, and what hits by meaning would make of that.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, header, request::Parts};
use serde_json::Value;

use super::{
    error::AdminError,
    new_entry::{decode_body, read_body},
    semantic::running,
};
use crate::{
    json::{Json, Member, headers::from_json},
    proxy::{semantic, state::Live},
    request::connection::Connection,
};

const MEMBERS: &str = "method, path, headers, body, body_base64";

pub(super) async fn nearest(live: &Arc<Live>, caller: &Connection, body: &[u8]) -> Result<Value, AdminError> {
    let semantic = running(live)?;
    let request = parse(body).map_err(AdminError::bad_request)?;
    Ok(semantic::nearest(Arc::clone(live), semantic, Arc::new(Connection::new(caller.peer.clone())), request)
        .await)
}

/// Parses `{"path", "method"?, "headers"?, "body"? | "body_base64"?}`, the request that a client would send.
///
/// # Errors
/// A text that names the wrong member, and says what it should be.
fn parse(text: &[u8]) -> Result<(Parts, Bytes), String> {
    let json = Json::parse(text).map_err(|error| format!("the body is no JSON: {error}"))?;
    if !json.is_object() {
        return Err(format!("the body is no JSON object with {MEMBERS}"));
    }
    let mut path = None;
    let mut method = Method::POST;
    let mut headers = HeaderMap::new();
    let mut content = None;
    for member in json.members() {
        let Member { name, value, .. } = member;
        match &**name {
            "body" | "body_base64" if content.is_some() => {
                return Err("body and body_base64: give one of them".to_owned());
            }
            "body" => content = Some(read_body(member, text)),
            "body_base64" => content = Some(decode_body(value)?),
            "path" => path = Some(parse_path(value)?),
            "method" => method = parse_method(value)?,
            "headers" => {
                headers = from_json(value).map_err(|name| {
                    format!("headers: {name:?} is no header with a text, or a list of texts")
                })?;
            }
            _ => return Err(format!("{name:?} is no member: {MEMBERS}")),
        }
    }
    let (body, media) = content.unwrap_or((Bytes::new(), "application/json"));
    if !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    }
    let request = Request::builder().method(method).uri(path.ok_or("path: is required")?).body(());
    let (mut parts, ()) = request.map_err(|_| "path: is no path".to_owned())?.into_parts();
    parts.headers = headers;
    Ok((parts, body))
}

fn parse_path(value: &Json<'_>) -> Result<String, String> {
    let path = value.as_str().filter(|path| path.starts_with('/'));
    path.map(str::to_owned)
        .ok_or_else(|| "path: is no path; it begins with a slash, as in /v1/chat/completions".to_owned())
}

fn parse_method(value: &Json<'_>) -> Result<Method, String> {
    let method = value.as_str().and_then(|name| Method::from_bytes(name.as_bytes()).ok());
    method.ok_or_else(|| "method: is no method, as in \"POST\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_a_client_would_send_it() {
        let text = br#"{"path": "/v1/x?a=1", "headers": {"Authorization": "Bearer x", "X-A": ["b", "c"]}, "body": {"b" : 1.0}}"#;
        let (parts, body) = parse(text).expect("a request");
        assert_eq!((parts.method, parts.uri.to_string().as_str()), (Method::POST, "/v1/x?a=1"));
        assert_eq!(parts.headers[header::CONTENT_TYPE], "application/json");
        assert_eq!(parts.headers.get_all("x-a").iter().count(), 2);
        assert_eq!(body, "{\"b\" : 1.0}", "as it was written");
        let text = br#"{"path": "/x", "method": "PUT", "headers": {"content-type": "text/plain"}, "body_base64": "AAE="}"#;
        let (parts, body) = parse(text).expect("a request");
        assert_eq!((parts.method, &body[..]), (Method::PUT, &[0, 1][..]));
        assert_eq!(parts.headers[header::CONTENT_TYPE], "text/plain");
    }

    #[test]
    fn errors_name_the_member() {
        for (text, expected) in [
            ("", "no JSON"),
            ("[]", "no JSON object"),
            ("{}", "path: is required"),
            (r#"{"path": "x"}"#, "path: is no path"),
            (r#"{"path": "/a b"}"#, "path: is no path"),
            (r#"{"path": "/x", "method": "A B"}"#, "method:"),
            (r#"{"path": "/x", "headers": {"a b": "c"}}"#, "headers:"),
            (r#"{"path": "/x", "body": 1, "body_base64": "AAE="}"#, "give one of them"),
            (r#"{"path": "/x", "body_base64": "?"}"#, "body_base64:"),
            (r#"{"path": "/x", "prompt": "?"}"#, "\"prompt\" is no member"),
        ] {
            let error = parse(text.as_bytes()).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
