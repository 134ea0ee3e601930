//! How long a response is fresh, and how old it is (RFC 9111, section 4.2).
//!
//! Dates are whole seconds since the Unix epoch.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::ResponseDirectives;
use crate::http::cache_control::delta_seconds;

/// A response that had not changed for some time counts as fresh for this fraction of it (RFC 9111, section
/// 4.2.2).
const HEURISTIC_FRACTION: u32 = 10;

/// When the upstream was asked, and when its response came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// `request_time`, in milliseconds since the Unix epoch.
    pub(crate) asked: u64,
    /// `response_time`, likewise.
    pub(crate) came: u64,
}

impl Times {
    /// `response_time` as a date.
    const fn came_date(self) -> u64 {
        self.came / 1000
    }
}

/// The freshness lifetime of a response (section 4.2.1): `s-maxage`, else `max-age`, else `Expires`, else, if
/// its status or `public` allows that, a tenth of the time since `Last-Modified` (section 4.2.2). `None` if
/// the response has none of these.
pub(crate) fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    times: Times,
) -> Option<Duration> {
    let expires = || expires_in(headers, times).filter(|_| !directives.targeted);
    directives
        .s_maxage
        .or(directives.max_age)
        .or_else(expires)
        .or_else(|| heuristic(status, headers, directives, times))
}

/// `Expires` minus `Date` (section 4.2.1); zero if `Expires` is not a date, or comes more than once (section
/// 5.3).
fn expires_in(headers: &HeaderMap, times: Times) -> Option<Duration> {
    let mut lines = headers.get_all(header::EXPIRES).into_iter();
    lines.next()?;
    let expires = if lines.next().is_some() { None } else { date(headers, &header::EXPIRES) };
    let left = expires.map_or(0, |expires| expires.saturating_sub(generated(headers, times)));
    Some(Duration::from_secs(left))
}

fn heuristic(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    times: Times,
) -> Option<Duration> {
    if !(is_heuristically_cacheable(status) || directives.public) {
        return None;
    }
    let changed = date(headers, &header::LAST_MODIFIED)?;
    Some(Duration::from_secs(generated(headers, times).saturating_sub(changed)) / HEURISTIC_FRACTION)
}

/// RFC 9110, section 15.1.
pub(super) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// The age of a response when it comes (section 4.2.3, `corrected_initial_age`).
pub(crate) fn initial_age(headers: &HeaderMap, times: Times) -> Duration {
    let apparent = times.came_date().saturating_sub(generated(headers, times));
    let delay = Duration::from_millis(times.came.saturating_sub(times.asked));
    Duration::from_secs(apparent).max(age(headers) + delay)
}

/// `Age`: the first if there are several, and zero if it is invalid (section 5.1).
fn age(headers: &HeaderMap) -> Duration {
    let first = headers.get(header::AGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = first.split(',').next().unwrap_or_default().trim();
    delta_seconds(first).unwrap_or_default()
}

/// `Date`, or without one, when the response came (RFC 9110, section 6.6.1).
fn generated(headers: &HeaderMap, times: Times) -> u64 {
    date(headers, &header::DATE).unwrap_or(times.came_date())
}

/// The date in the header `name`, in seconds since the Unix epoch.
pub(crate) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let date = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::rfc9111::testing::map;

    /// The time of `Date: Tue, 15 Nov 1994 08:12:31 GMT`.
    const NOW: u64 = 784_887_151;
    const TIMES: Times = Times { asked: NOW * 1000, came: NOW * 1000 + 999 };
    const DATE: (&str, &str) = ("date", "Tue, 15 Nov 1994 08:12:31 GMT");

    fn life(status: u16, lines: &[(&str, &str)]) -> Option<u64> {
        let headers = map(lines);
        let status = StatusCode::from_u16(status).expect("a status");
        lifetime(status, &headers, &ResponseDirectives::from_headers(&headers), TIMES)
            .map(|life| life.as_secs())
    }

    fn date_at(offset: i64) -> String {
        let at = UNIX_EPOCH + Duration::from_secs(NOW.checked_add_signed(offset).expect("a time"));
        httpdate::fmt_http_date(at)
    }

    #[test]
    fn rfc9111_4_2_1_s_maxage_wins_over_max_age_and_that_over_expires() {
        let later = date_at(1000);
        let expires = ("expires", later.as_str());
        assert_eq!(life(200, &[DATE, expires]), Some(1000));
        assert_eq!(life(200, &[DATE, expires, ("cache-control", "max-age=5")]), Some(5));
        assert_eq!(life(200, &[DATE, expires, ("cache-control", "max-age=5, s-maxage=9")]), Some(9));
        assert_eq!(life(200, &[DATE, expires, ("cdn-cache-control", "public")]), None, "RFC 9213, 2.2");
        assert_eq!(life(599, &[("cache-control", "max-age=5")]), Some(5), "whatever the status");
    }

    #[test]
    fn rfc9111_5_3_an_invalid_or_repeated_expires_is_in_the_past() {
        let later = date_at(1000);
        let before = date_at(-10);
        assert_eq!(life(200, &[DATE, ("expires", "0")]), Some(0));
        assert_eq!(life(200, &[DATE, ("expires", &before)]), Some(0));
        assert_eq!(life(200, &[DATE, ("expires", &later), ("expires", &later)]), Some(0));
        assert_eq!(life(200, &[("date", "foo"), ("expires", &later)]), Some(1000), "when it came counts");
        let fast = date_at(300);
        let faster = date_at(400);
        assert_eq!(life(200, &[("date", &faster), ("expires", &fast)]), Some(0), "less `Date`");
    }

    #[test]
    fn rfc9111_4_2_2_a_tenth_of_the_time_since_the_last_change() {
        let changed = date_at(-1000);
        let modified = ("last-modified", changed.as_str());
        for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
            assert_eq!(life(status, &[DATE, modified]), Some(100), "{status}");
        }
        for status in [201, 202, 302, 307, 400, 403, 500, 502, 503, 504, 599] {
            assert_eq!(life(status, &[DATE, modified]), None, "{status}");
            let public = ("cache-control", "public");
            assert_eq!(life(status, &[DATE, modified, public]), Some(100), "{status} public");
        }
        assert_eq!(life(200, &[DATE]), None);
    }

    #[test]
    fn rfc9111_4_2_3_the_age_is_the_greatest_that_is_told() {
        let at = |lines: &[(&str, &str)], asked, came| {
            initial_age(&map(lines), Times { asked: asked * 1000, came: came * 1000 }).as_secs()
        };
        assert_eq!(at(&[DATE], NOW, NOW), 0);
        assert_eq!(at(&[DATE], NOW, NOW + 7), 7, "apparent");
        assert_eq!(at(&[DATE, ("age", "30")], NOW, NOW + 7), 37, "stated, and on the way");
        assert_eq!(at(&[("age", "30")], NOW, NOW + 2), 32, "without `Date`");
        let fast = date_at(1000);
        assert_eq!(at(&[("date", &fast), ("age", "15")], NOW, NOW), 15, "a fast clock makes none younger");
    }

    #[test]
    fn rfc9111_5_1_of_several_ages_the_first_counts_and_an_invalid_one_does_not() {
        for (ages, expected) in [
            (&["7200, 0"][..], 7200),
            (&["0, 7200"], 0),
            (&["7200", "0"], 7200),
            (&["0", "7200"], 0),
            (&["abc"], 0),
            (&["-7200"], 0),
            (&["7200.0"], 0),
            (&["99999999999999999999"], 1 << 31),
        ] {
            let lines: Vec<_> = ages.iter().map(|age| ("age", *age)).collect();
            assert_eq!(initial_age(&map(&lines), TIMES).as_secs(), expected, "{ages:?}");
        }
    }
}
