//! The promise: operators can start, stop and reload sidecache, and see and change what it stores.

mod admin;
pub(crate) mod cli;
mod lifecycle;
mod logs;
mod metrics;
mod money;
mod recipes;
mod start_checks;
mod suggest;
mod traces;
