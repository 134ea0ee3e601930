//! Timeouts in a row tell a connection that swallows everything from one slow reply.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Instant,
};

use crate::time::MicrosClock;

/// After this many in a row, the other end is taken for dead.
const LIMIT: u32 = 3;

/// Counts timeouts since the last reply.
#[derive(Debug)]
pub(super) struct Timeouts {
    clock: MicrosClock,
    count: AtomicU32,
    /// When the last counted timeout ended, in microseconds of `clock`.
    counted_at: AtomicU64,
}

impl Timeouts {
    pub(super) fn new(now: Instant) -> Self {
        Self { clock: MicrosClock::new(now), count: AtomicU32::new(0), counted_at: AtomicU64::new(0) }
    }

    /// Counts from 0 again: a reply came.
    pub(super) fn clear(&self) {
        // Mostly it is 0, and a load leaves the cache line shared.
        if self.count.load(Ordering::Relaxed) != 0 {
            self.count.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a call that began at `started` and timed out at `now`; whether that makes too many in a row.
    /// Calls that ran side by side count once, or one hiccup under load would suffice.
    pub(super) fn timed_out(&self, started: Instant, now: Instant) -> bool {
        let started = self.clock.micros(started);
        let now = self.clock.micros(now);
        let counts = self
            .counted_at
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| (started >= last).then_some(now))
            .is_ok();
        if counts {
            self.count.fetch_add(1, Ordering::Relaxed) + 1 >= LIMIT
        } else {
            self.count.load(Ordering::Relaxed) >= LIMIT
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn three_in_a_row() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let timeouts = Timeouts::new(start);
        assert!(!timeouts.timed_out(at(0), at(50)));
        assert!(!timeouts.timed_out(at(10), at(60)), "ran beside the first");
        assert!(!timeouts.timed_out(at(50), at(100)));
        timeouts.clear();
        assert!(!timeouts.timed_out(at(100), at(150)));
        assert!(!timeouts.timed_out(at(150), at(200)));
        assert!(timeouts.timed_out(at(200), at(250)));
        assert!(timeouts.timed_out(at(210), at(260)));
    }
}
