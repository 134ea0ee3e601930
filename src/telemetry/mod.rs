//! What operators see from outside: the log and the counters.

pub(crate) mod calls;
pub(crate) mod history;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod stats;
pub(crate) mod terminal;
pub(crate) mod traces;
pub(crate) mod watch;
