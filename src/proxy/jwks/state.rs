//! How the keys of tokens are doing.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::{
    config::{JwksSource, LogLevel},
    telemetry::log::events,
};

/// What happened to the keys so far.
#[derive(Debug, Default)]
pub(super) struct State {
    last: Mutex<Last>,
    loaded: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Last {
    /// When the keys were last got.
    loaded: Option<Instant>,
    /// Why they were not, since then.
    error: Option<String>,
}

/// What operators see of the keys.
#[derive(Clone, Debug)]
pub(crate) struct JwksStatus {
    /// `url` or `file`.
    pub(crate) source: &'static str,
    /// How many keys count now.
    pub(crate) keys: usize,
    /// Since when they are known, in seconds; `None` if they never were.
    pub(crate) age: Option<u64>,
    /// Why they were not got again, since then.
    pub(crate) last_error: Option<String>,
    /// How often they were got.
    pub(crate) loaded: u64,
    /// How often they were not.
    pub(crate) failed: u64,
}

impl State {
    pub(super) fn succeeded(&self, keys: usize) {
        self.loaded.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last.lock();
        let was_lost = last.error.take().is_some();
        last.loaded = Some(Instant::now());
        if was_lost {
            log(LogLevel::Info, "the keys of tokens are there again", "keys", keys.into());
        }
    }

    /// Logs the first of several failures in a row.
    pub(super) fn failed(&self, error: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last.lock();
        if last.error.is_none() {
            let message = if last.loaded.is_some() {
                "the keys of tokens cannot be got again: those that are known count for another hour"
            } else {
                "the keys of tokens cannot be got: claims do not count"
            };
            log(LogLevel::Warning, message, "error", error.as_str().into());
        }
        last.error = Some(error);
    }

    pub(super) fn status(&self, source: &JwksSource, keys: usize) -> JwksStatus {
        let last = self.last.lock();
        JwksStatus {
            source: match source {
                JwksSource::Url(..) => "url",
                JwksSource::File(_) => "file",
            },
            keys,
            age: last.loaded.map(|at| at.elapsed().as_secs()),
            last_error: last.error.clone(),
            loaded: self.loaded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

fn log(level: LogLevel, message: &str, name: &str, value: Value) {
    events::lifecycle(level, message, &Map::from_iter([(name.to_owned(), value)]));
}
