//! Whether writes are worth sending: Redis can refuse them for long (full, read-only) while reads go on.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::time::MicrosClock;

/// While Redis refuses writes, one write in this time goes through to see whether it still does.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);

/// Near its memory limit Redis takes one write and refuses the next. Writes count as refused until none was
/// refused for this long, or the log would fill.
const QUIET: Duration = Duration::from_secs(5);

/// Stops writes after a refusal, except for a probe now and then.
#[derive(Debug)]
pub(super) struct WriteGate {
    clock: MicrosClock,
    /// When the next probe may go, in microseconds of `clock`; 0 while the gate is open.
    probe_at: AtomicU64,
    /// The last refusal: when, and why.
    refusal: Mutex<Option<(Instant, String)>>,
}

impl WriteGate {
    pub(super) fn new(now: Instant) -> Self {
        Self { clock: MicrosClock::new(now), probe_at: AtomicU64::new(0), refusal: Mutex::new(None) }
    }

    /// Whether a write may be sent; while writes are refused, only one that probes may.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let due = self.probe_at.load(Ordering::Acquire);
        if due == 0 {
            return true;
        }
        let next = self.clock.micros(now + PROBE_INTERVAL);
        self.clock.micros(now) >= due
            && self.probe_at.compare_exchange(due, next, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Whether no write may be sent at `now`, not even one that probes.
    pub(super) fn is_closed(&self, now: Instant) -> bool {
        self.clock.micros(now) < self.probe_at.load(Ordering::Acquire)
    }

    /// Closes the gate: Redis refused a write at `now`.
    pub(super) fn refused(&self, now: Instant, reason: String) {
        *self.refusal.lock() = Some((now, reason));
        self.probe_at.store(self.clock.micros(now + PROBE_INTERVAL), Ordering::Release);
    }

    /// Opens the gate: Redis took a write, or was away meanwhile.
    pub(super) fn open(&self) {
        self.probe_at.store(0, Ordering::Release);
    }

    /// Lets the next write probe, if writes are refused: the server may be another one now.
    pub(super) fn probe_now(&self) {
        let _ =
            self.probe_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, |due| (due != 0).then_some(1));
    }

    /// Why writes are refused, if they are or were lately.
    pub(super) fn refusal(&self, now: Instant) -> Option<String> {
        let refusal = self.refusal.lock();
        let (at, reason) = refusal.as_ref()?;
        let closed = self.probe_at.load(Ordering::Acquire) != 0;
        (closed || now.saturating_duration_since(*at) < QUIET).then(|| reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_probe_an_interval() {
        let now = Instant::now();
        let gate = WriteGate::new(now);
        assert!(gate.admits(now) && gate.admits(now));
        gate.refused(now, "full".to_owned());
        assert!(!gate.admits(now));
        let later = now + PROBE_INTERVAL;
        assert!(gate.admits(later));
        assert!(!gate.admits(later), "the probe is under way");
        assert!(gate.admits(later + PROBE_INTERVAL), "a probe that never ended is followed by another");
        let later = later + PROBE_INTERVAL;
        assert!(!gate.admits(later));
        gate.probe_now();
        assert!(gate.admits(later) && !gate.admits(later));
        gate.open();
        gate.probe_now();
        assert!(gate.admits(later) && gate.admits(later));
    }

    #[test]
    fn counts_as_refused_until_quiet() {
        let now = Instant::now();
        let gate = WriteGate::new(now);
        assert_eq!(gate.refusal(now), None);
        gate.refused(now, "full".to_owned());
        gate.open();
        assert_eq!(gate.refusal(now + QUIET / 2).as_deref(), Some("full"));
        assert_eq!(gate.refusal(now + QUIET), None);
    }
}
