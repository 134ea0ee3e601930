//! The configuration: every source of settings becomes one checked [`Config`].
//!
//! [`load()`] merges flags, environment, `.env`, the TOML file and the defaults, strongest first. It reports
//! everything that is wrong at once, each fault with its place and a remedy. Crates that do this (figment,
//! serde) lose the line of a value, or stop at the first fault; so the walk over the file is written by hand.
//!
//! `settings` is the one table of settings. `inputs` and `file` read the sources, `value` and `parsers` say
//! what a value must look like, `settings_reader`, `table_reader`, `routes`, `given_routes`, `prices` and `load` make
//! the [`Config`].

#![warn(missing_docs)]

mod error;
mod file;
mod given_routes;
mod inputs;
mod jwks;
mod listen;
mod load;
mod origin;
mod parsers;
mod presets;
mod prices;
mod quote;
mod redis_url;
mod route_values;
mod routes;
mod semantic;
mod settings;
mod settings_reader;
mod suggest;
mod table_reader;
#[cfg(test)]
mod tests;
mod tls;
pub(crate) mod units;
mod upstream;
mod upstream_url;
mod value;

use std::{fmt, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use http::Uri;
use ipnet::IpNet;

use crate::cache::{
    encryption::{Encryption, EncryptionKey},
    model::ModelPattern,
    price::Prices,
    route::{Route, kind::KindTtls},
};

pub use error::{ConfigError, Errors};
pub use inputs::Inputs;
pub(crate) use jwks::{JwksConfig, JwksSource};
pub use listen::ListenAddress;
pub use load::{Loaded, load};
pub use origin::Source;
pub use redis_url::{RedisTopology, RedisUrl};
pub(crate) use semantic::{EmbeddingSource, ModelEndpoint, SemanticConfig, SemanticMode};
pub use settings_reader::EffectiveSetting;

pub(crate) use load::{changed, restart_only};
pub(crate) use presets::{PRESETS, covering, preset, preset_paths};
pub use tls::ClientTls;
pub(crate) use tls::{ListenerUse, TlsFiles};
pub(crate) use upstream::{UPSTREAM_TLS, UpstreamConfig};
pub(crate) use upstream_url::UpstreamUrl;

/// How a setting without a value is shown.
const NOTHING: &str = "none";

/// A checked configuration, made by [`load()`].
#[derive(Clone, Debug)]
pub struct Config {
    /// `production` hides upstream error bodies under `normalize_errors`.
    pub(crate) environment: String,
    pub(crate) listen: ListenAddress,
    /// The mode of its file, if it is one.
    pub(crate) listen_mode: u32,
    /// Whether other processes may listen there, too.
    pub(crate) listen_reuse: bool,
    /// How many threads serve connections; `None` for one a core.
    pub(crate) workers: Option<NonZeroUsize>,
    pub(crate) upstream: UpstreamConfig,
    pub(crate) admin: AdminConfig,
    /// The files for clients over TLS.
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) store: StoreConfig,
    /// For routes that set no TTL.
    pub(crate) ttls: KindTtls,
    /// The routes of the command line and the environment, then the file's, the presets' and the built-in ones.
    pub(crate) routes: Vec<Route>,
    /// Whether some of these are a preset's.
    pub(crate) has_presets: bool,
    /// What the tokens of models cost.
    pub(crate) prices: Prices,
    /// A text in every key.
    pub(crate) epoch: Option<String>,
    /// How long credentials that the upstream accepted are trusted, under a shared scope.
    pub(crate) shared_auth_ttl: Duration,
    /// The keys that tokens are signed with; `None` lets claims count once the upstream has accepted the token.
    pub(crate) jwks: Option<JwksConfig>,
    /// Peers whose `X-Forwarded-*` counts.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Whether they name their clients by the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    pub(crate) log: LogConfig,
    pub(crate) limits: Limits,
    pub(crate) coalesce: CoalesceConfig,
    /// The bytes for finding out why requests do not hit; 0 for none.
    pub(crate) insight_memory: u64,
    pub(crate) otel: OtelConfig,
    /// Hits by meaning; `None` if they are off.
    pub(crate) semantic: Option<SemanticConfig>,
    /// The models that metrics tell apart.
    pub(crate) counted_models: Vec<ModelPattern>,
    /// How long readiness is 503 before the listener closes.
    pub(crate) drain_delay: Duration,
    /// How long running requests may take after that.
    pub(crate) drain_timeout: Duration,
    /// Whether upstream errors take sidecache's form.
    pub(crate) normalize_errors: bool,
    pub(crate) health_path: String,
    /// What takes readiness away.
    pub(crate) ready: Vec<Readiness>,
}

/// Something that takes readiness away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// This process drains.
    Draining,
    /// The upstream is out of reach.
    Upstream,
    /// The store is out of reach.
    Store,
}

#[derive(Clone, Debug)]
pub(crate) struct AdminConfig {
    /// `None` if it is `off`.
    pub(crate) listen: Option<ListenAddress>,
    /// The mode of its file, if it is one.
    pub(crate) listen_mode: u32,
    /// The files for operators over TLS.
    pub(crate) tls: Option<TlsFiles>,
    /// The bearer token that every call needs.
    pub(crate) token: Option<Secret>,
    /// Further hosts that calls may name, besides the loopback ones.
    pub(crate) hosts: Vec<String>,
}

impl AdminConfig {
    /// The address, if other machines can reach it and no token is needed.
    pub(crate) fn exposed(&self) -> Option<SocketAddr> {
        let address = self.listen.as_ref()?.tcp()?;
        (self.token.is_none() && !address.ip().to_canonical().is_loopback()).then_some(address)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct StoreConfig {
    /// The URL of Redis; `None` stores answers in this process.
    pub(crate) redis: Option<Secret>,
    /// Encrypts the values in Redis and hides the names of its keys; `None` leaves both readable.
    pub(crate) encryption_key: Option<EncryptionKey>,
    /// The key before that, for values that it encrypted.
    pub(crate) encryption_key_old: Option<EncryptionKey>,
    pub(crate) access: RedisAccess,
    /// The bound of the in-process store, in bytes.
    pub(crate) max_memory: u64,
    /// The bound of the near cache in front of Redis, in bytes; 0 for none.
    pub(crate) near_memory: u64,
    /// How long the near cache is trusted while Redis is out of reach.
    pub(crate) near_staleness: Duration,
    pub(crate) namespace: String,
    /// How long a request waits for the store.
    pub(crate) timeout: Duration,
    /// The largest body that is stored, in bytes.
    pub(crate) max_entry: usize,
}

impl StoreConfig {
    /// The bound on entries in this process, in bytes.
    pub(crate) const fn memory(&self) -> u64 {
        if self.redis.is_some() { self.near_memory } else { self.max_memory }
    }

    pub(crate) fn encryption(&self) -> Option<Encryption> {
        Some(Encryption::new(self.encryption_key.as_ref()?, self.encryption_key_old.as_ref()))
    }
}

/// What Redis wants of its clients, besides what its URL says.
#[derive(Clone, Debug, Default)]
pub struct RedisAccess {
    /// Files for TLS.
    pub tls: ClientTls,
    /// Whether nobody checks who the server is.
    pub(crate) is_unverified: bool,
    /// The user, in place of the URL's.
    pub(crate) username: Option<String>,
    /// A file with the password, in place of the URL's; read again when it changes.
    pub(crate) password_file: Option<PathBuf>,
    /// The user for the sentinels, if it is another one.
    pub(crate) sentinel_username: Option<String>,
    /// The password for the sentinels, if it is another one.
    pub(crate) sentinel_password: Option<Secret>,
}

/// The log's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogConfig {
    /// The lowest level that is written.
    pub(crate) level: LogLevel,
    /// The format on standard output; `None` lets that decide.
    pub(crate) format: Option<LogFormat>,
    /// A file besides standard output.
    pub(crate) file: Option<PathBuf>,
    /// The size in bytes at which the file is rotated.
    pub(crate) rotate_size: u64,
    /// The number of rotated files that stay.
    pub(crate) rotate_keep: usize,
    /// A request that takes longer is logged as slow.
    pub(crate) slow: Duration,
    /// Whether the text of questions is logged.
    pub(crate) queries: bool,
    /// Whether requests for the health page are logged.
    pub(crate) health: bool,
}

/// What a line of the log on standard output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// A JSON object, for programs.
    Json,
    /// A text, for people.
    Text,
}

/// The levels of the log, the lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogLevel {
    /// For sidecache's developers.
    Debug,
    /// What happens in normal operation.
    Info,
    /// What may need attention.
    Warning,
    /// What failed.
    Error,
}

#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The largest request body on a cacheable route, in bytes.
    pub(crate) max_body: usize,
    /// Open client connections.
    pub(crate) max_connections: usize,
    /// Upstream requests at once.
    pub(crate) max_upstream_requests: usize,
    /// For a request's head to arrive.
    pub(crate) header_timeout: Duration,
    /// Between two reads of a request's body. A body that is buffered may take ten times as long in all.
    pub(crate) body_timeout: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct CoalesceConfig {
    /// The followers of one flight.
    pub(crate) max_followers: usize,
    /// What a flight buffers for its readers, in bytes.
    pub(crate) max_buffer: usize,
    /// How long a request waits for another replica's answer.
    pub(crate) replica_wait: Duration,
}

/// The settings of traces.
#[derive(Clone, Debug)]
pub(crate) struct OtelConfig {
    /// The collector; `None` exports nothing.
    pub(crate) endpoint: Option<Uri>,
    /// The share of the traces begun here that are recorded, from 0 to 1.
    pub(crate) sample: f64,
}

/// A value that `Debug` hides.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
