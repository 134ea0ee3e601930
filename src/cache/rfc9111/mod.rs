//! RFC 9111, HTTP Caching, for a shared cache: the rules of `mode = "rfc9111"`. Pure: `now` is an argument.
//!
//! | clause | file |
//! | --- | --- |
//! | 3, storing responses; 3.5, `Authorization` | `storable.rs` |
//! | 3.1, 3.2, 4.3, header fields, validation, and what a 304 or a `HEAD` updates | `validation.rs` |
//! | 4, 4.2.4, reuse, stale responses; RFC 5861 | `reuse.rs` |
//! | 4.1, `Vary` | `vary.rs` |
//! | 4.2, freshness and age | `freshness.rs` |
//! | 4.4, invalidation | `invalidation.rs` |
//! | 5.2, `Cache-Control` of responses; RFC 9213, `CDN-Cache-Control` | `response_directives.rs` |
//!
//! The syntax of `Cache-Control` is in `http/cache_control.rs`, a request's directives are in
//! [`crate::cache::request_directives`], a client's own conditions in [`conditional`], and its ranges in
//! [`range`].

pub(crate) mod conditional;
mod freshness;
mod invalidation;
pub(crate) mod range;
mod response_directives;
mod reuse;
mod storable;
mod validation;
mod vary;

pub(crate) use self::{
    freshness::{Times, date, initial_age, lifetime},
    invalidation::{invalidated, is_safe},
    response_directives::{Fields, ResponseDirectives},
    reuse::{Fallback, Reuse, StaleRules, fallback, reuse},
    storable::check_storable,
    validation::{conditions, fields_to_store, freshen, matches_head},
    vary::{Vary, selector},
};

#[cfg(test)]
mod testing {
    //! Header maps for tests.

    use http::{HeaderMap, HeaderName, HeaderValue};

    /// The headers that these lines make, in their order.
    pub(super) fn map(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                (name, HeaderValue::from_str(value).expect("a value"))
            })
            .fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            })
    }
}
