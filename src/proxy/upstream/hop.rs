//! Requests that come round: each one that goes upstream names this process, so that it is known if it comes back.
//!
//! `CDN-Loop` (RFC 8586) would say the same. But the networks in front of providers refuse requests by it, and some
//! take it for their own.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http::headers;

/// The ids of the sidecaches that a request has passed through, one a line or several with commas.
pub(crate) const X_SIDECACHE_HOP: HeaderName = HeaderName::from_static("x-sidecache-hop");

/// The id of this process.
#[derive(Clone, Debug)]
pub(crate) struct Hop(HeaderValue);

impl Hop {
    pub(crate) fn random() -> Self {
        let id = format!("{:016x}", fastrand::u64(..));
        // Digits are a header's value.
        Self(HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("0")))
    }

    /// Whether a request with these headers has passed through here before.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        headers::list(headers, &X_SIDECACHE_HOP).any(|id| id.as_bytes() == self.0.as_bytes())
    }

    /// Notes that it has.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        headers::append_item(headers, X_SIDECACHE_HOP, self.0.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_passed_through_several_is_known_to_each() {
        let (one, two, other) = (Hop::random(), Hop::random(), Hop::random());
        let mut headers = HeaderMap::new();
        assert!(!one.is_in(&headers));
        one.add_to(&mut headers);
        assert!(one.is_in(&headers) && !two.is_in(&headers));
        two.add_to(&mut headers);
        assert!(one.is_in(&headers) && two.is_in(&headers) && !other.is_in(&headers));
    }

    #[test]
    fn ids_on_one_line_are_known_and_parts_of_them_are_none() {
        let own = Hop::random();
        let id = own.0.to_str().expect("text").to_owned();
        for (value, is_known) in
            [(format!("a, {id} ,b"), true), (format!("{id}0"), false), (id[1..].to_owned(), false)]
        {
            let value = HeaderValue::try_from(&value).expect("a value");
            let headers = HeaderMap::from_iter([(X_SIDECACHE_HOP, value.clone())]);
            assert_eq!(own.is_in(&headers), is_known, "{value:?}");
        }
    }
}
