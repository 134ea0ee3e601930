//! What the counters said at a moment, or by how much they grew.

use std::{
    array,
    ops::{Add, Sub},
};

use crate::{
    cache::{price::Amount, route::kind::Kind},
    telemetry::{
        calls::AnsweredBy,
        stats::{
            Stats,
            histogram::Totals,
            sums::{FROM_STORE, FROM_UPSTREAM},
        },
    },
};

/// The names of [`Reading::counts`], in their order.
pub(crate) const COUNTS: [&str; 11] = [
    "requests",
    "hits",
    "misses",
    "coalesced",
    "bypassed",
    "passed",
    "failed",
    "store_errors",
    "tokens_saved",
    "tokens_spent",
    "millis_saved",
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) counts: [u64; COUNTS.len()],
    /// What answers cost, by [`AnsweredBy`].
    pub(crate) costs: [Amount; AnsweredBy::ALL.len()],
    /// How long hits took.
    pub(crate) hit_times: Totals,
    /// How long misses took.
    pub(crate) miss_times: Totals,
}

impl Reading {
    /// What the counters say now.
    pub(crate) fn of(stats: &Stats) -> Self {
        let all = |count: fn(&Stats, Kind) -> u64| Kind::ALL.into_iter().map(|kind| count(stats, kind)).sum();
        let counts = [
            stats.ended(),
            all(Stats::hits),
            all(Stats::misses),
            stats.sum(|thread| &thread.coalesced),
            stats.all_bypassed(),
            stats.all_passed(),
            stats.failed(),
            stats.sum(|thread| &thread.errors),
            stats.tokens(AnsweredBy::Store),
            stats.tokens(AnsweredBy::Upstream),
            stats.millis_saved(),
        ];
        Self {
            counts,
            costs: AnsweredBy::ALL.map(|by| stats.cost(None, by)),
            hit_times: stats.times(None, &FROM_STORE),
            miss_times: stats.times(None, &FROM_UPSTREAM),
        }
    }
}

impl Add for Reading {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            counts: array::from_fn(|at| self.counts[at].saturating_add(other.counts[at])),
            costs: array::from_fn(|at| self.costs[at] + other.costs[at]),
            hit_times: self.hit_times + other.hit_times,
            miss_times: self.miss_times + other.miss_times,
        }
    }
}

impl Sub for Reading {
    type Output = Self;

    /// Nothing in it is ever less than zero.
    fn sub(self, other: Self) -> Self {
        Self {
            counts: array::from_fn(|at| self.counts[at].saturating_sub(other.counts[at])),
            costs: array::from_fn(|at| self.costs[at] - other.costs[at]),
            hit_times: self.hit_times - other.hit_times,
            miss_times: self.miss_times - other.miss_times,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        cache::{model::ModelNumber, route::RouteNumber, status::CacheStatus},
        dialect::usage::Usage,
        reason::Reason,
        telemetry::{
            calls::CallLabels,
            stats::{Ended, LookupResult},
        },
    };

    #[test]
    fn each_counter_is_read_under_its_name() {
        let stats = Stats::default();
        let here = stats.here();
        for (cache, status) in [(CacheStatus::Hit, 200), (CacheStatus::Miss, 200), (CacheStatus::Pass, 502)] {
            let time = Duration::from_millis(2);
            let ended = Ended {
                route: RouteNumber(0),
                kind: None,
                cache: Some(cache),
                status,
                duration: time,
                first_byte: time,
                age: None,
            };
            here.end(&ended);
        }
        (0..4).for_each(|_| here.lookup(Kind::Query, LookupResult::Form));
        (0..5).for_each(|_| here.lookup(Kind::Other, LookupResult::Miss));
        here.coalesced.add(6);
        (0..7).for_each(|_| here.bypass(Some(Kind::Query), Reason::TtlZero));
        (0..8).for_each(|_| here.bypass(None, Reason::NoRoute));
        here.errors.add(9);
        let usage = |tokens| Usage { prompt: Some(tokens), completion: Some(1), ..Usage::default() };
        let labels = |by| CallLabels { model: ModelNumber::default(), kind: Kind::Query, by };
        here.calls.count(labels(AnsweredBy::Store), &usage(10), Some(Amount::new(1, 0)));
        here.calls.count(labels(AnsweredBy::Upstream), &usage(20), Some(Amount::new(2, 0)));
        here.saved(Duration::from_millis(30));
        let reading = Reading::of(&stats);
        let named: Vec<_> = COUNTS.into_iter().zip(reading.counts).collect();
        let expected = [
            ("requests", 3),
            ("hits", 4),
            ("misses", 5),
            ("coalesced", 6),
            ("bypassed", 7),
            ("passed", 8),
            ("failed", 1),
            ("store_errors", 9),
            ("tokens_saved", 11),
            ("tokens_spent", 21),
            ("millis_saved", 30),
        ];
        assert_eq!(named, expected);
        assert_eq!(reading.costs[AnsweredBy::Store as usize], Amount::new(1, 0));
        assert_eq!(reading.costs[AnsweredBy::Upstream as usize], Amount::new(2, 0));
        assert_eq!((reading.hit_times.count(), reading.miss_times.count()), (1, 1));
    }
}
