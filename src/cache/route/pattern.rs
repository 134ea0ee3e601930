//! Which requests a route covers: a method and a pattern of paths. Pure.
//!
//! Hand-written because `**` may be the first segment (`/**/v1/messages`), which matchit cannot express.

use std::str::FromStr;

use http::Method;

/// `METHOD PATH`, as a route's `match` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
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
    /// `{name}`: one segment that is not empty.
    Any,
}

impl Segment {
    fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == segment,
            // The upstream may take a dot segment for another path.
            Self::Any => !segment.is_empty() && !is_dot_segment(segment),
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

    pub(crate) const fn names_method(&self) -> bool {
        self.method.is_some()
    }

    /// The segment of `path`, which this pattern covers, that the last `{…}` matches.
    pub(crate) fn last_capture<'a>(&self, path: &'a str) -> Option<&'a str> {
        let is_any = |segment: &Segment| *segment == Segment::Any;
        let tail = self.tail.as_deref().unwrap_or_default();
        if let Some(from_end) = tail.iter().rev().position(is_any) {
            return path.rsplit('/').nth(from_end);
        }
        path.strip_prefix('/')?.split('/').nth(self.head.iter().rposition(is_any)?)
    }
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
            tail.as_mut().unwrap_or(&mut head).push(parse_segment(segment, path)?);
        }
        let is_one = tail.is_none() && !head.contains(&Segment::Any);
        let begin = path.split(['{', '*']).next().unwrap_or_default();
        // `**` may match no segment, and then there is no `/` before it.
        let begin = begin.trim_end_matches('/').to_owned();
        Ok(Self { method, begin, head, tail, only: is_one.then(|| path.to_owned()) })
    }
}

fn parse_segment(segment: &str, path: &str) -> Result<Segment, String> {
    if let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        return if plain {
            Ok(Segment::Any)
        } else {
            Err(format!("`{segment}` in `{path}`: a name is letters, digits and `_`"))
        };
    }
    if segment.contains(['{', '}', '*', '?', '#']) {
        return Err(format!(
            "`{segment}` in `{path}`: a segment is plain text, `{{name}}` for any one, or `**` for any rest"
        ));
    }
    Ok(Segment::Literal(segment.to_owned()))
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
        ] {
            assert_eq!(covers(pattern, Method::POST, path), expected, "{pattern} {path}");
        }
        assert!(!covers("POST /a", Method::GET, "/a") && covers("* /a", Method::GET, "/a"));
        assert!(covers("GET /a", Method::HEAD, "/a") && !covers("HEAD /a", Method::GET, "/a"));
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
        ] {
            let error = pattern.parse::<Pattern>().expect_err(pattern);
            assert!(error.contains(wrong), "{pattern}: {error}");
        }
    }
}
