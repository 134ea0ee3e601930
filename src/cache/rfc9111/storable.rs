//! Which responses may be stored (RFC 9111, section 3).

use http::{HeaderMap, StatusCode, header};

use super::{
    Fields, ResponseDirectives, Times, Vary, freshness::is_heuristically_cacheable, initial_age, lifetime,
    validation::has_validator,
};
use crate::reason::Reason;

/// Checks that a shared cache may store the response to a `GET` or a `QUERY`, and can use it later.
/// `authorized` says whether the request had an `Authorization`.
///
/// # Errors
/// Why it may not be stored.
pub(crate) fn check_storable(
    authorized: bool,
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    times: Times,
) -> Result<(), Reason> {
    // Section 3.3: parts are not stored here. A 304 updates what is stored already (section 4.3.3).
    if matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED) || status.is_informational() {
        return Err(Reason::Status);
    }
    let understood = directives.must_understand && is_understood(status);
    if directives.must_understand && !understood {
        return Err(Reason::Status);
    }
    // Section 5.2.2.3: a cache that understands the status ignores `no-store` beside `must-understand`.
    if directives.no_store && !understood {
        return Err(Reason::NoStore);
    }
    if directives.private == Fields::All {
        return Err(Reason::Private);
    }
    if authorized && !directives.allow_authorized() {
        return Err(Reason::Authorization);
    }
    // Section 4.1: `Vary: *` never matches.
    if Vary::from_headers(headers) == Vary::Any {
        return Err(Reason::Vary);
    }
    let explicit = directives.max_age.is_some()
        || directives.s_maxage.is_some()
        || (headers.contains_key(header::EXPIRES) && !directives.targeted);
    if !(explicit || directives.public || is_heuristically_cacheable(status)) {
        return Err(Reason::Status);
    }
    if is_of_use(status, headers, directives, times) { Ok(()) } else { Err(Reason::NoFreshness) }
}

/// The final statuses that RFC 9110 defines, without those of parts.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=205 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

/// Whether a response is fresh for some time, can be validated, or may be served stale.
fn is_of_use(status: StatusCode, headers: &HeaderMap, directives: &ResponseDirectives, times: Times) -> bool {
    let stale = directives.stale_while_revalidate.max(directives.stale_if_error);
    lifetime(status, headers, directives, times).is_some_and(|life| life > initial_age(headers, times))
        || has_validator(headers)
        || stale.is_some_and(|stale| !stale.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::rfc9111::testing::map;

    const TIMES: Times = Times { asked: 784_887_151_000, came: 784_887_151_000 };

    fn judge(status: u16, lines: &[(&str, &str)]) -> Result<(), Reason> {
        judge_for(false, status, lines)
    }

    fn judge_for(authorized: bool, status: u16, lines: &[(&str, &str)]) -> Result<(), Reason> {
        let headers = map(lines);
        let status = StatusCode::from_u16(status).expect("a status");
        check_storable(authorized, status, &headers, &ResponseDirectives::from_headers(&headers), TIMES)
    }

    fn get(status: u16, cache_control: &str) -> Result<(), Reason> {
        judge(status, &[("cache-control", cache_control)])
    }

    #[test]
    fn rfc9111_3_any_final_status_with_explicit_freshness_is_stored() {
        for status in [200, 201, 204, 299, 302, 400, 404, 499, 500, 503, 599] {
            assert_eq!(get(status, "max-age=60"), Ok(()), "{status}");
            assert_eq!(get(status, "s-maxage=60"), Ok(()), "{status}");
            let expires = ("expires", "Tue, 15 Nov 1994 09:12:31 GMT");
            assert_eq!(judge(status, &[expires]), Ok(()), "{status}");
        }
        assert_eq!(get(206, "max-age=60"), Err(Reason::Status), "section 3.3");
        assert_eq!(get(304, "max-age=60"), Err(Reason::Status), "section 4.3.3");
    }

    #[test]
    fn rfc9111_3_without_explicit_freshness_the_status_or_public_must_allow_it() {
        let modified = ("last-modified", "Tue, 15 Nov 1994 08:00:00 GMT");
        for (status, expected) in [(200, true), (404, true), (201, false), (302, false), (503, false)] {
            assert_eq!(judge(status, &[modified]).is_ok(), expected, "{status}");
            let public = ("cache-control", "public");
            assert_eq!(judge(status, &[modified, public]), Ok(()), "{status} public");
        }
        assert_eq!(judge(200, &[]), Err(Reason::NoFreshness), "it would be of no use");
        assert_eq!(judge(200, &[("etag", "\"a\"")]), Ok(()), "to be validated");
        assert_eq!(get(200, "max-age=0"), Err(Reason::NoFreshness));
        assert_eq!(get(200, "max-age=0, stale-if-error=5"), Ok(()), "RFC 5861, section 4");
        let old = [("cache-control", "max-age=60"), ("age", "61")];
        assert_eq!(judge(200, &old), Err(Reason::NoFreshness));
    }

    #[test]
    fn rfc9111_3_no_store_and_private_are_not_stored() {
        assert_eq!(get(200, "max-age=60, no-store"), Err(Reason::NoStore));
        assert_eq!(get(200, "max-age=60, private"), Err(Reason::Private));
        assert_eq!(get(200, "max-age=60, private=\"x\""), Ok(()), "section 5.2.2.7: the rest is");
    }

    #[test]
    fn rfc9111_5_2_2_3_must_understand_goes_by_the_status() {
        assert_eq!(get(200, "max-age=60, must-understand, no-store"), Ok(()));
        assert_eq!(get(599, "max-age=60, must-understand"), Err(Reason::Status));
        assert_eq!(get(299, "max-age=60, must-understand, no-store"), Err(Reason::Status));
    }

    #[test]
    fn rfc9111_3_5_authorization_needs_to_be_allowed() {
        let with = |value| judge_for(true, 200, &[("cache-control", value)]);
        assert_eq!(with("max-age=60"), Err(Reason::Authorization));
        assert_eq!(with("max-age=60, proxy-revalidate"), Err(Reason::Authorization));
        for value in ["max-age=60, public", "max-age=60, must-revalidate", "s-maxage=60"] {
            assert_eq!(with(value), Ok(()), "{value}");
        }
    }

    #[test]
    fn rfc9111_4_1_vary_on_everything_never_matches() {
        let any = [("cache-control", "max-age=60"), ("vary", "x, *")];
        assert_eq!(judge(200, &any), Err(Reason::Vary));
    }
}
