//! What the counters did over the last day, in memory: buckets of 10 s for an hour, and of 5 min for 24 hours.
//!
//! One task reads the counters every 10 s, so that a request costs no more than before. All buckets are made once in a
//! process's life and take 256 KiB at most. They are for one look at one process; Prometheus is for the rest.

pub(crate) mod marks;
pub(crate) mod reading;
mod recorder;
mod series;

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use self::recorder::Recorder;
pub(crate) use self::{
    marks::{Event, Mark},
    reading::Reading,
    recorder::View,
};
use crate::{telemetry::stats::Stats, time::unix_millis};

/// How often the counters are read.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

/// How far back a look goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    Hour,
    Day,
}

impl Range {
    pub(crate) const ALL: [Self; 2] = [Self::Hour, Self::Day];

    /// As in `?range=1h`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|range| range.as_str() == name)
    }

    /// The length of its buckets, in milliseconds.
    const fn step(self) -> u64 {
        match self {
            Self::Hour => 10_000,
            Self::Day => 300_000,
        }
    }

    /// How many buckets it has.
    const fn buckets(self) -> u64 {
        match self {
            Self::Hour => 360,
            Self::Day => 288,
        }
    }
}

/// The buckets and marks of a process.
#[derive(Debug)]
pub(crate) struct History(Mutex<Recorder>);

impl Default for History {
    fn default() -> Self {
        Self(Mutex::new(Recorder::default()))
    }
}

impl History {
    /// Notes what `stats` counted since it was last read.
    pub(crate) fn read(&self, stats: &Stats, now: SystemTime) {
        // The counters are read under the lock, so that no reading is older than the one before it.
        let mut recorder = self.0.lock();
        recorder.read(Reading::of(stats), unix_millis(now));
    }

    /// Notes something that may explain what the figures do.
    pub(crate) fn mark(&self, event: Event, now: SystemTime) {
        self.0.lock().mark(event, unix_millis(now));
    }

    pub(crate) fn view(&self, range: Range) -> View {
        self.0.lock().view(range)
    }
}
