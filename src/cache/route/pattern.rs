//! Which requests a route covers: a method and a pattern of paths. Pure.
//!
//! Hand-written because `**` may be the first segment (`/**/v1/messages`), which matchit cannot express.

use std::str::FromStr;

use http::Method;
use percent_encoding::percent_decode_str;

/// `METHOD PATH`, as a route's `match` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As it was written.
    text: String,
    /// `None` for `*`, any method.
    method: Option<Method>,
    /// The beginning of every path that matches.
    begin: String,
    /// The segments before `**`, or all of them.
    head: Vec<Segment>,
    /// The segments after `**`; `None` if the pattern has no `**`.
    tail: Option<Vec<Segment>>,
    /// The one path that matches, if there is only one.
    only: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// `{name}`: any text that is not empty, between these two.
    Named {
        name: String,
        before: String,
        after: String,
    },
}

impl Segment {
    fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == segment,
            // The upstream may take a dot segment for another path.
            Self::Named { .. } => !is_dot_segment(segment) && self.capture(segment).is_some(),
        }
    }

    /// What the name is for in `segment`.
    fn capture<'a>(&self, segment: &'a str) -> Option<&'a str> {
        let Self::Named { before, after, .. } = self else { return None };
        let inner = segment.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
        (!inner.is_empty()).then_some(inner)
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::Named { name, .. } => Some(name),
        }
    }
}

fn is_dot_segment(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

impl Pattern {
    /// Whether a request for `path` (without its query) is covered. `GET` covers `HEAD`.
    pub(crate) fn matches(&self, method: &Method, path: &str) -> bool {
        let covers_method = |own: &Method| own == method || (own == Method::GET && method == Method::HEAD);
        if !self.method.as_ref().is_none_or(covers_method) {
            return false;
        }
        if let Some(only) = &self.only {
            return path == only;
        }
        // Most patterns are for other paths: this rules them out quickly.
        if !path.starts_with(&self.begin) {
            return false;
        }
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut given = path.split('/');
        let head_matches = self.head.iter().all(|own| given.next().is_some_and(|given| own.matches(given)));
        head_matches
            && match &self.tail {
                None => given.next().is_none(),
                // `**` matches any number of segments, or none.
                Some(tail) => {
                    tail.iter().rev().zip(path.rsplit('/')).all(|(own, given)| own.matches(given))
                        && given.count() >= tail.len()
                }
            }
    }

    /// The pattern as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it covers one path alone.
    pub(crate) const fn is_one_path(&self) -> bool {
        self.only.is_some()
    }

    pub(crate) const fn names_method(&self) -> bool {
        self.method.is_some()
    }

    /// The names in it, from left to right.
    pub(crate) fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        let tail = self.tail.as_deref().unwrap_or_default();
        self.head.iter().chain(tail).filter_map(Segment::name)
    }

    /// What `{name}` is for in `path`, which this pattern covers.
    pub(crate) fn capture<'a>(&self, name: &str, path: &'a str) -> Option<&'a str> {
        let is_it = |segment: &Segment| segment.name() == Some(name);
        let tail = self.tail.as_deref().unwrap_or_default();
        if let Some(from_end) = tail.iter().rev().position(is_it) {
            return tail[tail.len() - 1 - from_end].capture(path.rsplit('/').nth(from_end)?);
        }
        let at = self.head.iter().position(is_it)?;
        self.head[at].capture(path.strip_prefix('/')?.split('/').nth(at)?)
    }

    /// What the last `{…}` is for in `path`, which this pattern covers.
    pub(crate) fn last_capture<'a>(&self, path: &'a str) -> Option<&'a str> {
        self.capture(self.names().next_back()?, path)
    }
}

/// A part of a path without its percent-encoding.
pub(crate) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl FromStr for Pattern {
    type Err = String;

    /// The error says what is wrong with the pattern and how to write one.
    fn from_str(text: &str) -> Result<Self, String> {
        let (method, path) = text
            .split_once(' ')
            .ok_or_else(|| format!("`{text}` is no pattern: write METHOD PATH, as in \"POST /ask\""))?;
        let method = match method {
            "*" => None,
            name if name.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') => {
                Some(Method::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no method"))?)
            }
            name => return Err(format!("`{name}` is no method: write it in capitals, or `*` for any")),
        };
        let rest = path.strip_prefix('/').ok_or_else(|| format!("the path `{path}` must begin with `/`"))?;
        let mut head = Vec::new();
        let mut tail: Option<Vec<Segment>> = None;
        for segment in rest.split('/') {
            if segment == "**" {
                if tail.replace(Vec::new()).is_some() {
                    return Err(format!("the path `{path}` has more than one `**`"));
                }
                continue;
            }
            let segment = parse_segment(segment, path)?;
            let mut names = head.iter().chain(tail.iter().flatten()).filter_map(Segment::name);
            if let Some(name) = segment.name().filter(|name| names.any(|own| own == *name)) {
                return Err(format!("the path `{path}` has `{{{name}}}` twice"));
            }
            tail.as_mut().unwrap_or(&mut head).push(segment);
        }
        let is_one = tail.is_none() && head.iter().all(|segment| segment.name().is_none());
        let begin = path.split(['{', '*']).next().unwrap_or_default();
        // `**` may match no segment, and then there is no `/` before it.
        let begin = begin.trim_end_matches('/').to_owned();
        Ok(Self { text: text.to_owned(), method, begin, head, tail, only: is_one.then(|| path.to_owned()) })
    }
}

fn parse_segment(segment: &str, path: &str) -> Result<Segment, String> {
    const RESERVED: [char; 5] = ['{', '}', '*', '?', '#'];
    let wrong = || {
        format!(
            "`{segment}` in `{path}`: a segment is plain text, with one `{{name}}` in it for any text, or `**` for any \
             rest"
        )
    };
    let named = segment.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    let Some((before, (name, after))) = named else {
        return if segment.contains(RESERVED) {
            Err(wrong())
        } else {
            Ok(Segment::Literal(segment.to_owned()))
        };
    };
    if before.contains(RESERVED) || after.contains(RESERVED) {
        return Err(wrong());
    }
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(format!("`{segment}` in `{path}`: a name is letters, digits and `_`"));
    }
    Ok(Segment::Named { name: name.to_owned(), before: before.to_owned(), after: after.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, method: Method, path: &str) -> bool {
        pattern.parse::<Pattern>().expect("a pattern").matches(&method, path)
    }

    #[test]
    fn patterns_cover_what_they_say() {
        for (pattern, path, expected) in [
            ("POST /support/{tenant}/ask", "/support/a/ask", true),
            ("POST /support/{tenant}/ask", "/support//ask", false),
            ("POST /support/{tenant}/ask", "/support/a/b/ask", false),
            ("POST /support/{tenant}/ask", "/support/a/ask/", false),
            ("POST /docs/**", "/docs/a/b", true),
            ("POST /docs/**", "/docs", true),
            ("POST /docs/**", "/doc", false),
            ("POST /**/v1/x", "/v1/x", true),
            ("POST /**/v1/x", "/a/b/v1/x", true),
            ("POST /**/v1/x", "/av1/x", false),
            ("POST /a/**/b", "/a/b", true),
            ("POST /a/**/b", "/a", false),
            ("POST /**", "/", true),
            ("POST /", "/", true),
            ("POST /d/{id}", "/d/..", false),
            ("POST /d/{id}", "/d/%2E%2e", false),
            ("POST /d/{id}", "/d/...", true),
            ("POST /m/{model}:ask", "/m/a:ask", true),
            ("POST /m/{model}:ask", "/m/a:b:ask", true),
            ("POST /m/{model}:ask", "/m/:ask", false),
            ("POST /m/{model}:ask", "/m/a:tell", false),
            ("POST /**/ws-{id}.json", "/a/ws-7.json", true),
            ("POST /**/ws-{id}.json", "/a/ws-.json", false),
            ("POST /.{id}", "/..", false),
            ("POST /a{id}a", "/a", false),
            ("POST /a{id}a", "/aa", false),
        ] {
            assert_eq!(covers(pattern, Method::POST, path), expected, "{pattern} {path}");
        }
        assert!(!covers("POST /a", Method::GET, "/a") && covers("* /a", Method::GET, "/a"));
        assert!(covers("GET /a", Method::HEAD, "/a") && !covers("HEAD /a", Method::GET, "/a"));
    }

    #[test]
    fn names_have_what_they_are_for() {
        for (pattern, path, captures) in [
            ("POST /d/{id}", "/d/7", &[("id", "7")][..]),
            ("POST /d/{id}/x/{part}", "/d/7/x/p", &[("id", "7"), ("part", "p")]),
            ("POST /{a}/**/{b}/c", "/1/2/3/4/c", &[("a", "1"), ("b", "4")]),
            ("POST /m/{model}:ask", "/m/a:b:ask", &[("model", "a:b")]),
            ("POST /d", "/d", &[]),
        ] {
            let pattern: Pattern = pattern.parse().expect("a pattern");
            assert!(pattern.matches(&Method::POST, path));
            let found: Vec<_> =
                pattern.names().map(|name| (name, pattern.capture(name, path).expect("a text"))).collect();
            assert_eq!(found, captures);
            assert_eq!(pattern.last_capture(path), captures.last().map(|(_, text)| *text));
            assert_eq!(pattern.capture("other", path), None);
        }
    }

    #[test]
    fn a_bad_pattern_says_what_is_wrong() {
        for (pattern, wrong) in [
            ("/a", "METHOD PATH"),
            ("get /a", "in capitals"),
            ("GET a", "begin with `/`"),
            ("GET /**/a/**", "more than one"),
            ("GET /a*", "a segment is"),
            ("GET /{a b}", "a name is"),
            ("GET /a?b", "a segment is"),
            ("GET /{a}{b}", "a segment is"),
            ("GET /{a", "a segment is"),
            ("GET /a}", "a segment is"),
            ("GET /{a}/{a}", "`{a}` twice"),
        ] {
            let error = pattern.parse::<Pattern>().expect_err(pattern);
            assert!(error.contains(wrong), "{pattern}: {error}");
        }
    }
}
