//! The header lines by which the service lets pages of an origin read its answers (CORS), remembered from its
//! last answer to that origin, and put into the errors that sidecache makes.
//!
//! Without them, a page sees "network error" instead of a 502 or 504. Nothing else of the answer is
//! remembered. The service alone decides who may read; `docs/SECURITY.md` says what an attacker could make of
//! this.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use moka::sync::Cache;

use crate::http::headers;

/// Beyond this many, origins that seldom ask are forgotten.
const MAX_ORIGINS: u64 = 4096;

/// A longer origin is not remembered, in bytes. A host's name has 253 at most.
const LONGEST_ORIGIN: usize = 300;

/// A longer list of headers that pages may read is left out, in bytes.
const LONGEST_LIST: usize = 1024;

/// The `Origin` of a request.
pub(crate) type Origin = Arc<[u8]>;

/// The `Origin` of a request with these headers; `None` if there is none, more than one, or a long one.
pub(crate) fn origin(request: &HeaderMap) -> Option<Origin> {
    let mut lines = request.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (lines.next(), lines.next()) else { return None };
    (origin.len() <= LONGEST_ORIGIN).then(|| origin.as_bytes().into())
}

/// The lines that each origin got last.
#[derive(Clone, Debug)]
pub(crate) struct Cors {
    given: Cache<Origin, Lines>,
}

impl Default for Cors {
    fn default() -> Self {
        Self { given: Cache::new(MAX_ORIGINS) }
    }
}

impl Cors {
    /// Remembers the lines of the service's answer to a request of `origin`. An answer without such lines
    /// lets nobody read, so the known ones are forgotten. The answer to a preflight has fewer lines than the
    /// answer to its request, and counts only if none are known. A 304 changes nothing that the client has,
    /// and no page reads a 101.
    pub(crate) fn record(&self, origin: &Origin, method: &Method, status: StatusCode, answer: &HeaderMap) {
        if status == StatusCode::NOT_MODIFIED || status.is_informational() {
            return;
        }
        let is_preflight = *method == Method::OPTIONS;
        let known = self.given.get(origin);
        match Lines::from_answer(origin, answer) {
            Some(_) if is_preflight && known.is_some() => {}
            // Nothing is written if nothing changed.
            Some(lines) if known.as_ref() == Some(&lines) => {}
            Some(lines) => self.given.insert(Arc::clone(origin), lines),
            None if known.is_some() && !is_preflight => self.given.invalidate(origin),
            None => {}
        }
    }

    /// Adds to the headers of an error that sidecache makes the lines that `origin` got last.
    pub(crate) fn add_to(&self, origin: &Origin, error: &mut HeaderMap) {
        let Some(Lines { allows, with_credentials, exposes }) = self.given.get(origin) else { return };
        error.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allows);
        if with_credentials {
            error.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        for line in exposes.iter() {
            error.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, line.clone());
        }
        headers::append_item(error, header::VARY, HeaderValue::from_static("Origin"));
    }
}

/// The lines that let a page read an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lines {
    /// The origin, or `*`.
    allows: HeaderValue,
    with_credentials: bool,
    /// The headers that the page may read, in lines as they came.
    exposes: Arc<[HeaderValue]>,
}

impl Lines {
    /// The lines of `answer`, if they let pages of `origin` read it.
    fn from_answer(origin: &Origin, answer: &HeaderMap) -> Option<Self> {
        let allows = only(answer, &header::ACCESS_CONTROL_ALLOW_ORIGIN)?;
        if allows != "*" && allows.as_bytes() != &**origin {
            return None;
        }
        let credentials = only(answer, &header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        let exposes = answer.get_all(header::ACCESS_CONTROL_EXPOSE_HEADERS);
        let is_short = exposes.iter().map(HeaderValue::len).sum::<usize>() <= LONGEST_LIST;
        Some(Self {
            allows: own(allows),
            with_credentials: credentials.is_some_and(|value| value == "true"),
            exposes: exposes.iter().filter(|_| is_short).map(own).collect(),
        })
    }
}

/// The value of a header that is there exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// A copy that does not hold the answer's whole head in memory.
fn own(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "https://app.example";

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::try_from(*value).expect("a value"));
        }
        headers
    }

    fn page(origin: &str) -> Origin {
        super::origin(&map(&[("origin", origin)])).expect("an origin")
    }

    /// The lines of an error for `origin`.
    fn lines_for(cors: &Cors, origin: &str) -> Vec<String> {
        let mut error = HeaderMap::new();
        cors.add_to(&page(origin), &mut error);
        error.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect()
    }

    fn answered(cors: &Cors, method: Method, status: u16, lines: &[(&'static str, &str)]) {
        cors.record(&page(PAGE), &method, StatusCode::from_u16(status).expect("a status"), &map(lines));
    }

    #[test]
    fn what_lets_its_page_read_is_remembered_and_nothing_else() {
        let long = format!("x-{}", "a".repeat(LONGEST_LIST));
        let allow = |value| ("access-control-allow-origin", value);
        for (lines, expected) in [
            (&[allow(PAGE)][..], &["access-control-allow-origin: https://app.example", "vary: Origin"][..]),
            (&[allow("*")], &["access-control-allow-origin: *", "vary: Origin"]),
            (
                &[
                    allow(PAGE),
                    ("access-control-allow-credentials", "true"),
                    ("access-control-expose-headers", "X-A, X-B"),
                    ("access-control-expose-headers", "X-C"),
                    ("access-control-allow-methods", "POST"),
                    ("access-control-max-age", "600"),
                    ("vary", "Origin, Cookie"),
                    ("set-cookie", "a=b"),
                    ("x-secret", "1"),
                ],
                &[
                    "access-control-allow-origin: https://app.example",
                    "access-control-allow-credentials: true",
                    "access-control-expose-headers: X-A, X-B",
                    "access-control-expose-headers: X-C",
                    "vary: Origin",
                ],
            ),
            (
                &[
                    allow("*"),
                    ("access-control-allow-credentials", "yes"),
                    ("access-control-expose-headers", &long),
                ],
                &["access-control-allow-origin: *", "vary: Origin"],
            ),
            (&[allow("https://other.example")], &[]),
            (&[allow("https://app.example.evil.example")], &[]),
            (&[allow("HTTPS://APP.EXAMPLE")], &[]),
            (&[allow("null")], &[]),
            (&[allow(PAGE), allow("*")], &[]),
            (&[("access-control-allow-credentials", "true")], &[]),
            (&[], &[]),
        ] {
            let cors = Cors::default();
            answered(&cors, Method::POST, 200, lines);
            assert_eq!(lines_for(&cors, PAGE), expected, "{lines:?}");
            assert_eq!(lines_for(&cors, "https://other.example"), [""; 0], "another page");
        }
    }

    #[test]
    fn the_last_answer_counts() {
        let cors = Cors::default();
        let allowed = &[("access-control-allow-origin", PAGE)][..];
        let exposing = &[("access-control-allow-origin", PAGE), ("access-control-expose-headers", "X-A")][..];
        let lines = || lines_for(&cors, PAGE).len();
        answered(&cors, Method::OPTIONS, 204, allowed);
        assert_eq!(lines(), 2, "a preflight is better than nothing");
        answered(&cors, Method::POST, 500, exposing);
        assert_eq!(lines(), 3);
        answered(&cors, Method::OPTIONS, 204, allowed);
        answered(&cors, Method::OPTIONS, 403, &[]);
        answered(&cors, Method::GET, 304, &[]);
        answered(&cors, Method::GET, 101, &[]);
        assert_eq!(lines(), 3, "these say nothing of what an answer would");
        answered(&cors, Method::POST, 200, &[]);
        assert_eq!(lines(), 0, "it lets the page no longer read");
    }

    #[test]
    fn odd_origins_are_not_remembered() {
        assert_eq!(origin(&HeaderMap::new()), None);
        assert_eq!(origin(&map(&[("origin", PAGE), ("origin", PAGE)])), None);
        assert_eq!(origin(&map(&[("origin", &"a".repeat(LONGEST_ORIGIN + 1))])), None);
    }

    #[test]
    fn a_crowd_of_origins_takes_bounded_memory() {
        let cors = Cors::default();
        for number in 0..3 * MAX_ORIGINS {
            let own = format!("https://{number}.example");
            let lines = map(&[("access-control-allow-origin", &own)]);
            cors.record(&page(&own), &Method::GET, StatusCode::OK, &lines);
        }
        cors.given.run_pending_tasks();
        assert!(cors.given.entry_count() <= MAX_ORIGINS);
    }
}
