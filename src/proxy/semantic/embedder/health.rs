//! How the embedder is doing: for requests, whether a vector is worth waiting for; for operators, what is wrong.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::calls::CallError;
use crate::telemetry::log::events;

/// The least time between two lines in the log that say what is wrong.
const QUIET: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Health {
    is_timely: AtomicBool,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    /// What is wrong now.
    problem: Option<String>,
    /// When that was last logged.
    logged: Option<Instant>,
    /// Whether the end of the trouble is worth a line.
    is_told: bool,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(reason) | Self::Odd(reason) => f.write_str(reason),
            Self::Refused(reason) => write!(f, "a text was refused: {reason}"),
            Self::Busy => f.write_str("too many texts wait for their vectors"),
        }
    }
}

impl Health {
    pub(super) fn is_timely(&self) -> bool {
        self.is_timely.load(Ordering::Relaxed)
    }

    pub(super) fn problem(&self) -> Option<String> {
        self.trouble.lock().problem.clone()
    }

    /// A vector came, in time or not. Whoever waited for a late one has said so ([`Self::late`]). Says whether that ends a
    /// trouble that is in the log.
    pub(super) fn succeeded(&self, in_time: bool) -> bool {
        self.is_timely.store(in_time, Ordering::Relaxed);
        if !in_time {
            return false;
        }
        let mut trouble = self.trouble.lock();
        trouble.problem = None;
        std::mem::take(&mut trouble.is_told)
    }

    /// Nobody waited any longer for a vector.
    pub(super) fn late(&self, waited: Duration) {
        self.is_timely.store(false, Ordering::Relaxed);
        self.note(format!("no vector within {} ms (semantic.timeout)", waited.as_millis()));
    }

    pub(super) fn failed(&self, error: CallError) {
        // It says nothing about the next text.
        if !matches!(error, CallError::Refused(_)) {
            self.is_timely.store(false, Ordering::Relaxed);
            self.note(error.to_string());
        }
    }

    fn note(&self, problem: String) {
        let mut trouble = self.trouble.lock();
        let now = Instant::now();
        if trouble.logged.is_none_or(|at| now.duration_since(at) >= QUIET) {
            trouble.logged = Some(now);
            trouble.is_told = true;
            events::embedder_lost(&problem);
        }
        trouble.problem = Some(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> CallError {
        CallError::Failed(text.to_owned())
    }

    #[test]
    fn only_a_vector_in_time_makes_it_timely() {
        let health = Health::default();
        assert!(!health.is_timely(), "nothing is known yet");
        health.succeeded(false);
        assert!(!health.is_timely());
        for (error, is_timely) in [
            (failure("x"), false),
            (CallError::Odd("x".to_owned()), false),
            (CallError::Busy, false),
            (CallError::Refused("x".to_owned()), true),
        ] {
            health.succeeded(true);
            assert!(health.is_timely());
            health.failed(error.clone());
            assert_eq!(health.is_timely(), is_timely, "{error:?}");
        }
        health.late(Duration::from_millis(100));
        assert!(!health.is_timely());
    }

    #[test]
    fn the_problem_is_the_last_one_until_a_vector_comes_in_time() {
        let health = Health::default();
        assert_eq!(health.problem(), None);
        health.failed(failure("first"));
        health.failed(failure("second"));
        assert_eq!(health.problem().as_deref(), Some("second"));
        health.succeeded(false);
        assert_eq!(health.problem().as_deref(), Some("second"));
        health.late(Duration::from_millis(70));
        assert_eq!(health.problem().as_deref(), Some("no vector within 70 ms (semantic.timeout)"));
        health.failed(CallError::Refused("too long".to_owned()));
        assert_eq!(health.problem().as_deref(), Some("no vector within 70 ms (semantic.timeout)"));
        assert!(health.succeeded(true), "the first trouble is in the log");
        assert_eq!(health.problem(), None);
        health.failed(failure("third"));
        assert!(!health.succeeded(true), "the log has one line a minute");
    }
}
