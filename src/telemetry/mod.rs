//! What operators see of it from outside: the log and the counters.

pub mod log;
pub mod stats;
