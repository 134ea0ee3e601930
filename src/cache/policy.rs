//! On a route with `mode = "ttl"`: which stored answers are fresh, and which answers may be stored, and for
//! how long.
//!
//! Where the upstream's headers decide (`mode = "rfc9111"`), `cache/rfc9111/` has the rules. Pure:
//! `now` is an argument.

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::{
    cache::{
        request_directives::RequestDirectives,
        route::{Route, SetCookie, kind::Kind},
    },
    http::{cache_control, headers},
    reason::Reason,
};

/// How long a document's 404 is fresh at most.
const NOT_FOUND_TTL: Duration = Duration::from_secs(30);

/// Whether a stored answer may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It may.
    Fresh {
        /// The time since it was stored.
        age: Duration,
        /// The time until it is stale.
        left: Duration,
    },
    /// Its TTL has ended.
    Stale {
        /// The time since it was stored.
        age: Duration,
        /// The time since its TTL ended.
        over: Duration,
    },
    /// It is older than the request accepts.
    TooOld,
}

/// Judges an answer that was stored at `stored_at` for `ttl`. `stored_at` and `now` are milliseconds since
/// the Unix epoch.
///
/// If the clock was set back, an answer counts as new.
pub fn freshness(stored_at: u64, ttl: Duration, now: u64, directives: &RequestDirectives) -> Freshness {
    let age = Duration::from_millis(now.saturating_sub(stored_at));
    if directives.max_age.is_some_and(|max| age > max) {
        return Freshness::TooOld;
    }
    match ttl.checked_sub(age) {
        None | Some(Duration::ZERO) => Freshness::Stale { age, over: age.saturating_sub(ttl) },
        Some(left) => Freshness::Fresh { age, left },
    }
}

/// How long an answer can be used, from when it was stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// How long it is fresh.
    pub(crate) ttl: Duration,
    /// How long after that it is served while the upstream is asked again.
    pub(crate) stale_while_revalidate: Duration,
    /// How long after that it is served if the upstream fails.
    pub(crate) stale_if_error: Duration,
}

impl Lifetime {
    /// Fresh for `ttl`, and never served stale.
    pub(crate) const fn fresh(ttl: Duration) -> Self {
        Self { ttl, stale_while_revalidate: Duration::ZERO, stale_if_error: Duration::ZERO }
    }

    /// The same lifetime, over after `most` at the latest.
    #[must_use]
    pub(crate) fn within(self, most: Duration) -> Self {
        let ttl = self.ttl.min(most);
        let stale_while_revalidate = self.stale_while_revalidate.min(most - ttl);
        let stale_if_error = self.stale_if_error.min(most - ttl - stale_while_revalidate);
        Self { ttl, stale_while_revalidate, stale_if_error }
    }
}

/// Whether a response shows that the upstream failed, so that a stale answer is better (RFC 5861, section 4).
pub(crate) fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// How long an answer with this head may be stored under `mode = "ttl"`. `keyed` says which request headers
/// are in the key.
///
/// # Errors
/// Why it may not be stored.
pub fn lifetime_under_ttl(
    route: &Route,
    directives: &RequestDirectives,
    status: StatusCode,
    headers: &HeaderMap,
    keyed: impl Fn(&HeaderName) -> bool,
) -> Result<Lifetime, Reason> {
    if directives.no_store {
        return Err(Reason::RequestNoStore);
    }
    let life = match (status, directives.ttl) {
        (StatusCode::OK, None) => {
            let Route { ttl, stale_while_revalidate, stale_if_error, .. } = *route;
            Lifetime { ttl, stale_while_revalidate, stale_if_error }
        }
        (StatusCode::OK, Some(asked)) => Lifetime::fresh(asked.min(route.ttl)),
        (StatusCode::NOT_FOUND, asked) if route.kind == Kind::Document => {
            Lifetime::fresh(asked.unwrap_or(NOT_FOUND_TTL).min(NOT_FOUND_TTL).min(route.ttl))
        }
        _ => return Err(Reason::Status),
    };
    if life.ttl.is_zero() {
        return Err(Reason::TtlZero);
    }
    if is_encoded(headers) {
        return Err(Reason::Encoded);
    }
    allowed_by_cache_control(route.kind, headers)?;
    if route.set_cookie == SetCookie::Skip && headers.contains_key(header::SET_COOKIE) {
        return Err(Reason::SetCookie);
    }
    // Without `Accept-Encoding` upstream, what varies on it does not vary.
    let varies = |name: &str| match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) => name != header::ACCEPT_ENCODING && !keyed(&name),
        Err(_) => true,
    };
    if headers::list(headers, &header::VARY).any(|name| name == "*" || varies(name)) {
        return Err(Reason::Vary);
    }
    Ok(life)
}

/// Whether a body is compressed, though the upstream was asked without `Accept-Encoding`.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    headers::list(headers, &header::CONTENT_ENCODING).any(|coding| !coding.eq_ignore_ascii_case("identity"))
}

fn allowed_by_cache_control(kind: Kind, headers: &HeaderMap) -> Result<(), Reason> {
    for directive in cache_control::directives(headers, &header::CACHE_CONTROL) {
        match directive.name.as_str() {
            "no-store" => return Err(Reason::NoStore),
            "private" => return Err(Reason::Private),
            // HTTP has no cached answers to a `POST`, so services add `no-cache` to them by habit. On a
            // document or a conversation they mean it.
            "no-cache" if !kind.is_a_models() => return Err(Reason::NoCache),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::{
        cache::{key::is_keyed, route::Scope},
        dialect::Dialect,
    };

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_lifetime_is_bounded_with_all_its_parts() {
        let life = |ttl, revalidate, error| {
            let [ttl, stale_while_revalidate, stale_if_error] =
                [ttl, revalidate, error].map(Duration::from_secs);
            Lifetime { ttl, stale_while_revalidate, stale_if_error }
        };
        for (own, bounded) in [
            (life(5, 2, 3), life(5, 2, 3)),
            (life(5, 2, 4), life(5, 2, 3)),
            (life(5, 9, 9), life(5, 5, 0)),
            (life(11, 1, 1), life(10, 0, 0)),
        ] {
            assert_eq!(own.within(Duration::from_secs(10)), bounded);
        }
    }

    fn route(kind: Kind) -> Route {
        Route::new("* /**", kind, Duration::from_secs(60), Scope::Credential).expect("a route")
    }

    fn judge(route: &Route, status: u16, pairs: &[(&'static str, &'static str)]) -> Result<Lifetime, Reason> {
        let status = StatusCode::from_u16(status).expect("a status");
        lifetime_under_ttl(route, &RequestDirectives::default(), status, &map(pairs), |name| {
            is_keyed(route, Dialect::OpenAiChat, name)
        })
    }

    #[test]
    fn an_answer_is_fresh_until_its_ttl() {
        let ttl = Duration::from_secs(10);
        let at = |now| freshness(1_000, ttl, now, &RequestDirectives::default());
        assert_eq!(at(1_000), Freshness::Fresh { age: Duration::ZERO, left: ttl });
        assert_eq!(at(0), Freshness::Fresh { age: Duration::ZERO, left: ttl }, "the clock was set back");
        assert_eq!(
            at(10_999),
            Freshness::Fresh { age: Duration::from_millis(9_999), left: Duration::from_millis(1) }
        );
        let stale = |over| Freshness::Stale { age: ttl + over, over };
        assert_eq!(at(11_000), stale(Duration::ZERO));
        assert_eq!(at(13_000), stale(Duration::from_secs(2)));
        let fussy =
            RequestDirectives { max_age: Some(Duration::from_secs(2)), ..RequestDirectives::default() };
        assert_eq!(freshness(1_000, ttl, 3_001, &fussy), Freshness::TooOld);
        assert!(matches!(freshness(1_000, ttl, 3_000, &fussy), Freshness::Fresh { .. }));
    }

    proptest::proptest! {
        #[test]
        fn a_clock_set_back_or_forth_makes_no_life_longer(stored_at: u64, now: u64, ttl: u32) {
            let ttl = Duration::from_secs(ttl.into());
            match freshness(stored_at, ttl, now, &RequestDirectives::default()) {
                Freshness::Fresh { age, left } => assert_eq!(age + left, ttl),
                Freshness::Stale { age, over } => assert_eq!(age, ttl + over),
                Freshness::TooOld => panic!("nothing was asked of its age"),
            }
        }
    }

    #[test]
    fn each_head_has_its_verdict() {
        let query = route(Kind::Query);
        let document = route(Kind::Document);
        let full = Ok(Lifetime::fresh(Duration::from_secs(60)));
        for (route, status, pairs, expected) in [
            (&query, 200, &[][..], full),
            (&query, 201, &[], Err(Reason::Status)),
            (&query, 404, &[], Err(Reason::Status)),
            (&document, 404, &[], Ok(Lifetime::fresh(Duration::from_secs(30)))),
            (&query, 200, &[("cache-control", "max-age=0, No-Store")], Err(Reason::NoStore)),
            (&query, 200, &[("cache-control", "private=\"x\"")], Err(Reason::Private)),
            (&query, 200, &[("cache-control", "no-cache")], full),
            (&document, 200, &[("cache-control", "no-cache")], Err(Reason::NoCache)),
            (&query, 200, &[("set-cookie", "a=b")], full),
            (&document, 200, &[("set-cookie", "a=b")], Err(Reason::SetCookie)),
            (&query, 200, &[("vary", "Accept-Encoding, Origin, Authorization")], full),
            (&query, 200, &[("vary", "User-Agent")], Err(Reason::Vary)),
            (&query, 200, &[("vary", "Accept-Language")], Err(Reason::Vary)),
            // All that call a body JSON share its key.
            (&query, 200, &[("vary", "Content-Type")], Err(Reason::Vary)),
            (&query, 200, &[("vary", "*")], Err(Reason::Vary)),
            (&query, 200, &[("content-encoding", "gzip")], Err(Reason::Encoded)),
            (&query, 200, &[("content-encoding", "identity")], full),
        ] {
            assert_eq!(judge(route, status, pairs), expected, "{status} {pairs:?}");
        }
        let shared = Route { scope: Scope::Shared, ..route(Kind::Query) };
        assert_eq!(judge(&shared, 200, &[("vary", "Authorization")]), Err(Reason::Vary));
    }

    #[test]
    fn a_request_shortens_a_life_and_never_lengthens_it() {
        let day = Duration::from_secs(86_400);
        let route = Route { stale_while_revalidate: day, stale_if_error: day, ..route(Kind::Query) };
        let with = |seconds| {
            let directives =
                RequestDirectives { ttl: Some(Duration::from_secs(seconds)), ..RequestDirectives::default() };
            lifetime_under_ttl(&route, &directives, StatusCode::OK, &HeaderMap::new(), |_| true)
        };
        assert_eq!(with(5), Ok(Lifetime::fresh(Duration::from_secs(5))));
        assert_eq!(with(500), Ok(Lifetime::fresh(Duration::from_secs(60))));
        assert_eq!(with(0), Err(Reason::TtlZero));
    }
}
