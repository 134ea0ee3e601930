//! The log: one JSON object a line, on standard output and in `LOG_FILE`; for people, standard output has texts.
//!
//! `events` has one function for each line of the table in docs/OPERATING.md. An event passes these steps:
//!
//! ```text
//! events::http_request(..)    enabled? no: nothing is built. yes: the further members as JSON
//!   → JsonLayer (layer.rs)    our loggers only; the whole line in one buffer (line.rs)
//!   → a queue for each sink   bounded; full: the line is dropped and counted, nobody waits
//!   → a thread for each sink  batches whole lines; a failed write is counted (writer.rs)
//!   → standard output, as texts if people read it (text/), or the file that rotates and reopens (rotate.rs)
//! ```
//!
//! Logging never blocks and never fails a request. A pipe that nobody reads fills its own queue and no other;
//! a closed pipe or a full disk loses lines. Every lost line is counted in `Log::dropped` and, as
//! `log_dropped`, in the next line that is written. A line is lost or whole.
//!
//! Prompts, answers and credentials never get here: the layer writes the members that `events` built and no
//! other field, so a `tracing` call elsewhere cannot add one in passing.

mod error;
pub(crate) mod events;
mod layer;
mod line;
pub(crate) mod query;
mod rotate;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
mod text;
mod writer;

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tracing_subscriber::{Registry, layer::SubscriberExt};

pub(crate) use self::error::LogError;
use self::{
    layer::JsonLayer,
    rotate::RotatingFile,
    text::TextLines,
    writer::{Sink, Worker},
};
use crate::{
    config::{LogConfig, LogFormat, LogLevel},
    telemetry::terminal::shows_colors,
};

/// Gives a line its time.
type Clock = fn() -> SystemTime;

/// The bytes that wait for a slow sink; further lines are dropped.
const MAX_QUEUED: usize = 16 * 1024 * 1024;

/// How long a stop waits for all sinks together.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// Starts the log and makes it the process's `tracing` subscriber. The guard belongs in `main`, to be dropped
/// last: it writes out what is queued.
///
/// # Errors
/// If the log file or its folder cannot be made, or the process has a subscriber already.
pub(crate) fn init(config: &LogConfig) -> Result<(Log, LogGuard), LogError> {
    let stdout = writer::stdout().map_err(LogError::Stdout)?;
    let stdout: Box<dyn Write + Send> = match format(config, io::stdout().is_terminal()) {
        LogFormat::Json => Box::new(stdout),
        LogFormat::Text => Box::new(TextLines::new(stdout, shows_colors())),
    };
    let mut outputs = vec![("log-stdout", stdout)];
    let generation = Arc::new(AtomicU64::new(0));
    if let Some(path) = &config.file {
        let file = RotatingFile::open(path, config.rotate_size, config.rotate_keep, Arc::clone(&generation))?;
        outputs.push(("log-file", Box::new(file)));
    }
    let (log, guard) = Log::start(config.level, outputs, generation).map_err(LogError::Thread)?;
    let subscriber = Registry::default().with(log.layer(SystemTime::now));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadySet)?;
    Ok((log, guard))
}

/// The format on standard output: what the settings say, or else text for people at a terminal.
fn format(config: &LogConfig, is_terminal: bool) -> LogFormat {
    config.format.unwrap_or(if is_terminal { LogFormat::Text } else { LogFormat::Json })
}

/// A handle on the running log; clones are the same log.
#[derive(Clone, Debug)]
pub(crate) struct Log(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    level: AtomicU8,
    sinks: Vec<Sink>,
    /// The count of dropped lines that a line has reported already.
    reported: AtomicU64,
    /// Grows with each [`Log::reopen`]; the file looks at it before it writes.
    generation: Arc<AtomicU64>,
}

impl Log {
    /// A log into `outputs` (thread name, writer) that is not the process's subscriber.
    #[cfg(test)]
    fn to_writers(
        level: LogLevel,
        outputs: Vec<(&str, Box<dyn Write + Send>)>,
    ) -> io::Result<(Self, LogGuard)> {
        Self::start(level, outputs, Arc::default())
    }

    fn start(
        level: LogLevel,
        outputs: Vec<(&str, Box<dyn Write + Send>)>,
        generation: Arc<AtomicU64>,
    ) -> io::Result<(Self, LogGuard)> {
        let spawned = outputs.into_iter().map(|(name, out)| Sink::spawn(name, out, MAX_QUEUED));
        let (sinks, workers) = spawned.collect::<io::Result<Vec<_>>>()?.into_iter().unzip();
        let level = AtomicU8::new(level as u8);
        let shared = Shared { level, sinks, reported: AtomicU64::new(0), generation };
        Ok((Self(Arc::new(shared)), LogGuard { workers, patience: STOP_PATIENCE }))
    }

    /// The `tracing` layer that writes to this log.
    fn layer(&self, clock: Clock) -> JsonLayer {
        JsonLayer::new(self.clone(), clock)
    }

    /// How many lines could not be written, over all sinks, since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.sinks.iter().map(Sink::dropped).sum()
    }

    /// The lowest level that is written.
    fn level(&self) -> LogLevel {
        match self.0.level.load(Ordering::Relaxed) {
            0 => LogLevel::Debug,
            1 => LogLevel::Info,
            2 => LogLevel::Warning,
            _ => LogLevel::Error,
        }
    }

    /// Changes the lowest level that is written, from now on.
    pub(crate) fn set_level(&self, level: LogLevel) {
        self.0.level.store(level as u8, Ordering::Relaxed);
        // `tracing` has the lowest level of all in a global of its own, and must ask again.
        tracing::callsite::rebuild_interest_cache();
    }

    /// Closes the log file and opens it again before its next line, for whoever moved it away.
    pub(crate) fn reopen(&self) {
        self.0.generation.fetch_add(1, Ordering::Release);
    }

    /// The count of dropped lines, if it grew since a line reported it.
    fn unreported_drops(&self) -> Option<u64> {
        let dropped = self.dropped();
        // Mostly there are none, and a load leaves the cache line shared.
        if dropped <= self.0.reported.load(Ordering::Relaxed) {
            return None;
        }
        // If the line that reports the count is dropped itself, that raises the count, so the next line
        // reports it again.
        (dropped > self.0.reported.fetch_max(dropped, Ordering::Relaxed)).then_some(dropped)
    }

    fn write(&self, line: &[u8]) {
        for sink in &self.0.sinks {
            sink.offer(line);
        }
    }
}

/// Writes out what is queued when it is dropped, for a second at most: a pipe that nobody reads does not keep
/// the process alive.
#[must_use = "dropped at once, it stops the log"]
#[derive(Debug)]
pub(crate) struct LogGuard {
    workers: Vec<Worker>,
    patience: Duration,
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        writer::stop(self.workers.drain(..), self.patience);
    }
}
