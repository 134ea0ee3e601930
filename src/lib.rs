//! A caching sidecar reverse proxy for RAG and LLM services: a single binary next to a running service. To run it
//! inside another program, load a configuration and bind an [`App`](app::App):
//!
//! ```no_run
//! use sidecache::{app::App, config::{Inputs, load}};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let flags = vec![("upstream.url", "http://127.0.0.1:8000".to_owned())];
//! let loaded = load(&Inputs { flags, ..Inputs::default() })?;
//! let app = App::bind(loaded.config).await?;
//! app.run(std::future::pending()).await;
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//!
//! The rooms, from the top down. A room may import those below it, never one above
//! (`tests/it/repository/layers.rs`). Those from `request` on are pure. `docs/ARCHITECTURE.md` follows a request
//! through them.
//!
//! - `cli`: flags and commands
//! - `app`: makes a running proxy of a configuration, reloads it, ends it
//! - `admin`: the operators' API
//! - `proxy`: the life of a request, from its head to its log line; `proxy/mod.rs` shows it on one page
//! - `store`: where entries are, in memory or in Redis behind a near cache
//! - `server`: sockets: accepting, timeouts, writing
//! - `telemetry`: the log and the counters
//! - `config`: flags, environment and file become one checked configuration
//! - `request`: what a request asks of the cache: its head, its body, its key
//! - `cache`: what caching means here: routes, keys, entries, freshness, invalidation
//! - `dialect`: what the bodies of each API mean, and one form from the other
//! - `http`, `json`: rules for HTTP fields and the framing of streams; exact JSON
//! - `reason`, `time`: the name of every "no"; clocks and durations as text

pub mod admin;
pub mod app;
pub mod cache;
pub mod cli;
pub mod config;
pub mod dialect;
pub mod http;
pub mod json;
pub(crate) mod proxy;
pub(crate) mod reason;
pub(crate) mod request;
pub mod server;
pub mod store;
pub mod telemetry;
pub(crate) mod time;
