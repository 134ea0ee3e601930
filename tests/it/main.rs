//! The integration tests: the real binary between a client and an upstream, over real sockets.
//!
//! One binary, for its link time. `support` starts the parts, each on a free port; a module of tests stands for a
//! part of what users are promised. Nothing sleeps for a fixed time: tests wait for what they need, by barriers in
//! the upstream or by looking again, and each has a deadline ([`support::run`]).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../examples/rag/mod.rs"]
mod rag;
mod support;

mod admin;
mod asking_less;
mod cli;
mod closing;
mod coalescing;
mod conditional;
mod conversations;
mod dependencies;
mod docs;
mod embeddings;
mod encryption;
mod errors;
mod faults;
mod forms;
mod forwarding;
mod fuzzing;
mod half_close;
mod headers;
mod heads;
mod hostile;
mod layers;
mod lifecycle;
mod limits;
mod lingering_close;
mod logs;
mod main_job;
mod near;
mod not_stored;
mod pass_through;
mod redis;
mod refused;
mod replicas;
mod retiring;
mod rfc9111;
mod sharing;
mod smuggling;
mod soak;
mod stale;
mod store_redis;
mod streams;
mod tls;
mod unfinished;
