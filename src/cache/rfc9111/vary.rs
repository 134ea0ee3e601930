//! Which of several stored responses a request selects (RFC 9111, section 4.1).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};

use crate::json::canonical::write_part;

/// What a response varies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Vary {
    /// On something that no request has (`*`): it matches no request.
    Any,
    /// On these request headers, sorted, each once; on none if it does not vary.
    On(Vec<HeaderName>),
}

impl Vary {
    /// Reads `Vary`. `Accept-Encoding` does not count: the upstream is asked without it.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for line in headers.get_all(header::VARY) {
            for name in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                match HeaderName::from_bytes(name) {
                    // `*` is a token too.
                    Ok(name) if name.as_str() == "*" => return Self::Any,
                    Ok(header::ACCEPT_ENCODING) => {}
                    Ok(name) => names.push(name),
                    Err(_) if name.is_empty() => {}
                    Err(_) => return Self::Any,
                }
            }
        }
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        Self::On(names)
    }
}

/// The values of `names` in `request`, in a normal form that two requests share only if these headers mean
/// the same: the lines of one name are joined, and white space around commas does not count, nor does the
/// case of languages and charsets. A missing header differs from an empty one.
pub(crate) fn selector(names: &[HeaderName], request: &HeaderMap) -> Vec<u8> {
    let mut out = Vec::new();
    for name in names {
        write_part(name.as_str().as_bytes(), &mut out);
        let lines: Vec<_> = request.get_all(name).into_iter().map(|line| line.as_bytes()).collect();
        out.push(u8::from(!lines.is_empty()));
        write_part(&normalized(name, &lines.join(&b","[..])), &mut out);
    }
    out
}

fn normalized(name: &HeaderName, value: &[u8]) -> Vec<u8> {
    let value = match *name {
        header::ACCEPT_LANGUAGE | header::ACCEPT_CHARSET => Cow::Owned(value.to_ascii_lowercase()),
        _ => Cow::Borrowed(value),
    };
    let mut out = Vec::with_capacity(value.len());
    let mut quoted = false;
    let mut escaped = false;
    for &byte in value.trim_ascii() {
        let is_space = matches!(byte, b' ' | b'\t');
        match byte {
            b',' if !quoted => {
                out.truncate(out.trim_ascii_end().len());
                out.push(b',');
            }
            _ if is_space && !quoted && out.last() == Some(&b',') => {}
            _ => out.push(byte),
        }
        quoted ^= byte == b'"' && !escaped;
        escaped = quoted && byte == b'\\' && !escaped;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::rfc9111::testing::map;

    fn names(list: &[&'static str]) -> Vec<HeaderName> {
        list.iter().map(|name| HeaderName::from_static(name)).collect()
    }

    fn same(vary: &[&'static str], one: &[(&str, &str)], two: &[(&str, &str)]) -> bool {
        selector(&names(vary), &map(one)) == selector(&names(vary), &map(two))
    }

    #[test]
    fn rfc9110_12_5_5_vary_is_read() {
        let read = |lines: &[&str]| {
            Vary::from_headers(&map(&lines.iter().map(|line| ("vary", *line)).collect::<Vec<_>>()))
        };
        assert_eq!(read(&[]), Vary::On(Vec::new()));
        assert_eq!(read(&["Foo, bar", "foo, Accept-Encoding"]), Vary::On(names(&["bar", "foo"])));
        for any in [&["*"][..], &["*, *"], &[", *"], &["", "*"], &["foo, *"], &["*, foo"], &["a b"]] {
            assert_eq!(read(any), Vary::Any, "{any:?}");
        }
    }

    #[test]
    fn rfc9111_4_1_the_nominated_headers_must_match() {
        let vary = ["bar", "foo"];
        assert!(same(&vary, &[("foo", "1"), ("other", "2")], &[("foo", "1"), ("other", "3")]));
        assert!(!same(&vary, &[("foo", "1")], &[("foo", "2")]));
        assert!(!same(&vary, &[("foo", "1")], &[("bar", "1")]));
        assert!(!same(&vary, &[("foo", "1")], &[]), "absent from one");
        assert!(same(&vary, &[], &[]), "absent from both");
        assert!(!same(&vary, &[], &[("foo", "")]), "absent is not empty");
        assert!(!same(&["foo"], &[("foo", "a")], &[("foo", "A")]), "nothing says that case does not count");
        assert!(!same(&["foo"], &[("foo", "a, b")], &[("foo", "b, a")]), "nor that order does not");
    }

    #[test]
    fn rfc9111_4_1_lines_are_joined_and_white_space_is_as_the_syntax_allows() {
        assert!(same(&["foo"], &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")]));
        assert!(same(&["foo"], &[("foo", "1,2")], &[("foo", " 1 ,\t2 ")]));
        assert!(!same(&["foo"], &[("foo", "1 2")], &[("foo", "12")]));
        assert!(!same(&["foo"], &[("foo", "\"1, 2\"")], &[("foo", "\"1,2\"")]), "within quotes it counts");
        assert!(!same(&["foo"], &[("foo", "\"\\\", 2\"")], &[("foo", "\"\\\",2\"")]));
        assert!(same(
            &["accept-language"],
            &[("accept-language", "en, DE")],
            &[("accept-language", "EN,de")]
        ));
    }
}
