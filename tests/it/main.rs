//! The integration tests: the real binary between a client and an upstream, over real sockets.
//!
//! One binary, because linking takes longer than compiling. Each folder has the tests of one promise to
//! users; its `mod.rs` says which. `support` starts the parts, each on a free port. Tests wait for what they
//! need, by barriers in the upstream or by polling, and each has a deadline ([`support::run`]); a pause of a
//! fixed length has its reason beside it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod caching;
mod coalescing;
mod conversion;
mod embeddings;
mod http;
mod invalidation;
mod items;
mod operations;
mod repository;
mod resilience;
mod security;
mod semantic;
mod services;
mod store;
