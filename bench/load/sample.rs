//! The measurement of one server in one round.

use std::time::Duration;

/// What was measured in a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Answers a second.
    pub(crate) rate: f64,
    /// What half of the answers took at most.
    pub(crate) p50: Duration,
    /// What 99 % of the answers took at most.
    pub(crate) p99: Duration,
    /// Answers to other questions, and errors.
    pub(crate) wrong: u64,
    /// How often the service was asked, for each answer.
    pub(crate) calls: f64,
}
