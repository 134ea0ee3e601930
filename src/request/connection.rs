//! A connection: who is at the other end, and what its last request's head said.
//!
//! A client's requests mostly have the same head, except for the length of the body. So a connection
//! remembers the last head, and the same head again is compared and not read. Hand-written for what that
//! saves: a hit took 45,270 instructions before and 39,000 after, a miss 134,200 and 126,000 (callgrind).

use std::{fmt, sync::Arc};

use http::{
    HeaderName, HeaderValue, Version, header,
    request::Parts,
    uri::{Authority, PathAndQuery},
};
use parking_lot::Mutex;

use crate::{
    cache::route::Route,
    http::{forwarded::Peer, headers},
    request::{
        half_close::{HalfClose, HasHalfClose},
        head::RequestHead,
    },
};

/// A longer head is not remembered. In bytes.
const MAX_HEAD_BYTES: usize = 2048;

/// After so many new heads in a row, no further one is remembered: such a client gives each request a name of
/// its own.
const MAX_NEW_IN_A_ROW: u8 = 16;

/// Ends each piece of a head. No piece can have this byte in it (RFC 9110, sections 5.1 and 5.5; RFC 9112,
/// section 3).
const END: u8 = 0;

/// A connection's place among those that are served at once. A request that becomes a tunnel takes it along.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionSlot(
    #[allow(dead_code, reason = "the slot is free once all its owners are dropped")]
    pub(crate)  Arc<dyn fmt::Debug + Send + Sync>,
);

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    pub(crate) peer: Peer,
    pub(crate) half_close: HalfClose,
    last: Mutex<LastHead>,
}

impl HasHalfClose for Arc<Connection> {
    fn half_close(&self) -> &HalfClose {
        &self.half_close
    }
}

/// The last head of a connection on a cacheable route.
#[derive(Debug, Default)]
struct LastHead {
    known: Option<KnownHead>,
    /// How many heads were read since a known one came again.
    new_in_a_row: u8,
}

struct KnownHead {
    /// The bytes that it came from, with the connection's headers and the client's credentials.
    text: Box<[u8]>,
    head: Arc<RequestHead>,
    /// Whether there are headers of the connection among them.
    has_connection: bool,
}

/// Without the text, which must not be logged.
impl fmt::Debug for KnownHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownHead").field("head", &self.head).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(peer: Peer) -> Self {
        Self { peer, half_close: HalfClose::default(), last: Mutex::default() }
    }

    /// What the head in `parts` says, if it is the last one again and its route is one of `routes`: after a
    /// reload, all routes are other ones. If so, this takes the connection's headers out of `parts`.
    pub(crate) fn recall(&self, routes: &[Arc<Route>], parts: &mut Parts) -> Option<Arc<RequestHead>> {
        let mut last = self.last.lock();
        let is_one = |route: &Arc<Route>| routes.iter().any(|one| Arc::ptr_eq(one, route));
        let is_same = |known: &&KnownHead| is_one(&known.head.route) && is_same(&known.text, parts);
        let known = last.known.as_ref().filter(is_same)?;
        if known.has_connection {
            headers::remove_hop_by_hop(&mut parts.headers);
        }
        let head = Arc::clone(&known.head);
        last.new_in_a_row = 0;
        Some(head)
    }

    /// Reads the head in `parts`, which `route` covers, and remembers it. Takes the connection's headers out
    /// of `parts`.
    pub(crate) fn read(&self, route: &Arc<Route>, parts: &mut Parts) -> Arc<RequestHead> {
        let text = self.is_worth_it().then(|| text(parts)).filter(|text| text.len() <= MAX_HEAD_BYTES);
        let has_connection = headers::remove_hop_by_hop(&mut parts.headers);
        let head = Arc::new(RequestHead::new(route, parts));
        let known = |text: Vec<u8>| KnownHead { text: text.into(), head: Arc::clone(&head), has_connection };
        self.last.lock().known = text.map(known);
        head
    }

    fn is_worth_it(&self) -> bool {
        let mut last = self.last.lock();
        last.new_in_a_row = last.new_in_a_row.saturating_add(1);
        last.new_in_a_row <= MAX_NEW_IN_A_ROW
    }
}

/// Everything in a head that is read: heads that say different things have different texts.
fn text(parts: &Parts) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    for piece in pieces(parts) {
        text.extend_from_slice(piece);
        text.push(END);
    }
    text
}

/// Whether `text` is the text of this head.
fn is_same(mut text: &[u8], parts: &Parts) -> bool {
    let all = pieces(parts).all(|piece| {
        let rest = text.strip_prefix(piece).and_then(|rest| rest.strip_prefix(&[END]));
        text = rest.unwrap_or_default();
        rest.is_some()
    });
    all && text.is_empty()
}

fn pieces(parts: &Parts) -> impl Iterator<Item = &[u8]> {
    let Parts { method, uri, version, headers, .. } = parts;
    let line = [
        method.as_str().as_bytes(),
        uri.scheme_str().unwrap_or_default().as_bytes(),
        uri.authority().map_or("", Authority::as_str).as_bytes(),
        uri.path_and_query().map_or("", PathAndQuery::as_str).as_bytes(),
        match *version {
            Version::HTTP_10 => b"1.0",
            Version::HTTP_2 => b"2",
            _ => b"1.1",
        },
    ];
    let lines = headers.iter().flat_map(|(name, value)| [name.as_str().as_bytes(), what_counts(name, value)]);
    line.into_iter().chain(lines)
}

/// A length with more digits may be one that a proxy must reject.
const MAX_DIGITS: usize = 15;

/// The part of a header's value that is read: of a length, only that it is a number.
fn what_counts<'a>(name: &HeaderName, value: &'a HeaderValue) -> &'a [u8] {
    let value = value.as_bytes();
    let is_number = || (1..=MAX_DIGITS).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    if *name == header::CONTENT_LENGTH && is_number() { b"" } else { value }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use http::{HeaderMap, Request};
    use proptest::prelude::*;

    use super::*;
    use crate::cache::route::{Scope, kind::Kind};

    fn connection() -> Connection {
        Connection::new(Peer::new(Ipv4Addr::LOCALHOST.into()))
    }

    fn route() -> Arc<Route> {
        let route = Route::new("POST /**", Kind::Query, Duration::from_secs(60), Scope::Credential);
        Arc::new(route.expect("a route"))
    }

    fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
        let request = Request::builder().method(method).uri(target);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).expect("a request").into_parts().0
    }

    /// Whether the second head is taken for the first one.
    fn is_taken_for(first: &Parts, second: &Parts) -> bool {
        let connection = connection();
        let routes = [route()];
        connection.read(&routes[0], &mut first.clone());
        connection.recall(&routes, &mut second.clone()).is_some()
    }

    #[test]
    fn another_head_is_not_taken_for_the_last_one() {
        let base = ("POST", "/a?x=1", &[("host", "h"), ("x-a", "1"), ("content-length", "12")][..]);
        let of = |(method, target, headers): (&str, &str, &[(&str, &str)])| head(method, target, headers);
        assert!(is_taken_for(&of(base), &of(base)));
        let length = &[("host", "h"), ("x-a", "1"), ("content-length", "7")][..];
        assert!(is_taken_for(&of(base), &of((base.0, base.1, length))), "another length");
        for (what, other) in [
            ("method", ("PUT", base.1, base.2)),
            ("path", ("POST", "/b?x=1", base.2)),
            ("query", ("POST", "/a?x=2", base.2)),
            ("target's form", ("POST", "http://h/a?x=1", base.2)),
            ("value", ("POST", base.1, &[("host", "h"), ("x-a", "2"), ("content-length", "12")])),
            ("name", ("POST", base.1, &[("host", "h"), ("x-b", "1"), ("content-length", "12")])),
            ("order", ("POST", base.1, &[("x-a", "1"), ("host", "h"), ("content-length", "12")])),
            ("no length", ("POST", base.1, &[("host", "h"), ("x-a", "1")])),
            (
                "a length beyond all bounds",
                ("POST", base.1, &[("host", "h"), ("x-a", "1"), ("content-length", "9007199254740993")]),
            ),
            (
                "a length that is none",
                ("POST", base.1, &[("host", "h"), ("x-a", "1"), ("content-length", "+12")]),
            ),
            (
                "a second length",
                (
                    "POST",
                    base.1,
                    &[("host", "h"), ("x-a", "1"), ("content-length", "1"), ("content-length", "2")],
                ),
            ),
            (
                "one more",
                (
                    "POST",
                    base.1,
                    &[("host", "h"), ("x-a", "1"), ("content-length", "12"), ("range", "bytes=0-")],
                ),
            ),
        ] {
            assert!(!is_taken_for(&of(base), &of(other)), "{what}");
        }
        let version = |version| {
            let mut parts = of(base);
            parts.version = version;
            parts
        };
        assert!(!is_taken_for(&version(Version::HTTP_10), &version(Version::HTTP_11)));
        assert!(!is_taken_for(&version(Version::HTTP_11), &version(Version::HTTP_2)));
    }

    #[test]
    fn what_other_settings_made_of_it_does_not_count() {
        let connection = connection();
        let before = [route()];
        let after = [route()];
        connection.read(&before[0], &mut head("POST", "/a", &[]));
        assert!(connection.recall(&after, &mut head("POST", "/a", &[])).is_none());
        assert!(connection.recall(&before, &mut head("POST", "/a", &[])).is_some());
    }

    #[test]
    fn the_connections_headers_are_taken_out_each_time() {
        let connection = connection();
        let routes = [route()];
        let came = head("POST", "/a", &[("host", "h"), ("connection", "keep-alive, x-a"), ("x-a", "1")]);
        let left = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("h"))]);
        let mut first = came.clone();
        let mut again = came;
        connection.read(&routes[0], &mut first);
        assert!(connection.recall(&routes, &mut again).is_some());
        assert_eq!((first.headers, again.headers), (left.clone(), left));
    }

    #[test]
    fn no_credential_is_shown() {
        let connection = connection();
        let routes = [route()];
        connection.read(&routes[0], &mut head("POST", "/a", &[("authorization", "Bearer secret")]));
        let shown = format!("{connection:?}");
        let secret = format!("{:?}", b"Bearer secret");
        assert!(!shown.contains("secret") && !shown.contains(secret.trim_matches(['[', ']'])), "{shown}");
    }

    #[test]
    fn what_is_long_or_never_comes_again_is_not_remembered() {
        let connection = connection();
        let routes = [route()];
        let is_remembered = |value: &str| {
            let came = head("POST", "/a", &[("x-request-id", value)]);
            connection.recall(&routes, &mut came.clone()).is_some() || {
                connection.read(&routes[0], &mut came.clone());
                connection.recall(&routes, &mut came.clone()).is_some()
            }
        };
        assert!(!is_remembered(&"x".repeat(MAX_HEAD_BYTES)));
        assert!(is_remembered("1"));
        assert!(is_remembered("2"));
        for other in 0..u32::from(MAX_NEW_IN_A_ROW) {
            connection.read(&routes[0], &mut head("POST", "/a", &[("x-request-id", &other.to_string())]));
        }
        assert!(!is_remembered("3"));
    }

    proptest! {
        /// Whatever came before, a head head what it would if it came first.
        #[test]
        fn what_is_recalled_is_what_would_be_read(
            heads in proptest::collection::vec(
                ("[ab]", proptest::collection::vec((0..6_usize, "[01]"), 0..3), 0..3_u8),
                1..12,
            ),
        ) {
            let names = ["cache-control", "authorization", "content-length", "connection", "content-type", "range"];
            let values = ["no-cache", "Bearer x", "1", "range", "application/json", "bytes=0-1"];
            let connection = connection();
            let routes = [route()];
            for (path, lines, times) in heads {
                let lines: Vec<_> = lines
                    .iter()
                    .map(|(at, other)| (names[*at], if other == "0" { values[*at] } else { "other" }))
                    .collect();
                let came = head("POST", &format!("/{path}"), &lines);
                for _ in 0..times {
                    let mut ours = came.clone();
                    let mut first = came.clone();
                    let head = connection.recall(&routes, &mut ours);
                    let head = head.unwrap_or_else(|| connection.read(&routes[0], &mut ours));
                    headers::remove_hop_by_hop(&mut first.headers);
                    let read = RequestHead::new(&routes[0], &first);
                    prop_assert_eq!(format!("{head:?}"), format!("{read:?}"));
                    prop_assert_eq!(ours.headers, first.headers);
                }
            }
        }
    }
}
