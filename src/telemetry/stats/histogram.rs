//! How often a time fell between two bounds.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use super::counter::Counter;
use crate::time::micros;

/// How many bounds a histogram has. Above the last one is one more bucket.
pub(crate) const BOUNDS: usize = 14;

/// The upper bounds of the buckets, in microseconds, lowest first.
pub(crate) type Bounds = [u64; BOUNDS];

const MILLISECOND: u64 = 1_000;
const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600 * SECOND;

/// For requests and calls of the upstream: 1 ms to 300 s.
pub(crate) const REQUEST_BOUNDS: Bounds = [
    MILLISECOND,
    3 * MILLISECOND,
    10 * MILLISECOND,
    30 * MILLISECOND,
    100 * MILLISECOND,
    300 * MILLISECOND,
    SECOND,
    5 * SECOND / 2,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
    120 * SECOND,
    300 * SECOND,
];

/// For calls of the store: 10 µs to 1 s.
pub(crate) const STORE_BOUNDS: Bounds = [
    10,
    25,
    50,
    100,
    250,
    500,
    MILLISECOND,
    5 * MILLISECOND / 2,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    250 * MILLISECOND,
    SECOND,
];

/// For vectors of texts: 100 µs to 1 s.
pub(crate) const EMBEDDING_BOUNDS: Bounds = [
    100,
    250,
    500,
    MILLISECOND,
    5 * MILLISECOND / 2,
    5 * MILLISECOND,
    10 * MILLISECOND,
    20 * MILLISECOND,
    30 * MILLISECOND,
    50 * MILLISECOND,
    75 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    SECOND,
];

/// For the ages of hits: 1 s to 7 days.
pub(crate) const AGE_BOUNDS: Bounds = [
    SECOND,
    10 * SECOND,
    60 * SECOND,
    300 * SECOND,
    900 * SECOND,
    1_800 * SECOND,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    24 * HOUR,
    48 * HOUR,
    96 * HOUR,
    168 * HOUR,
];

/// The buckets of one thread.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [Counter; BOUNDS + 1],
    /// The sum of all times, in microseconds.
    sum: Counter,
}

impl Histogram {
    pub(crate) fn observe(&self, bounds: &Bounds, time: Duration) {
        let time = micros(time);
        let bucket = bounds.iter().position(|bound| time <= *bound).unwrap_or(BOUNDS);
        self.counts[bucket].increment();
        self.sum.add(time);
    }

    /// Adds what this thread has seen to `totals`.
    pub(crate) fn add_to(&self, totals: &mut Totals) {
        for (total, count) in totals.counts.iter_mut().zip(&self.counts) {
            *total += count.get();
        }
        totals.sum += self.sum.get();
    }
}

/// The buckets of all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    counts: [u64; BOUNDS + 1],
    sum: u64,
}

impl Totals {
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all times, in seconds.
    pub(crate) fn sum(&self) -> f64 {
        self.sum as f64 / SECOND as f64
    }

    /// The buckets, each with its upper bound in seconds and its own count.
    pub(crate) fn buckets(&self, bounds: &Bounds) -> [(f64, u64); BOUNDS + 1] {
        std::array::from_fn(|at| {
            let bound = bounds.get(at).map_or(f64::INFINITY, |bound| *bound as f64 / SECOND as f64);
            (bound, self.counts[at])
        })
    }

    /// The time that this share of all stayed within, in seconds, as [`time_at`] finds it; `None` if there are no times.
    pub(crate) fn quantile(&self, bounds: &Bounds, share: f64) -> Option<f64> {
        let rank = (self.count() as f64 * share).ceil().max(1.0);
        time_at(rank, self.buckets(bounds).map(|(bound, count)| (bound, count as f64)))
    }

    fn with(self, other: Self, count: fn(u64, u64) -> u64) -> Self {
        let counts = std::array::from_fn(|at| count(self.counts[at], other.counts[at]));
        Self { counts, sum: count(self.sum, other.sum) }
    }
}

/// The time, in seconds, within which `rank` of all were over; `None` if there are fewer. Each of the `buckets` has its
/// upper bound in seconds and its own count, and its times are taken to be spread evenly. Nobody knows how far above the
/// last bound a time is: it counts as that bound.
pub(crate) fn time_at(rank: f64, buckets: impl IntoIterator<Item = (f64, f64)>) -> Option<f64> {
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        let upper = if bound.is_finite() { bound } else { lower };
        if count > 0.0 && below + count >= rank {
            return Some(lower + (upper - lower) * (rank - below) / count);
        }
        below += count;
        lower = upper;
    }
    None
}

impl Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }
}

impl Sub for Totals {
    type Output = Self;

    /// No count is ever less than zero.
    fn sub(self, other: Self) -> Self {
        self.with(other, u64::saturating_sub)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Each time is in the one bucket whose bounds enclose it.
        #[test]
        fn each_time_is_counted_once(times in proptest::collection::vec(0..700_000_000_u64, 0..50)) {
            for bounds in [REQUEST_BOUNDS, STORE_BOUNDS, EMBEDDING_BOUNDS, AGE_BOUNDS] {
                prop_assert!(bounds.is_sorted());
                let histogram = Histogram::default();
                times.iter().for_each(|time| histogram.observe(&bounds, Duration::from_micros(*time)));
                let mut totals = Totals::default();
                histogram.add_to(&mut totals);
                prop_assert_eq!(totals.count(), times.len() as u64);
                prop_assert_eq!(totals.sum, times.iter().sum::<u64>());
                let mut below = 0;
                for (at, (_, count)) in totals.buckets(&bounds).into_iter().enumerate() {
                    below += count;
                    let bound = bounds.get(at).copied().unwrap_or(u64::MAX);
                    prop_assert_eq!(below, times.iter().filter(|time| **time <= bound).count() as u64);
                }
            }
        }

        /// A quantile is in the bucket of the time that it is about.
        #[test]
        fn a_quantile_is_in_the_right_bucket(
            mut times in proptest::collection::vec(0..700_000_000_u64, 0..50),
            share in 0.0..=1.0_f64,
        ) {
            let histogram = Histogram::default();
            times.iter().for_each(|time| histogram.observe(&REQUEST_BOUNDS, Duration::from_micros(*time)));
            let mut totals = Totals::default();
            histogram.add_to(&mut totals);
            times.sort_unstable();
            let rank = ((times.len() as f64 * share).ceil() as usize).max(1);
            let expected = times.get(rank - 1).map(|time| {
                let bucket = REQUEST_BOUNDS.iter().position(|bound| time <= bound).unwrap_or(BOUNDS);
                let lower = bucket.checked_sub(1).map_or(0, |below| REQUEST_BOUNDS[below]);
                let upper = REQUEST_BOUNDS.get(bucket).copied().unwrap_or(lower);
                (lower as f64 / SECOND as f64, upper as f64 / SECOND as f64)
            });
            let found = totals.quantile(&REQUEST_BOUNDS, share);
            prop_assert_eq!(found.is_some(), expected.is_some());
            for (found, (lower, upper)) in found.into_iter().zip(expected) {
                prop_assert!((lower - 1e-9..=upper + 1e-9).contains(&found), "{found} in {lower}..={upper}");
            }
        }
    }
}
