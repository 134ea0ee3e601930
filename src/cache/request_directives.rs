//! What a request asks of the cache: `Cache-Control` (RFC 9111, section 5.2.1) and `X-Cache-TTL`.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

use crate::http::{
    cache_control::{self, delta_seconds},
    headers,
};

/// The header that shortens one answer's TTL, in whole seconds.
pub(crate) const X_CACHE_TTL: HeaderName = HeaderName::from_static("x-cache-ttl");

/// The header of a request that wants no answer to a question in other words.
pub(crate) const X_CACHE_SIMILAR: HeaderName = HeaderName::from_static("x-cache-similar");

/// Whether a request wants no answer to a question in other words. Of what it may say, only `yes` allows them.
pub(crate) fn refuses_similar(headers: &HeaderMap) -> bool {
    let mut said = headers.get_all(X_CACHE_SIMILAR).iter();
    said.any(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"yes"))
}

/// A request's directives. Those about stale answers count under `mode = "rfc9111"` only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// Do not answer from the store.
    pub(crate) no_cache: bool,
    /// Neither read nor write.
    pub(crate) no_store: bool,
    /// Answer from the store or not at all.
    pub(crate) only_if_cached: bool,
    /// The highest age that the request accepts.
    pub(crate) max_age: Option<Duration>,
    /// How long the answer must still be fresh.
    pub(crate) min_fresh: Option<Duration>,
    /// How stale it may be; a `max-stale` without a number accepts any staleness.
    pub(crate) max_stale: Option<Duration>,
    /// How stale it may be if the upstream fails (RFC 5861, section 4).
    pub(crate) stale_if_error: Option<Duration>,
    /// The longest TTL for this answer.
    pub(crate) ttl: Option<Duration>,
}

impl RequestDirectives {
    /// Ignores what it does not understand.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for directive in cache_control::directives(headers, &header::CACHE_CONTROL) {
            match directive.name.as_str() {
                "no-cache" => directives.no_cache = true,
                "no-store" => directives.no_store = true,
                "only-if-cached" => directives.only_if_cached = true,
                "max-age" => directives.max_age = directive.seconds(),
                "min-fresh" => directives.min_fresh = directive.seconds(),
                "max-stale" if directive.argument.is_none() => directives.max_stale = Some(Duration::MAX),
                "max-stale" => directives.max_stale = directive.seconds(),
                "stale-if-error" => directives.stale_if_error = directive.seconds(),
                _ => {}
            }
        }
        directives.ttl =
            headers.get(X_CACHE_TTL).and_then(|value| delta_seconds(value.to_str().ok()?.trim()));
        directives
    }

    /// Reads `Pragma` too if there is no `Cache-Control` (RFC 9111, section 5.4).
    pub(crate) fn from_headers_with_pragma(headers: &HeaderMap) -> Self {
        let has_pragma = !headers.contains_key(header::CACHE_CONTROL)
            && headers::list_has(headers, &header::PRAGMA, "no-cache");
        let directives = Self::from_headers(headers);
        Self { no_cache: directives.no_cache || has_pragma, ..directives }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn whatever_is_not_yes_refuses_similar_answers() {
        assert!(!refuses_similar(&map(&[])));
        for (value, refuses) in
            [("no", true), ("No", true), ("0", true), ("", true), (" yes ", false), ("YES", false)]
        {
            assert_eq!(refuses_similar(&map(&[("x-cache-similar", value)])), refuses, "{value}");
        }
        assert!(refuses_similar(&map(&[("x-cache-similar", "yes"), ("x-cache-similar", "no")])));
    }

    #[test]
    fn directives_are_read() {
        let headers = map(&[("cache-control", "No-Cache, max-age=\"5\", x"), ("x-cache-ttl", " 7 ")]);
        let expected = RequestDirectives {
            no_cache: true,
            max_age: Some(Duration::from_secs(5)),
            ttl: Some(Duration::from_secs(7)),
            ..RequestDirectives::default()
        };
        assert_eq!(RequestDirectives::from_headers(&headers), expected);
        let odd = map(&[("cache-control", "max-age=-1, min-fresh=x"), ("x-cache-ttl", "soon")]);
        assert_eq!(RequestDirectives::from_headers(&odd), RequestDirectives::default());
    }
}
