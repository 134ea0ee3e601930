//! What operators see from outside: the log and the counters.

pub mod log;
pub(crate) mod stats;
