//! What counts of a multipart body (RFC 2046, section 5.1): its parts, each with its own head and bytes. The
//! boundary between them is new in each request of most clients, and means nothing.
//!
//! Only what every parser reads alike is taken apart: whatever is not exactly as RFC 2046 writes it counts by
//! its bytes.

use http::{HeaderMap, header};

use super::headers::media_type;

/// The most characters of a boundary (RFC 2046, section 5.1.1).
const LONGEST_BOUNDARY: usize = 70;

/// A part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'b> {
    /// The lines of its head, the last one without its end.
    pub(crate) head: &'b str,
    pub(crate) bytes: &'b [u8],
}

impl<'b> Part<'b> {
    /// The name of the form's field (RFC 7578, section 4.2).
    pub(crate) fn name(&self) -> Option<&'b str> {
        self.parameter("name")
    }

    /// The name of the file that it is, if it is one.
    pub(crate) fn file_name(&self) -> Option<&'b str> {
        self.parameter("filename")
    }

    /// What it says that it is.
    pub(crate) fn media_type(&self) -> Option<&'b str> {
        self.field("content-type")
    }

    /// A parameter of its one `Content-Disposition`, if that is written in the plain way of all clients.
    fn parameter(&self, name: &str) -> Option<&'b str> {
        let mut rest = self.field("content-disposition")?.strip_prefix("form-data")?;
        loop {
            let (own, after) = rest.strip_prefix(';')?.trim_start().split_once("=\"")?;
            let (value, after) = after.split_once('"')?;
            // A quoted pair may stand for something else.
            if value.contains('\\') {
                return None;
            }
            if own.eq_ignore_ascii_case(name) {
                return Some(value);
            }
            rest = after.trim_start();
        }
    }

    /// The value of its one field `name`.
    fn field(&self, name: &str) -> Option<&'b str> {
        let fields = self.head.split("\r\n").filter_map(|line| line.split_once(':'));
        let mut found = fields.filter(|(own, _)| own.eq_ignore_ascii_case(name));
        let (_, value) = found.next()?;
        found.next().is_none().then_some(value.trim())
    }
}

/// The parts of a body with these headers; `None` if it is no multipart body, or may be read in several ways.
pub(crate) fn parts<'b>(headers: &HeaderMap, body: &'b [u8]) -> Option<Vec<Part<'b>>> {
    let boundary = boundary(headers)?;
    let mut parts = Vec::new();
    let opening = format!("--{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(opening.as_bytes())?;
    loop {
        match rest {
            b"--" | b"--\r\n" => return Some(parts),
            _ => {}
        }
        rest = rest.strip_prefix(b"\r\n")?;
        let end = memchr::memmem::find(rest, delimiter.as_bytes())?;
        let part = &rest[..end];
        let head = memchr::memmem::find(part, b"\r\n\r\n")?;
        parts.push(Part { head: plain_head(&part[..head])?, bytes: &part[head + 4..] });
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

/// A part's head; `None` unless each of its lines is a field on a line of its own.
fn plain_head(head: &[u8]) -> Option<&str> {
    let head = std::str::from_utf8(head).ok()?;
    let is_field = |line: &str| {
        let name = line.split_once(':').map_or("", |(name, _)| name);
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !line.contains('\r')
    };
    head.split("\r\n").all(|line| is_field(line) && !line.contains('\n')).then_some(head)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn form<'b>(content_type: &str, body: &'b [u8]) -> Option<Vec<Part<'b>>> {
        let headers = HeaderMap::from_iter([(
            header::CONTENT_TYPE,
            HeaderValue::from_str(content_type).expect("a value"),
        )]);
        parts(&headers, body)
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

    #[test]
    fn a_part_says_what_it_is() {
        let media = "multipart/form-data; boundary=b";
        for (disposition, name, file_name) in [
            ("form-data; name=\"file\"; filename=\"a b.mp3\"", Some("file"), Some("a b.mp3")),
            ("form-data;name=\"model\"", Some("model"), None),
            ("form-data; NAME=\"model\" ; x=\"y\"", Some("model"), None),
            ("form-data; filename=\"a\"; name=\"\"", Some(""), Some("a")),
            // Not in the plain way: nothing is known.
            ("form-data; name=model", None, None),
            ("form-data; name=\"a\\\"b\"", None, None),
            ("attachment; name=\"model\"", None, None),
            ("form-data", None, None),
        ] {
            let body = format!(
                "--b\r\ncontent-disposition: {disposition}\r\nContent-Type: a/b\r\n\r\nx\r\n--b--\r\n"
            );
            let parts = form(media, body.as_bytes()).expect("parts");
            let [part] = parts[..] else { panic!("{parts:?}") };
            assert_eq!((part.name(), part.file_name()), (name, file_name), "{disposition}");
            assert_eq!((part.media_type(), part.bytes), (Some("a/b"), &b"x"[..]));
        }
        let twice = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n\r\n--b--";
        assert_eq!(form(media, twice.as_bytes()).expect("parts")[0].name(), None);
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
            let bodies = [body(&one, &parts), body(&two, &parts), body(&two, &others)];
            let forms = [(&one, &bodies[0]), (&two, &bodies[1])].map(|(boundary, body)| {
                form(&format!("multipart/form-data; boundary=\"{boundary}\""), body)
            });
            let other = form(&format!("multipart/form-data; boundary={two}"), &bodies[2]);
            // Without a part there is no delimiter before the last one.
            prop_assert!(forms.iter().all(Option::is_some));
            prop_assert_eq!(&forms[0], &forms[1]);
            prop_assert_eq!(forms[1] == other, parts == others);
        }
    }
}
