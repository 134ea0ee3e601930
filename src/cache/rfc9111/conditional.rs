//! A client's own conditions, evaluated with a stored response (RFC 9111, section 4.3.2; RFC 9110, section
//! 13). Pure.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::cache::{rfc9111::date, route::kind::Kind};

/// The conditions that a cache can evaluate.
static EVALUATED: [HeaderName; 2] = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];

/// The conditions of a request to read that only the upstream can evaluate.
static UNEVALUATED: [HeaderName; 2] = [header::IF_MATCH, header::IF_UNMODIFIED_SINCE];

/// Headers that describe the body, which a 304 does not have (RFC 9110, section 15.4.5).
const NOT_IN_304: [HeaderName; 5] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
];

/// All conditions (RFC 9110, section 13.1).
static ALL: [HeaderName; 5] = [
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
];

/// A request's conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    lines: Vec<(HeaderName, HeaderValue)>,
    /// Whether the request is one to read: a cache evaluates the conditions of no other.
    reads: bool,
}

/// Whether a request has conditions that only the upstream can evaluate.
pub(crate) fn upstream_must_evaluate(kind: Kind, method: &Method, headers: &HeaderMap) -> bool {
    let (_, names) = evaluated_here_and_upstream(kind, method);
    names.iter().any(|name| headers.contains_key(name))
}

/// The conditions that are taken out of such a request, and those that only the upstream can evaluate.
fn evaluated_here_and_upstream(
    kind: Kind,
    method: &Method,
) -> (&'static [HeaderName], &'static [HeaderName]) {
    match kind {
        // RFC 9111, section 4.3.2: a cache evaluates no others.
        _ if reads(method) => (&EVALUATED, &UNEVALUATED),
        // A question has no use for them, and all who ask it get the same answer.
        Kind::Query | Kind::Embedding | Kind::Rerank => (&ALL, &[]),
        Kind::Document | Kind::Conversation | Kind::Other => (&[], &ALL),
    }
}

fn reads(method: &Method) -> bool {
    matches!(method.as_str(), "GET" | "HEAD" | "QUERY")
}

impl Conditions {
    /// The conditions of a request to read that a cache can evaluate (RFC 9110, sections 13.1.2, 13.1.3), or
    /// all those of a question.
    pub(crate) fn from_request(kind: Kind, method: &Method, headers: &HeaderMap) -> Self {
        let (names, _) = evaluated_here_and_upstream(kind, method);
        let lines = headers.iter().filter(|(name, _)| names.contains(name));
        let lines = lines.map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { lines, reads: reads(method) }
    }

    /// Takes the conditions out of the request, so that the answer can be stored.
    pub(crate) fn remove_from(&self, headers: &mut HeaderMap) {
        for (name, _) in &self.lines {
            headers.remove(name);
        }
    }

    /// Puts the conditions into a request, for the upstream to evaluate.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        headers.extend(self.lines.iter().cloned());
    }

    /// Whether the client has this response already.
    pub(crate) fn met_by(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        // RFC 9110, section 13.2.1: conditions count only if the response would be a 200 without them.
        if status != StatusCode::OK || !self.reads {
            return false;
        }
        let mut tags = self.values(&header::IF_NONE_MATCH).peekable();
        if tags.peek().is_some() {
            let tag = headers.get(header::ETAG).map(|tag| opaque(tag.as_bytes().trim_ascii()));
            return tags.any(|line| line.as_bytes().trim_ascii() == b"*" || has_tag(line.as_bytes(), tag));
        }
        let mut since = self.values(&header::IF_MODIFIED_SINCE);
        let (Some(since), None) = (since.next(), since.next()) else { return false };
        let changed = date(headers, &header::LAST_MODIFIED).or_else(|| date(headers, &header::DATE));
        changed.zip(date_of(since)).is_some_and(|(changed, since)| changed <= since)
    }

    fn values(&self, name: &HeaderName) -> impl Iterator<Item = &HeaderValue> {
        self.lines.iter().filter(move |(own, _)| own == name).map(|(_, value)| value)
    }
}

fn date_of(value: &HeaderValue) -> Option<u64> {
    let name = header::IF_MODIFIED_SINCE;
    date(&HeaderMap::from_iter([(name.clone(), value.clone())]), &name)
}

/// A tag without `W/`: the comparison is weak (RFC 9110, section 8.8.3.2).
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Whether a list of tags has `tag`. Quoted tags may have commas in them.
fn has_tag(list: &[u8], tag: Option<&[u8]>) -> bool {
    let Some(tag) = tag else { return false };
    let mut quoted = false;
    let at_comma = |byte: &u8| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    };
    list.split(at_comma).any(|own| opaque(own.trim_ascii()) == tag)
}

/// Turns a stored response's headers into those of a 304 (RFC 9110, section 15.4.5).
pub(crate) fn strip_for_304(headers: &mut HeaderMap) {
    for name in NOT_IN_304 {
        headers.remove(name);
    }
    if headers.contains_key(header::ETAG) {
        headers.remove(header::LAST_MODIFIED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "Tue, 15 Nov 1994 08:12:31 GMT";
    const NEW: &str = "Tue, 15 Nov 1994 08:12:32 GMT";

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn met(request: &[(&'static str, &'static str)], response: &[(&'static str, &'static str)]) -> bool {
        Conditions::from_request(Kind::Document, &Method::GET, &map(request))
            .met_by(StatusCode::OK, &map(response))
    }

    #[test]
    fn rfc9110_13_1_2_if_none_match_compares_tags_weakly() {
        for (list, tag, expected) in [
            ("\"a\"", "\"a\"", true),
            ("\"a\"", "\"b\"", false),
            ("W/\"a\"", "\"a\"", true),
            ("\"a\"", "W/\"a\"", true),
            ("\"x\", \"a\" ,\"y\"", "\"a\"", true),
            ("\"x,a\", \"b\"", "\"x,a\"", true),
            ("\"x,a\", \"b\"", "\"a\"", false),
            ("*", "\"a\"", true),
        ] {
            assert_eq!(met(&[("if-none-match", list)], &[("etag", tag)]), expected, "{list} {tag}");
        }
        let lines = [("if-none-match", "\"x\""), ("if-none-match", "\"a\"")];
        assert!(met(&lines, &[("etag", "\"a\"")]));
        assert!(!met(&[("if-none-match", "\"a\"")], &[("last-modified", OLD)]), "there is no tag");
    }

    #[test]
    fn rfc9110_13_1_3_if_modified_since_compares_dates_and_gives_way_to_if_none_match() {
        for (since, changed, expected) in [(OLD, OLD, true), (NEW, OLD, true), (OLD, NEW, false)] {
            let since = [("if-modified-since", since)];
            assert_eq!(met(&since, &[("last-modified", changed)]), expected, "{since:?} {changed}");
        }
        assert!(!met(&[("if-modified-since", "soon")], &[("last-modified", OLD)]), "it is no date");
        let both = [("if-none-match", "\"x\""), ("if-modified-since", NEW)];
        assert!(!met(&both, &[("etag", "\"a\""), ("last-modified", OLD)]));
        assert!(met(&[("if-modified-since", NEW)], &[("date", OLD)]), "RFC 9111, section 4.3.2: else `Date`");
    }

    #[test]
    fn rfc9110_13_2_1_only_what_is_there_has_conditions_and_only_for_those_who_read() {
        let headers = map(&[("if-none-match", "*"), ("if-match", "\"a\"")]);
        assert!(
            !Conditions::from_request(Kind::Document, &Method::GET, &headers)
                .met_by(StatusCode::NOT_FOUND, &map(&[]))
        );
        let question = Conditions::from_request(Kind::Query, &Method::POST, &headers);
        assert!(!question.met_by(StatusCode::OK, &map(&[("etag", "\"a\"")])));
        let mut sent = headers.clone();
        question.remove_from(&mut sent);
        assert!(sent.is_empty(), "they are nobody's");
        assert_eq!(Conditions::from_request(Kind::Other, &Method::PUT, &headers), Conditions::default());
        for (kind, method, name, expected) in [
            (Kind::Document, Method::GET, "if-match", true),
            (Kind::Document, Method::GET, "if-none-match", false),
            (Kind::Query, Method::GET, "if-unmodified-since", true),
            (Kind::Query, Method::POST, "if-match", false),
            (Kind::Other, Method::POST, "if-match", true),
            (Kind::Other, Method::PUT, "if-none-match", true),
        ] {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static("*"))]);
            assert_eq!(upstream_must_evaluate(kind, &method, &headers), expected, "{method} {kind} {name}");
        }
        assert!(!Conditions::default().met_by(StatusCode::OK, &map(&[("etag", "\"a\"")])));
    }

    #[test]
    fn rfc9110_15_4_5_a_304_tells_what_a_cache_needs() {
        let mut headers = map(&[
            ("cache-control", "max-age=9"),
            ("content-location", "/x"),
            ("content-type", "text/plain"),
            ("date", OLD),
            ("etag", "\"a\""),
            ("expires", NEW),
            ("last-modified", OLD),
            ("vary", "x"),
        ]);
        strip_for_304(&mut headers);
        let expected = map(&[
            ("cache-control", "max-age=9"),
            ("content-location", "/x"),
            ("date", OLD),
            ("etag", "\"a\""),
            ("expires", NEW),
            ("vary", "x"),
        ]);
        assert_eq!(headers, expected);
    }
}
