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
//! - `app`: builds the proxy from a configuration, reloads and stops it
//! - `admin`: the operators' API
//! - `proxy`: the life of a request, from its head to its log line; `proxy/mod.rs` shows it on one page
//! - `store`: where entries are, in memory or in Redis behind a near cache
//! - `server`: sockets: accepting, timeouts, writing
//! - `telemetry`: the log and the counters
//! - `tls`: certificates and keys in files, which may change
//! - `config`: flags, environment and file become one checked configuration
//! - `request`: what a request asks of the cache: its head, its body, its key
//! - `cache`: what caching means here: routes, keys, entries, freshness, invalidation
//! - `dialect`: what the bodies of each API mean; conversion between document and stream
//! - `http`, `json`: rules for HTTP fields and the framing of streams; exact JSON
//! - `reason`, `time`: every reason not to use or fill the cache; clocks and durations as text

pub(crate) mod admin;
pub mod app;
pub(crate) mod cache;
// For the binary only.
#[doc(hidden)]
pub mod cli;
pub mod config;
pub(crate) mod dialect;
pub(crate) mod http;
pub(crate) mod json;
pub(crate) mod proxy;
pub(crate) mod reason;
pub(crate) mod request;
pub(crate) mod server;
pub(crate) mod store;
pub(crate) mod telemetry;
pub(crate) mod time;
pub(crate) mod tls;

// What tests, benchmarks and fuzz targets use. Not an interface: it changes without notice.
#[doc(hidden)]
pub mod internals {
    pub mod cache {
        pub mod entry {
            pub use crate::cache::entry::{Entry, RequestLabel};
        }
        pub mod invalidation {
            pub use crate::cache::invalidation::{Offset, Target, TargetId, Version};
            pub mod glob {
                pub use crate::cache::invalidation::glob::matches;
            }
        }
        pub mod key {
            pub use crate::cache::key::{Body, BodyDigest, Key, Request, digest, is_keyed};
        }
        pub mod policy {
            pub use crate::cache::policy::{freshness, lifetime_under_ttl};
        }
        pub mod request_directives {
            pub use crate::cache::request_directives::RequestDirectives;
        }
        pub mod route {
            pub use crate::cache::route::{Route, Scope};
            pub mod kind {
                pub use crate::cache::route::kind::Kind;
            }
        }
        pub mod semantic {
            pub use crate::cache::semantic::{
                answer::AnswerSketch,
                guards::{Guard, Signature},
                index::{Index, Record, Search},
                ledger::{Decision, Label, LabelSource, Ledger, Nearness},
                question::Partition,
                vector::Vector,
            };
        }
    }
    pub mod config {
        pub use crate::config::RedisAccess;

        /// The routes in their order.
        pub fn routes(config: &crate::config::Config) -> &[crate::cache::route::Route] {
            &config.routes
        }
    }
    pub mod dialect {
        pub use crate::dialect::{Ask, Dialect, Rendered, RequestIds, StoredAnswer, place, serve};
        pub mod usage {
            pub use crate::dialect::usage::{Usage, UsageSetting};
        }
    }
    pub mod http {
        pub mod forwarded {
            pub use crate::http::forwarded::{Peer, rewrite};
        }
        pub mod headers {
            pub use crate::http::headers::{list, remove_hop_by_hop};
        }
        pub mod sse {
            pub use crate::http::sse::{EventDecoder, Framing};
        }
        pub mod validation {
            pub use crate::http::validation::{check, climbs, upgrade};
        }
    }
    pub mod json {
        pub use crate::json::Json;
        pub mod canonical {
            pub use crate::json::canonical::{Rules, write};
        }
    }
    pub mod server {
        pub use crate::server::{Listener, Preface, Server, Workers};
    }
    pub mod store {
        pub use crate::store::{
            Lease, LeaseState, Near, RedisClient, RedisStore, Store, StoreError, StoreEvent,
        };
    }
}
