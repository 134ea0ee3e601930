//! The validated configuration: what everything else is built from.
//!
//! [`load()`] merges flags, environment, `.env`, the TOML file and the defaults, strongest first, and turns
//! them into one [`Config`]. Whatever is wrong is said with its place and a way out.
//!
//! - [`settings`]: the one table of settings
//! - [`units`]: durations and sizes
//! - `source`: what the inputs are, and which is the strongest
//! - `file`: the TOML file, every key known
//! - `value`, `forms`: what a value must look like
//! - `routes`: the `[[route]]` tables
//! - `reader`, `load`: all of it together

mod error;
mod file;
pub mod inputs;
mod load;
mod origin;
pub mod parsers;
mod quote;
mod routes;
pub mod settings;
pub mod settings_reader;
mod suggest;
#[cfg(test)]
mod tests;
pub mod units;
mod value;

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use http::Uri;
use ipnet::IpNet;

use crate::cache::{
    encryption::{Encryption, EncryptionKey},
    route::{Route, kind::KindTtls},
};

pub use error::{ConfigError, Errors};
pub use inputs::Inputs;
pub use load::{Loaded, load, restart_only};
pub use origin::Source;
pub(crate) use parsers::upstream_url as http_url;
pub use settings_reader::Effective;

/// How a setting without a value is shown.
const NOTHING: &str = "none";

/// Everything sidecache was told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `production` hides upstream error bodies under `normalize_errors`.
    pub environment: String,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The service behind.
    pub upstream: UpstreamConfig,
    /// The listener for operators.
    pub admin: AdminConfig,
    /// Where answers are kept.
    pub store: StoreConfig,
    /// How long the answers of each kind are fresh, where a route does not say.
    pub ttls: KindTtls,
    /// The file's routes, then the built-in ones.
    pub routes: Vec<Route>,
    /// How long a credential that the upstream accepted stands, under a shared scope.
    pub shared_auth_ttl: Duration,
    /// Peers whose `X-Forwarded-*` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What is logged, and where.
    pub log: LogConfig,
    /// What is refused.
    pub limits: Limits,
    /// How requests join a running answer.
    pub coalesce: CoalesceConfig,
    /// How long readiness is 503 before the listener closes.
    pub drain_delay: Duration,
    /// How long running requests may take after that.
    pub drain_timeout: Duration,
    /// Whether upstream errors take sidecache's form.
    pub normalize_errors: bool,
    /// The path of the health page.
    pub health_path: String,
}

/// How the upstream is reached.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// `http://` or `https://`, an authority, perhaps a path prefix (no trailing slash, no query, no userinfo).
    pub url: Uri,
    /// Whether the caller's `Host` goes upstream.
    pub preserve_host: bool,
    /// For a connection to be made.
    pub connect_timeout: Duration,
    /// From the request's last byte to the response's head.
    pub first_byte_timeout: Duration,
    /// Between two chunks of a response.
    pub idle_timeout: Duration,
}

/// The listener for operators.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// `None` where it is `off`.
    pub listen: Option<SocketAddr>,
    /// The bearer token it asks for.
    pub token: Option<Secret>,
    /// Names besides the loopback ones that its `Host` may be.
    pub hosts: Vec<String>,
}

impl AdminConfig {
    /// Where other machines can reach it, and need no token.
    pub fn exposed(&self) -> Option<SocketAddr> {
        self.listen.filter(|address| self.token.is_none() && !address.ip().to_canonical().is_loopback())
    }
}

/// Where answers are kept.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The URL of Redis; `None` keeps answers in this process.
    pub redis: Option<Secret>,
    /// What seals the values in Redis, and names its keys; `None` leaves both readable.
    pub encryption_key: Option<EncryptionKey>,
    /// What did so before.
    pub encryption_key_old: Option<EncryptionKey>,
    /// The files that a TLS connection to Redis needs.
    pub tls: RedisTls,
    /// The bound of the in-process store, in bytes.
    pub max_memory: u64,
    /// The bound of the in-process tier in front of Redis, in bytes; 0 for none.
    pub near_memory: u64,
    /// The first part of every key.
    pub namespace: String,
    /// How long a request waits for the store.
    pub timeout: Duration,
    /// The largest body that is stored, in bytes.
    pub max_entry: usize,
}

impl StoreConfig {
    /// What entries may take in this process, in bytes.
    pub const fn memory(&self) -> u64 {
        if self.redis.is_some() { self.near_memory } else { self.max_memory }
    }

    /// What seals the values in Redis, and names its keys.
    pub fn encryption(&self) -> Option<Encryption> {
        Some(Encryption::new(self.encryption_key.as_ref()?, self.encryption_key_old.as_ref()))
    }
}

/// Files in PEM for a TLS connection to Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// The authorities that vouch for Redis; `None` for the system's.
    pub ca: Option<PathBuf>,
    /// The certificate that this client shows, and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// What is logged, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The lowest level that is written.
    pub level: LogLevel,
    /// A file besides standard output.
    pub file: Option<PathBuf>,
    /// The size in bytes at which the file is rotated.
    pub rotate_size: u64,
    /// How many rotated files are kept.
    pub rotate_keep: usize,
    /// Requests that take longer are slow.
    pub slow: Duration,
    /// Whether the text of questions is logged.
    pub queries: bool,
}

/// The four levels of the log, most talkative first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What happens.
    Info,
    /// What may need a look.
    Warning,
    /// What failed.
    Error,
}

/// What is refused.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest request body on a cacheable route, in bytes.
    pub max_body: usize,
    /// Open client connections.
    pub max_connections: usize,
    /// Upstream requests under way at once.
    pub max_upstream_requests: usize,
    /// For a request's head to arrive.
    pub header_timeout: Duration,
    /// Between two reads of a request's body; ten times that in all where the body is buffered.
    pub body_timeout: Duration,
}

/// How requests join a running answer.
#[derive(Clone, Debug)]
pub struct CoalesceConfig {
    /// How many read one answer besides the request that began it.
    pub max_followers: usize,
    /// What an answer keeps for its readers, in bytes.
    pub max_buffer: usize,
    /// How long a request waits for another replica's answer.
    pub replica_wait: Duration,
}

/// A value that shows itself only when asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
