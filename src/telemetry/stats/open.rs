//! Counts what is open at a moment.

use std::sync::Arc;

use super::{Side, Stats};

/// An open connection. It counts from here until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenGuard {
    stats: Arc<Stats>,
    side: Side,
}

impl OpenGuard {
    pub(crate) fn new(stats: &Arc<Stats>, side: Side) -> Self {
        stats.here().opened[side as usize].increment();
        Self { stats: Arc::clone(stats), side }
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.stats.here().closed[self.side as usize].increment();
    }
}

impl Stats {
    /// How many connections are open on this side.
    pub(crate) fn open(&self, side: Side) -> u64 {
        let closed = self.sum(|thread| &thread.closed[side as usize]);
        self.sum(|thread| &thread.opened[side as usize]).saturating_sub(closed)
    }

    /// How many requests of clients are being answered.
    pub(crate) fn in_flight(&self) -> u64 {
        let ended = self.sum(|thread| &thread.ended);
        self.sum(|thread| &thread.begun).saturating_sub(ended)
    }
}
