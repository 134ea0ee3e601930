//! Parses a request that is written in a file.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header, request::Parts};

/// Parses a request line (`POST /path`), headers, an empty line and the body; or, if `text` begins like JSON,
/// the body of a `POST` to `path`.
///
/// # Errors
/// A text that says what is wrong, and in which line.
pub(super) fn parse(text: &[u8], path: Option<&str>) -> Result<(Parts, Bytes), String> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text).trim_ascii_start();
    if text.is_empty() {
        return Err(
            "is empty; write a request line (`POST /path`), headers, an empty line and the body, or \
                    a JSON body alone with --path"
                .to_owned(),
        );
    }
    if matches!(text[0], b'{' | b'[' | b'"') {
        let Some(path) = path else {
            return Err(
                "is a body alone; say with --path where it is sent, as in --path /v1/chat/completions"
                    .to_owned(),
            );
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(parse_target(path)?)
            .header(header::CONTENT_TYPE, "application/json");
        let (parts, ()) = request.body(()).map_err(|error| error.to_string())?.into_parts();
        return Ok((parts, Bytes::copy_from_slice(text)));
    }
    let (mut parts, body) = parse_head(text)?;
    // An absolute target (`http://…`) names a host, which counts like a `Host` header.
    if let (Some(authority), false) = (parts.uri.authority(), parts.headers.contains_key(header::HOST))
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(header::HOST, host);
    }
    let body = trim_body(&parts, body);
    Ok((parts, Bytes::copy_from_slice(body)))
}

/// Parses the head, and returns it with the rest.
fn parse_head(text: &[u8]) -> Result<(Parts, &[u8]), String> {
    let mut rest = text;
    let (mut parts, ()) = Request::new(()).into_parts();
    (parts.method, parts.uri) = parse_request_line(next_line(&mut rest))?;
    let mut number = 1;
    while !rest.is_empty() {
        let line = next_line(&mut rest);
        number += 1;
        if line.is_empty() {
            break;
        }
        let (name, value) = parse_header(line).ok_or_else(|| {
            let line = String::from_utf8_lossy(line);
            format!(
                "line {number}: {line:?} is no header; write NAME: VALUE, and an empty line before the body"
            )
        })?;
        parts.headers.append(name, value);
    }
    Ok((parts, rest))
}

/// Takes the next line off `rest`, without its end.
fn next_line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(|byte| *byte == b'\n');
    let (line, after) = rest.split_at(end.map_or(rest.len(), |at| at + 1));
    *rest = after;
    without_line_end(line)
}

fn without_line_end(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn parse_request_line(line: &[u8]) -> Result<(Method, Uri), String> {
    let line = String::from_utf8_lossy(line);
    let words: Vec<_> = line.split_whitespace().collect();
    let (method, path) = match words[..] {
        [method, path] => (method, path),
        [method, path, version] if version.starts_with("HTTP/") => (method, path),
        _ => return Err(format!("line 1: {line:?} is no request line; write METHOD PATH, as in POST /ask")),
    };
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| format!("line 1: {method:?} is no method"))?;
    Ok((method, parse_target(path).map_err(|error| format!("line 1: {error}"))?))
}

fn parse_target(path: &str) -> Result<Uri, String> {
    let uri = path.parse::<Uri>().ok().filter(|uri| uri.path().starts_with('/'));
    uri.ok_or_else(|| format!("{path:?} is no path; it begins with a slash, as in /v1/chat/completions"))
}

fn parse_header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
}

/// The body without the line end that editors add. A `Content-Length` says whether the line end belongs to
/// the body.
fn trim_body<'a>(parts: &Parts, text: &'a [u8]) -> &'a [u8] {
    let length = parts.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    match length.and_then(|length| text.split_at_checked(length)) {
        Some((body, rest)) if rest.trim_ascii().is_empty() => body,
        _ => without_line_end(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> (Parts, Bytes) {
        parse(text.as_bytes(), Some("/alone")).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    #[test]
    fn requests_are_parsed() {
        for text in [
            "POST /ask?x=1\nX-A: b\nx-a:c \n\n{\"q\":1}\n",
            "POST /ask?x=1 HTTP/1.1\r\nX-A: b\r\nx-a: c\r\n\r\n{\"q\":1}",
            "\u{feff}\nPOST  /ask?x=1 HTTP/2\nx-a: b\nx-a: c\n\n{\"q\":1}\r\n",
        ] {
            let (parts, body) = good(text);
            assert_eq!((parts.method.as_str(), parts.uri.to_string().as_str()), ("POST", "/ask?x=1"));
            assert_eq!(parts.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["b", "c"], "{text:?}");
            assert_eq!(body, "{\"q\":1}", "{text:?}");
        }
        let (parts, body) = good("GET http://a.example/d");
        assert_eq!(
            (parts.uri.path(), &parts.headers["host"], &body[..]),
            ("/d", &"a.example".parse().expect("a value"), &b""[..])
        );
        let (parts, body) = good(" [1]\n");
        assert_eq!((parts.uri.path(), &body[..]), ("/alone", &b"[1]\n"[..]));
        assert_eq!(parts.headers[header::CONTENT_TYPE], "application/json");
    }

    #[test]
    fn a_content_length_preserves_the_line_end_of_the_body() {
        for (length, body) in [
            ("", "a\n"),
            ("content-length: 3\n", "a\n\n"),
            ("content-length: 9\n", "a\n"),
            ("content-length: 0\n", "a\n"),
        ] {
            assert_eq!(good(&format!("PUT /x\n{length}\na\n\n")).1, body, "{length}");
        }
    }

    #[test]
    fn errors_name_the_line() {
        for (text, expected) in [
            ("", "is empty"),
            ("{}", "--path"),
            ("POST", "line 1"),
            ("POST /a b c", "line 1"),
            ("POST ask", "begins with a slash"),
            ("P(ST /ask", "no method"),
            ("POST /ask\nX-A: b\n{\"q\": 1}", "line 3"),
            ("POST /ask\nX A: b\n\n", "line 2"),
        ] {
            let error = parse(text.as_bytes(), None).expect_err(text);
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        assert!(parse(b"{}", Some("ask")).is_err());
    }
}
