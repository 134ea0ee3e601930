//! Whether a stored response may answer a request (RFC 9111, section 4), fresh or stale (section 4.2.4).

use std::time::Duration;

use super::{Fields, ResponseDirectives};
use crate::cache::request_directives::RequestDirectives;

/// How long a stored response may be served after it became stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StaleRules {
    /// While it is validated (RFC 5861, section 3).
    pub(crate) while_revalidate: Duration,
    /// If the upstream answers with an error (RFC 5861, section 4).
    pub(crate) if_error: Duration,
}

impl StaleRules {
    /// What a response's directives allow, or `configured` where they say nothing: the route's settings are
    /// an "out-of-band contract" (section 4.2.4). No setting allows what the directives forbid.
    pub(crate) fn new(directives: &ResponseDirectives, configured: Self) -> Self {
        if directives.forbid_stale() {
            return Self::default();
        }
        Self {
            while_revalidate: directives.stale_while_revalidate.unwrap_or(configured.while_revalidate),
            if_error: directives.stale_if_error.unwrap_or(configured.if_error),
        }
    }
}

/// How a stored response may answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// As it is.
    Fresh,
    /// As it is, though it is stale.
    Stale {
        /// Whether to validate it in the background.
        refresh: bool,
    },
    /// After the upstream has confirmed it.
    Validate {
        /// Whether only the request wants that.
        asked: bool,
    },
}

/// How a response of this `age`, fresh for `lifetime`, may answer a request with the directives `asked`
/// (sections 4 and 5.2.1).
pub(crate) fn reuse(
    directives: &ResponseDirectives,
    rules: StaleRules,
    asked: &RequestDirectives,
    age: Duration,
    lifetime: Duration,
) -> Reuse {
    if directives.no_cache == Fields::All {
        return Reuse::Validate { asked: false };
    }
    let is_fresh = lifetime > age;
    if asked.no_cache || asked.max_age.is_some_and(|most| age > most) {
        return Reuse::Validate { asked: is_fresh };
    }
    if is_fresh {
        let lasts = asked.min_fresh.is_none_or(|least| lifetime - age >= least);
        return if lasts { Reuse::Fresh } else { Reuse::Validate { asked: true } };
    }
    let staleness = age - lifetime;
    let accepted = asked.max_stale.is_some_and(|most| staleness <= most);
    match (directives.forbid_stale(), asked.min_fresh) {
        (false, None) if accepted => Reuse::Stale { refresh: false },
        (false, None) if staleness < rules.while_revalidate => Reuse::Stale { refresh: true },
        _ => Reuse::Validate { asked: false },
    }
}

/// When a stale response answers a request although it was not validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// Never.
    No,
    /// If the upstream cannot be reached (RFC 9111, section 4.2.4).
    Disconnected,
    /// If the upstream cannot be reached or answers with an error (RFC 5861, section 4).
    Error,
}

/// When a response of this `age`, fresh for `lifetime`, answers the request without validation.
pub(crate) fn fallback(
    directives: &ResponseDirectives,
    rules: StaleRules,
    asked: &RequestDirectives,
    age: Duration,
    lifetime: Duration,
) -> Fallback {
    let refused = asked.no_cache || asked.min_fresh.is_some() || asked.max_age.is_some_and(|most| age > most);
    if directives.forbid_stale() || refused {
        return Fallback::No;
    }
    let if_error = rules.if_error.max(asked.stale_if_error.unwrap_or_default());
    if age.saturating_sub(lifetime) < if_error { Fallback::Error } else { Fallback::Disconnected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::rfc9111::testing::map;

    const LIFE: Duration = Duration::from_secs(100);

    /// How a response with this `Cache-Control` answers, at this age, a request with that one.
    fn judge(response: &str, request: &str, age: u64) -> Reuse {
        let directives = ResponseDirectives::from_headers(&map(&[("cache-control", response)]));
        let asked = RequestDirectives::from_headers(&map(&[("cache-control", request)]));
        let rules = StaleRules::new(&directives, StaleRules::default());
        reuse(&directives, rules, &asked, Duration::from_secs(age), LIFE)
    }

    const STALE: Reuse = Reuse::Validate { asked: false };
    const ASKED: Reuse = Reuse::Validate { asked: true };

    #[test]
    fn rfc9111_4_2_it_is_fresh_while_its_lifetime_exceeds_its_age() {
        assert_eq!(judge("", "", 99), Reuse::Fresh);
        assert_eq!(judge("", "", 100), STALE);
    }

    #[test]
    fn rfc9111_5_2_2_4_no_cache_needs_validation_however_fresh() {
        assert_eq!(judge("no-cache", "", 0), STALE);
        assert_eq!(judge("no-cache", "max-stale", 0), STALE);
        assert_eq!(judge("no-cache=\"set-cookie\"", "", 0), Reuse::Fresh, "that field is not stored");
    }

    #[test]
    fn rfc9111_5_2_1_requests_ask_for_less() {
        assert_eq!(judge("", "max-age=5", 5), Reuse::Fresh);
        assert_eq!(judge("", "max-age=5", 6), ASKED);
        assert_eq!(judge("", "min-fresh=40", 60), Reuse::Fresh);
        assert_eq!(judge("", "min-fresh=40", 61), ASKED);
        assert_eq!(judge("", "no-cache", 0), ASKED);
        assert_eq!(judge("", "no-cache", 200), STALE);
    }

    #[test]
    fn rfc9111_5_2_1_2_max_stale_takes_a_stale_response() {
        assert_eq!(judge("", "max-stale=50", 150), Reuse::Stale { refresh: false });
        assert_eq!(judge("", "max-stale=50", 151), STALE);
        assert_eq!(judge("", "max-stale", 1_000_000), Reuse::Stale { refresh: false });
        assert_eq!(judge("", "max-stale, max-age=120", 121), STALE);
        for forbidden in ["must-revalidate", "proxy-revalidate", "s-maxage=100", "no-cache"] {
            assert_eq!(judge(forbidden, "max-stale", 150), STALE, "{forbidden}");
        }
    }

    #[test]
    fn rfc5861_3_it_may_be_stale_while_it_is_validated() {
        assert_eq!(judge("stale-while-revalidate=10", "", 109), Reuse::Stale { refresh: true });
        assert_eq!(judge("stale-while-revalidate=10", "", 110), STALE);
        assert_eq!(judge("stale-while-revalidate=10, must-revalidate", "", 101), STALE);
        assert_eq!(judge("stale-while-revalidate=10", "min-fresh=1", 101), STALE);
    }

    #[test]
    fn rfc9111_4_2_4_a_stale_response_answers_where_the_upstream_cannot() {
        let judge = |response: &str, request: &str, age| {
            let directives = ResponseDirectives::from_headers(&map(&[("cache-control", response)]));
            let asked = RequestDirectives::from_headers(&map(&[("cache-control", request)]));
            let rules = StaleRules::new(&directives, StaleRules::default());
            fallback(&directives, rules, &asked, Duration::from_secs(age), LIFE)
        };
        assert_eq!(judge("", "", 1000), Fallback::Disconnected);
        assert_eq!(judge("stale-if-error=10", "", 109), Fallback::Error, "RFC 5861, section 4");
        assert_eq!(judge("stale-if-error=10", "", 110), Fallback::Disconnected);
        assert_eq!(judge("", "stale-if-error=10", 109), Fallback::Error);
        for forbidden in ["must-revalidate", "proxy-revalidate", "s-maxage=100", "no-cache"] {
            assert_eq!(
                judge(&format!("{forbidden}, stale-if-error=99"), "", 101),
                Fallback::No,
                "{forbidden}"
            );
        }
        for refused in ["no-cache", "max-age=100", "min-fresh=1"] {
            assert_eq!(judge("stale-if-error=99", refused, 101), Fallback::No, "{refused}");
        }
    }

    #[test]
    fn rfc9111_4_2_4_what_the_response_forbids_no_setting_allows() {
        let configured =
            StaleRules { while_revalidate: Duration::from_secs(1), if_error: Duration::from_secs(2) };
        let rules = |value| {
            StaleRules::new(&ResponseDirectives::from_headers(&map(&[("cache-control", value)])), configured)
        };
        assert_eq!(rules("max-age=1"), configured);
        assert_eq!(rules("must-revalidate"), StaleRules::default());
        let own = rules("stale-while-revalidate=0, stale-if-error=9");
        assert_eq!((own.while_revalidate.as_secs(), own.if_error.as_secs()), (0, 9));
    }
}
