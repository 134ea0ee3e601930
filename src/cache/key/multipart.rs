//! What counts of a multipart body (RFC 2046, section 5.1): its parts, each with its own head and bytes. The
//! boundary between them is new in each request of most clients, and means nothing.
//!
//! Only what every parser reads alike is taken apart: whatever is not exactly as RFC 2046 writes it counts by
//! its bytes.

use http::{HeaderMap, header};

use crate::{http::headers::media_type, json::canonical::write_part};

/// The most characters of a boundary (RFC 2046, section 5.1.1).
const LONGEST_BOUNDARY: usize = 70;

/// The parts of a body with these headers, with their number and lengths, so that no two bodies with other parts
/// have the same; `None` if it is no multipart body, or may be read in several ways.
pub(crate) fn normal_form(headers: &HeaderMap, body: &[u8]) -> Option<Vec<u8>> {
    let boundary = boundary(headers)?;
    let mut form = Vec::with_capacity(body.len());
    let opening = format!("--{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(opening.as_bytes())?;
    loop {
        match rest {
            b"--" | b"--\r\n" => return Some(form),
            _ => {}
        }
        rest = rest.strip_prefix(b"\r\n")?;
        let end = memchr::memmem::find(rest, delimiter.as_bytes())?;
        let part = &rest[..end];
        let head = memchr::memmem::find(part, b"\r\n\r\n")?;
        if !is_plain_head(&part[..head]) {
            return None;
        }
        write_part(&part[..head], &mut form);
        write_part(&part[head + 4..], &mut form);
        rest = &rest[end + delimiter.len()..];
    }
}

/// The `boundary` of the one `Content-Type`.
fn boundary(headers: &HeaderMap) -> Option<String> {
    if !media_type(headers)?.starts_with("multipart/")
        || headers.get_all(header::CONTENT_TYPE).iter().count() != 1
    {
        return None;
    }
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let mut parameters = value.split(';').skip(1).filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.trim()))
    });
    let (name, value) = parameters.next()?;
    // Another parameter may change what the body means.
    if name != "boundary" || parameters.next().is_some() {
        return None;
    }
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => value,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    let fits = !value.is_empty() && value.len() <= LONGEST_BOUNDARY && value.bytes().all(is_plain);
    fits.then(|| value.to_owned())
}

/// Whether each line of a part's head is a field on a line of its own.
fn is_plain_head(head: &[u8]) -> bool {
    let Ok(head) = std::str::from_utf8(head) else { return false };
    let is_field = |line: &str| {
        let name = line.split_once(':').map_or("", |(name, _)| name);
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !line.contains('\r')
    };
    head.split("\r\n").all(|line| is_field(line) && !line.contains('\n'))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn form(content_type: &str, body: &[u8]) -> Option<Vec<u8>> {
        let headers = HeaderMap::from_iter([(
            header::CONTENT_TYPE,
            HeaderValue::from_str(content_type).expect("a value"),
        )]);
        normal_form(&headers, body)
    }

    fn body(boundary: &str, parts: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (head, bytes) in parts {
            body.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n").as_bytes());
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        body
    }

    #[test]
    fn what_may_be_read_otherwise_counts_by_its_bytes() {
        let good = "--b\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\nhi\r\n--b--\r\n";
        let media = "multipart/form-data; boundary=b";
        assert!(form(media, good.as_bytes()).is_some());
        assert!(form("Multipart/Mixed; Boundary=\"b\"", good.trim_end().as_bytes()).is_some());
        for (content_type, body) in [
            ("multipart/form-data", good),
            ("multipart/form-data; boundary=", good),
            ("multipart/form-data; boundary=c", good),
            ("multipart/form-data; charset=utf-8; boundary=b", good),
            ("multipart/form-data; boundary=b; boundary=c", good),
            ("text/plain; boundary=b", good),
            (media, "preamble\r\n--b\r\nA: b\r\n\r\nhi\r\n--b--\r\n"),
            (media, "--b\r\nA: b\r\n\r\nhi\r\n--b--\r\nepilogue"),
            (media, "--b\r\nA: b\r\n\r\nhi\r\n--b"),
            (media, "--b\r\nA: b\r\n\r\nhi\r\n--b\r\n"),
            (media, "--b\r\nA: b\r\n\r\nhi\r\n--bx\r\n\r\n\r\n--b--"),
            (media, "--b\nA: b\n\nhi\n--b--\n"),
            (media, "--b\r\nA: b\r\n c\r\n\r\nhi\r\n--b--\r\n"),
            (media, "--b\r\nno field\r\n\r\nhi\r\n--b--\r\n"),
            (media, "--b \r\nA: b\r\n\r\nhi\r\n--b--\r\n"),
            (media, ""),
        ] {
            assert_eq!(form(content_type, body.as_bytes()), None, "{content_type} {body:?}");
        }
    }

    proptest! {
        /// The boundary does not count, and everything in the parts does.
        #[test]
        fn parts_count_and_boundaries_do_not(
            boundaries in ("[A-Za-z0-9'()+_,./:=?-]{12,70}", "[A-Za-z0-9]{12,70}"),
            parts in proptest::collection::vec(
                ("[a-z]{1,4}", proptest::collection::vec(any::<u8>(), 0..9)), 0..4),
            others in proptest::collection::vec(
                ("[a-z]{1,4}", proptest::collection::vec(any::<u8>(), 0..9)), 0..4),
        ) {
            let named = |parts: Vec<(String, Vec<u8>)>| -> Vec<_> {
                let head = |name| format!("Content-Disposition: form-data; name=\"{name}\"");
                parts.into_iter().map(|(name, bytes)| (head(name), bytes)).collect()
            };
            let (parts, others) = (named(parts), named(others));
            let (one, two) = boundaries;
            let forms = [&one, &two].map(|boundary| {
                form(&format!("multipart/form-data; boundary=\"{boundary}\""), &body(boundary, &parts))
            });
            let other = form(&format!("multipart/form-data; boundary={two}"), &body(&two, &others));
            // Without a part there is no delimiter before the last one.
            prop_assert!(forms.iter().all(Option::is_some));
            prop_assert_eq!(&forms[0], &forms[1]);
            prop_assert_eq!(forms[1] == other, parts == others);
        }
    }
}
