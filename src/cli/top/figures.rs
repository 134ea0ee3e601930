//! What happened between two pages of metrics, or since the start. Pure.

use std::{cmp::Reverse, collections::BTreeSet};

use super::metrics::{Metrics, Wanted};
use crate::telemetry::stats::histogram::time_at;

const REQUESTS: &str = "sidecache_requests_total";
const LOOKUPS: &str = "sidecache_lookups_total";
const DURATIONS: &str = "sidecache_request_duration_seconds";

/// What happened in some time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval<'a> {
    /// The page at its beginning; `None` for the start of the process.
    pub(super) from: Option<&'a Metrics>,
    pub(super) to: &'a Metrics,
    pub(super) seconds: f64,
}

/// One line of the table of routes or of kinds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Share {
    pub(super) name: String,
    pub(super) requests: f64,
    pub(super) per_second: f64,
    pub(super) hit_rate: Option<f64>,
}

impl Interval<'_> {
    fn count(&self, name: &str, wanted: Wanted<'_>) -> f64 {
        let before = self.from.map_or(0.0, |from| from.sum(name, wanted));
        (self.to.sum(name, wanted) - before).max(0.0)
    }

    pub(super) fn requests_per_second(&self) -> f64 {
        self.per_second(self.count(REQUESTS, &[]))
    }

    fn per_second(&self, count: f64) -> f64 {
        if self.seconds > 0.0 { count / self.seconds } else { 0.0 }
    }

    /// Lookups of a kind, or of all, that the store answered.
    pub(super) fn hits(&self, kind: Wanted<'_>) -> f64 {
        let of = |result| self.count(LOOKUPS, &[kind, &[("result", result)]].concat());
        ["hit", "stale", "form", "similar"].map(of).into_iter().sum()
    }

    pub(super) fn misses(&self, kind: Wanted<'_>) -> f64 {
        self.count(LOOKUPS, &[kind, &[("result", "miss")]].concat())
    }

    /// From 0 to 1; `None` without lookups.
    pub(super) fn hit_rate(&self, kind: Wanted<'_>) -> Option<f64> {
        share(self.hits(kind), self.misses(kind))
    }

    /// The time, in seconds, that the share `quantile` of the requests with this word of `X-Cache` took at most.
    pub(super) fn quantile(&self, quantile: f64, cache: &str) -> Option<f64> {
        let wanted = [("cache", cache)];
        let before = self.from.map_or(Vec::new(), |from| from.buckets(DURATIONS, &wanted));
        let earlier = |bound| before.iter().find(|(own, _)| *own == bound).map_or(0.0, |(_, count)| *count);
        let buckets = self.to.buckets(DURATIONS, &wanted);
        let mut below = 0.0;
        let own_counts = buckets.into_iter().map(|(bound, count)| {
            let up_to = count - earlier(bound);
            (bound, up_to - std::mem::replace(&mut below, up_to))
        });
        let own_counts: Vec<_> = own_counts.collect();
        (below > 0.0).then(|| time_at(quantile * below, own_counts)).flatten()
    }

    /// The routes, those with the most requests first.
    pub(super) fn routes(&self) -> Vec<Share> {
        let share_of = |name: String| {
            let of = |caches: &[&str]| -> f64 {
                caches.iter().map(|cache| self.count(REQUESTS, &[("route", &*name), ("cache", cache)])).sum()
            };
            let requests = self.count(REQUESTS, &[("route", &*name)]);
            let hit_rate = share(of(&["hit", "stale", "similar"]), of(&["miss", "coalesced", "partial"]));
            Share { requests, per_second: self.per_second(requests), hit_rate, name }
        };
        busiest(self.to.sums_by(REQUESTS, "route", &[]).into_keys().map(share_of))
    }

    /// The kinds, those with the most lookups first.
    pub(super) fn kinds(&self) -> Vec<Share> {
        let share_of = |name: String| {
            let kind = [("kind", &*name)];
            let requests = self.count(LOOKUPS, &kind);
            let hit_rate = self.hit_rate(&kind);
            Share { requests, per_second: self.per_second(requests), hit_rate, name }
        };
        busiest(self.to.sums_by(LOOKUPS, "kind", &[]).into_keys().map(share_of))
    }

    /// The reasons of a family, the most frequent first.
    pub(super) fn reasons(&self, family: &str) -> Vec<(String, f64)> {
        let reasons: BTreeSet<_> = self.to.sums_by(family, "reason", &[]).into_keys().collect();
        let counted = |reason: String| {
            let count = self.count(family, &[("reason", &*reason)]);
            (reason, count)
        };
        let mut counts: Vec<_> = reasons.into_iter().map(counted).filter(|(_, count)| *count > 0.0).collect();
        counts.sort_by_key(|(_, count)| Reverse(*count as u64));
        counts
    }
}

fn share(hits: f64, misses: f64) -> Option<f64> {
    (hits + misses > 0.0).then(|| hits / (hits + misses))
}

fn busiest(shares: impl Iterator<Item = Share>) -> Vec<Share> {
    let mut shares: Vec<_> = shares.collect();
    shares.sort_by_key(|share| Reverse(share.requests as u64));
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "sidecache_requests_total{route=\"chat\",kind=\"query\",cache=\"hit\",status=\"2xx\"} 10\n\
        sidecache_lookups_total{kind=\"query\",result=\"hit\"} 10\n\
        sidecache_request_duration_seconds_bucket{le=\"1.0\",kind=\"query\",cache=\"hit\"} 10\n\
        sidecache_request_duration_seconds_bucket{le=\"2.0\",kind=\"query\",cache=\"hit\"} 10\n\
        sidecache_request_duration_seconds_bucket{le=\"+Inf\",kind=\"query\",cache=\"hit\"} 10\n";
    const AFTER: &str = "sidecache_requests_total{route=\"chat\",kind=\"query\",cache=\"hit\",status=\"2xx\"} 14\n\
        sidecache_requests_total{route=\"chat\",kind=\"query\",cache=\"miss\",status=\"2xx\"} 12\n\
        sidecache_requests_total{route=\"none\",kind=\"none\",cache=\"pass\",status=\"4xx\"} 30\n\
        sidecache_lookups_total{kind=\"query\",result=\"hit\"} 13\n\
        sidecache_lookups_total{kind=\"query\",result=\"stale\"} 1\n\
        sidecache_lookups_total{kind=\"query\",result=\"miss\"} 12\n\
        sidecache_lookups_total{kind=\"other\",result=\"miss\"} 0\n\
        sidecache_not_stored_total{kind=\"query\",reason=\"length\"} 2\n\
        sidecache_not_stored_total{kind=\"other\",reason=\"length\"} 3\n\
        sidecache_not_stored_total{kind=\"other\",reason=\"empty\"} 9\n\
        sidecache_request_duration_seconds_bucket{le=\"1.0\",kind=\"query\",cache=\"hit\"} 10\n\
        sidecache_request_duration_seconds_bucket{le=\"2.0\",kind=\"query\",cache=\"hit\"} 14\n\
        sidecache_request_duration_seconds_bucket{le=\"+Inf\",kind=\"query\",cache=\"hit\"} 14\n\
        sidecache_request_duration_seconds_bucket{le=\"1.0\",kind=\"query\",cache=\"miss\"} 0\n\
        sidecache_request_duration_seconds_bucket{le=\"+Inf\",kind=\"query\",cache=\"miss\"} 3\n";

    #[test]
    fn differences_are_what_happened_in_between() {
        let (before, after) = (Metrics::parse(BEFORE), Metrics::parse(AFTER));
        let now = Interval { from: Some(&before), to: &after, seconds: 2.0 };
        let all = Interval { from: None, to: &after, seconds: 28.0 };
        assert_eq!((now.requests_per_second(), all.requests_per_second()), (23.0, 2.0));
        assert_eq!((now.hits(&[]), now.misses(&[]), now.hit_rate(&[])), (4.0, 12.0, Some(0.25)));
        assert_eq!((all.hits(&[]), all.hit_rate(&[("kind", "other")])), (14.0, None));
        assert_eq!((now.quantile(0.5, "hit"), now.quantile(1.0, "hit")), (Some(1.5), Some(2.0)));
        assert_eq!(all.quantile(0.5, "hit"), Some(0.7));
        assert_eq!(
            (all.quantile(0.5, "miss"), all.quantile(0.5, "stale")),
            (Some(1.0), None),
            "no bound, none at all"
        );
        let routes = now.routes();
        assert_eq!((&*routes[0].name, routes[0].requests, routes[0].hit_rate), ("none", 30.0, None));
        assert_eq!((&*routes[1].name, routes[1].per_second, routes[1].hit_rate), ("chat", 8.0, Some(0.25)));
        assert_eq!(now.kinds()[0].requests, 16.0);
        let reasons = now.reasons("sidecache_not_stored_total");
        assert_eq!(reasons, [("empty".to_owned(), 9.0), ("length".to_owned(), 5.0)]);
        // A process that began again.
        let back = Interval { from: Some(&after), to: &before, seconds: 2.0 };
        assert_eq!(
            (back.requests_per_second(), back.hit_rate(&[]), back.quantile(0.5, "hit")),
            (0.0, None, None)
        );
    }
}
