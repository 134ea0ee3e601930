//! A caching sidecar reverse proxy for RAG and LLM services.
//!
//! It stands before a running service. A question that was answered before is answered from the store, the same
//! question asked at the same moment joins the answer that is running, and everything else goes on to the service,
//! streams event by event. `docs/ARCHITECTURE.md` follows a request through these modules; the binary is [`cli`] and
//! little else. To run a proxy inside another program:
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
//! The rooms, from the top down; imports point down (`tests/it/repository/layers.rs`).
//!
//! | room | what it has |
//! | --- | --- |
//! | [`cli`] | commands and flags |
//! | [`app`] | from a checked configuration to a running proxy and its end |
//! | [`admin`] | the operators' API |
//! | `proxy` | a request's life, from its head to its log line; `proxy/mod.rs` is the page that shows it |
//! | [`store`] | where entries are: in memory, or in Redis behind a near cache |
//! | [`server`] | sockets: accepting, idle and head timeouts, writing |
//! | [`telemetry`] | the log and the counters |
//! | [`config`] | flags, environment and file to one checked configuration |
//! | `request` | what a request asks of the cache: its head, its body, its key; pure |
//! | [`cache`] | what caching means here: routes, keys, entries, freshness, invalidation; pure |
//! | [`dialect`] | what the bodies of each API mean, and one form from the other; pure |
//! | [`http`], [`json`] | HTTP field rules and the framing of streams; exact JSON |
//! | `time` | clocks and durations as text |

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
