//! Which settings are tried. Pure.

use std::time::Duration;

use super::{
    replay::{Outcome, Setting, Ttl, measured, replay},
    trace::Trace,
};

/// The TTLs that are tried if none is named, in seconds.
const TTLS: [u64; 6] = [60, 600, 1800, 3600, 21_600, 86_400];

/// The smallest size that is tried if none is named, in bytes. Each further one is four times as large.
const SMALLEST: u64 = 1 << 20;

/// How many sizes are tried at most if none is named.
const SIZES: usize = 4;

/// A setting, and what comes of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) setting: Setting,
    pub(super) outcome: Outcome,
}

/// What the log shows, and what other settings would do.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) measured: Outcome,
    pub(super) simulated: Vec<Row>,
}

impl Rows {
    /// Tries each of `ttls` with each of `sizes`. Without sizes, it tries a store without a bound, and some that are
    /// smaller than what that one takes.
    pub(super) fn new(trace: &Trace, ttls: &[Duration], sizes: &[u64]) -> Self {
        let row = |ttl, max_memory| {
            let setting = Setting { ttl, max_memory };
            Row { setting, outcome: replay(trace, setting) }
        };
        let named: Vec<_> = ttls.iter().map(|ttl| Ttl::Of(*ttl)).collect();
        let (tried, of_sizes) = match named.is_empty() {
            true => {
                let ladder = TTLS.map(|seconds| Ttl::Of(Duration::from_secs(seconds)));
                ([&[Ttl::AsLogged], &ladder[..]].concat(), vec![Ttl::AsLogged])
            }
            false => (named.clone(), named),
        };
        let bounds: Vec<_> = match sizes.is_empty() {
            true => vec![None],
            false => sizes.iter().map(|size| Some(*size)).collect(),
        };
        let mut simulated: Vec<_> =
            bounds.iter().flat_map(|bound| tried.iter().map(|ttl| row(*ttl, *bound))).collect();
        if sizes.is_empty() {
            for ttl in of_sizes {
                let unbounded = simulated.iter().find(|row| row.setting.ttl == ttl);
                let peak = unbounded.and_then(|row| row.outcome.peak).unwrap_or(0);
                simulated.extend(ladder(peak).into_iter().map(|size| row(ttl, Some(size))));
            }
        }
        Self { measured: measured(trace), simulated }
    }
}

/// The largest sizes below `peak`, the largest first.
fn ladder(peak: u64) -> Vec<u64> {
    let sizes = std::iter::successors(Some(SMALLEST), |size| size.checked_mul(4));
    let mut below: Vec<_> = sizes.take_while(|size| *size < peak).collect();
    below.reverse();
    below.truncate(SIZES);
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_sizes_that_are_tried_are_smaller_than_what_is_needed() {
        assert!(ladder(MIB).is_empty());
        assert_eq!(ladder(5 * MIB), [4 * MIB, MIB]);
        assert_eq!(ladder(100 << 30), [64 << 30, 16 << 30, 4 << 30, 1 << 30]);
        assert_eq!(ladder(u64::MAX).len(), SIZES);
    }

    #[test]
    fn what_is_named_is_tried_and_nothing_else() {
        let trace = Trace::default();
        let settings = |ttls: &[u64], sizes: &[u64]| -> Vec<_> {
            let ttls: Vec<_> = ttls.iter().map(|seconds| Duration::from_secs(*seconds)).collect();
            let rows = Rows::new(&trace, &ttls, sizes).simulated;
            rows.iter().map(|row| (row.setting.ttl, row.setting.max_memory)).collect()
        };
        let of = |seconds| Ttl::Of(Duration::from_secs(seconds));
        assert_eq!(settings(&[5], &[]), [(of(5), None)]);
        let both = [(of(5), Some(1)), (of(6), Some(1)), (of(5), Some(2)), (of(6), Some(2))];
        assert_eq!(settings(&[5, 6], &[1, 2]), both);
        assert_eq!(settings(&[], &[1])[0], (Ttl::AsLogged, Some(1)));
        assert_eq!(settings(&[], &[]).len(), 1 + TTLS.len());
    }
}
