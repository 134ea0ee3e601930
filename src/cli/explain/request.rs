//! A request as it stands in a file.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header, request::Parts};

/// Reads `text`: a request line (`POST /path`), headers, an empty line and the body; or, where it begins like
/// JSON, the body alone, of a `POST` to `path`.
///
/// # Errors
/// What is wrong, with the line.
pub(super) fn read(text: &[u8], path: Option<&str>) -> Result<(Parts, Bytes), String> {
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
            .uri(target(path)?)
            .header(header::CONTENT_TYPE, "application/json");
        let (parts, ()) = request.body(()).map_err(|error| error.to_string())?.into_parts();
        return Ok((parts, Bytes::copy_from_slice(text)));
    }
    let (mut parts, body) = head(text)?;
    // A path in full (`http://…`) names a host as well, which counts as the `Host` does.
    if let (Some(authority), false) = (parts.uri.authority(), parts.headers.contains_key(header::HOST))
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(header::HOST, host);
    }
    let body = whole_body(&parts, body);
    Ok((parts, Bytes::copy_from_slice(body)))
}

/// The head, and what stands after it.
fn head(text: &[u8]) -> Result<(Parts, &[u8]), String> {
    let mut rest = text;
    let (method, uri) = request_line(next_line(&mut rest))?;
    let (mut parts, ()) = Request::new(()).into_parts();
    (parts.method, parts.uri) = (method, uri);
    let mut number = 1;
    while !rest.is_empty() {
        let line = next_line(&mut rest);
        number += 1;
        if line.is_empty() {
            break;
        }
        let (name, value) = header_line(line).ok_or_else(|| {
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

fn request_line(line: &[u8]) -> Result<(Method, Uri), String> {
    let line = String::from_utf8_lossy(line);
    let words: Vec<_> = line.split_whitespace().collect();
    let (method, path) = match words[..] {
        [method, path] => (method, path),
        [method, path, version] if version.starts_with("HTTP/") => (method, path),
        _ => return Err(format!("line 1: {line:?} is no request line; write METHOD PATH, as in POST /ask")),
    };
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| format!("line 1: {method:?} is no method"))?;
    Ok((method, target(path).map_err(|error| format!("line 1: {error}"))?))
}

fn target(path: &str) -> Result<Uri, String> {
    let uri = path.parse::<Uri>().ok().filter(|uri| uri.path().starts_with('/'));
    uri.ok_or_else(|| format!("{path:?} is no path; it begins with a slash, as in /v1/chat/completions"))
}

fn header_line(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
}

/// The body without the line end that editors put behind it, which `Content-Length` tells from the body's own.
fn whole_body<'a>(parts: &Parts, text: &'a [u8]) -> &'a [u8] {
    let stated = parts.headers.get(header::CONTENT_LENGTH);
    let stated = stated.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    match stated.and_then(|length| text.split_at_checked(length)) {
        Some((body, rest)) if rest.trim_ascii().is_empty() => body,
        _ => without_line_end(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> (Parts, Bytes) {
        read(text.as_bytes(), Some("/alone")).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    #[test]
    fn requests_are_read() {
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
    fn a_stated_length_keeps_the_bodys_own_line_end() {
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
    fn what_is_wrong_is_told_with_its_line() {
        for (text, told) in [
            ("", "is empty"),
            ("{}", "--path"),
            ("POST", "line 1"),
            ("POST /a b c", "line 1"),
            ("POST ask", "begins with a slash"),
            ("P(ST /ask", "no method"),
            ("POST /ask\nX-A: b\n{\"q\": 1}", "line 3"),
            ("POST /ask\nX A: b\n\n", "line 2"),
        ] {
            let error = read(text.as_bytes(), None).expect_err(text);
            assert!(error.contains(told), "{text:?}: {error}");
        }
        assert!(read(b"{}", Some("ask")).is_err());
    }
}
