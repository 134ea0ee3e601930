//! The syntax of `Cache-Control` (RFC 9111, section 5.2).
//!
//! Whatever is beside it, a directive in an item of its own is read: a `no-store` must not hide behind a
//! quote that is never closed, or in a line with a byte beyond ASCII.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// The greatest delta-seconds (RFC 9111, section 1.2.2): what is larger counts as this.
const MAX_SECONDS: u64 = 1 << 31;

/// One directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directive {
    /// In lower case.
    pub(crate) name: String,
    /// Without quotes.
    pub(crate) argument: Option<String>,
}

/// The directives of all lines of the header `name`, in their order. A byte beyond ASCII changes only the
/// argument that it is in.
pub(crate) fn directives(headers: &HeaderMap, name: &HeaderName) -> Vec<Directive> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| items(&String::from_utf8_lossy(line.as_bytes()))).collect()
}

/// Cuts a line at the commas that are outside of quotes. A quote that is never closed quotes nothing, so that
/// no directive hides behind it.
fn items(line: &str) -> Vec<Directive> {
    let mut items = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let end = item_end(rest);
        items.extend(item(&rest[..end]));
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    items
}

fn item_end(text: &str) -> usize {
    let mut at = 0;
    while let Some(next) = text[at..].find([',', '"']) {
        at += next;
        match quoted_end(&text[at..]) {
            Some(len) => at += len,
            None if text.as_bytes()[at] == b',' => return at,
            None => at += 1,
        }
    }
    text.len()
}

/// The length of the quoted string that `text` begins with.
fn quoted_end(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate();
    if bytes.next()?.1 != b'"' {
        return None;
    }
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()?),
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn item(text: &str) -> Option<Directive> {
    let (name, argument) = match text.split_once('=') {
        Some((name, argument)) => (name, Some(unquoted(argument))),
        None => (text, None),
    };
    let name = name.trim_matches([' ', '\t']).to_ascii_lowercase();
    (!name.is_empty()).then_some(Directive { name, argument })
}

/// A token or a quoted string: a recipient takes both (RFC 9111, section 5.2). White space before an argument
/// stays, and makes it invalid.
fn unquoted(argument: &str) -> String {
    let argument = argument.trim_end_matches([' ', '\t']);
    match argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => argument.to_owned(),
    }
}

impl Directive {
    /// The argument as delta-seconds; `None` if it is something else.
    pub(crate) fn seconds(&self) -> Option<Duration> {
        delta_seconds(self.argument.as_deref()?)
    }
}

/// Delta-seconds (RFC 9111, section 1.2.2); `None` if `text` is something else.
pub(crate) fn delta_seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(text.parse().unwrap_or(MAX_SECONDS).min(MAX_SECONDS)))
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::CACHE_CONTROL};
    use proptest::prelude::*;

    use super::*;

    fn read(lines: &[&'static [u8]]) -> Vec<(String, Option<String>)> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_bytes(line).expect("a value"));
        }
        directives(&headers, &CACHE_CONTROL).into_iter().map(|own| (own.name, own.argument)).collect()
    }

    fn pairs(expected: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
    }

    #[test]
    fn rfc9111_5_2_directives_are_tokens_with_tokens_or_quoted_strings() {
        assert_eq!(
            read(&[b"No-Cache, max-age=5 ,, Private=\"set-cookie, x\"", b"s-maxage=\"7\""]),
            pairs(&[
                ("no-cache", None),
                ("max-age", Some("5")),
                ("private", Some("set-cookie, x")),
                ("s-maxage", Some("7")),
            ])
        );
        assert_eq!(
            read(&[b"a=\"x\\\"y, no-store\", b"]),
            pairs(&[("a", Some("x\"y, no-store")), ("b", None)])
        );
    }

    #[test]
    fn rfc9111_5_2_nothing_hides_behind_an_open_quote_or_a_byte_that_is_no_ascii() {
        assert_eq!(read(&[b"a=\"x, no-store"]), pairs(&[("a", Some("\"x")), ("no-store", None)]));
        assert_eq!(read(&[b"a=\xfc, no-store"])[1], ("no-store".to_owned(), None));
    }

    #[test]
    fn rfc9111_5_2_white_space_before_an_argument_makes_it_invalid() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age= 100"));
        let directives = directives(&headers, &CACHE_CONTROL);
        assert_eq!((directives[0].name.as_str(), directives[0].seconds()), ("max-age", None));
    }

    proptest! {
        /// Whatever is beside it, a directive in an item of its own is read.
        #[test]
        fn rfc9111_5_2_no_neighbour_hides_a_directive(
            before in "[ -~\u{e0}-\u{ff}]{0,12}",
            after in "[ -~\u{e0}-\u{ff}]{0,12}",
        ) {
            prop_assume!(!before.contains('"') && !after.contains('"'));
            let line = format!("{before}, a=\"x, \\\"y\", no-store,{after}");
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_bytes(line.as_bytes()).expect("a value"));
            let found = directives(&headers, &CACHE_CONTROL);
            prop_assert!(found.iter().any(|own| own.name == "no-store" && own.argument.is_none()));
        }

        #[test]
        fn no_value_panics(bytes in proptest::collection::vec(32_u8..=255, 0..40)) {
            prop_assume!(!bytes.contains(&127));
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_bytes(&bytes).expect("a value"));
            directives(&headers, &CACHE_CONTROL);
        }
    }

    #[test]
    fn rfc9111_1_2_2_delta_seconds_are_digits_and_have_a_greatest() {
        for (text, expected) in [
            ("0", Some(0)),
            ("003600", Some(3600)),
            ("2147483649", Some(MAX_SECONDS)),
            ("99999999999999999999999", Some(MAX_SECONDS)),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("'1'", None),
            ("", None),
        ] {
            assert_eq!(delta_seconds(text), expected.map(Duration::from_secs), "{text}");
        }
    }
}
