//! The promise: operators can start, stop and reload sidecache, and see and change what it stores.

mod admin;
pub(crate) mod cli;
mod handover;
mod lifecycle;
mod logs;
mod metrics;
mod money;
mod prometheus;
mod readiness;
mod recipes;
mod start_checks;
mod suggest;
mod systemd;
mod tls;
mod traces;
mod unix_sockets;
