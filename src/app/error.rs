//! Why a start or a reload failed.

use std::{io, net::SocketAddr, num::NonZeroUsize};

use thiserror::Error;

use crate::{config::ListenAddress, proxy::state::LiveError, store::OpenError};

/// Why a start or a reload failed: one line that says what to change.
#[derive(Debug, Error)]
pub enum StartError {
    /// The system refuses to listen on an address.
    #[error("{}", listen_failure(.address, .setting, *.is_shared, .source))]
    Listen {
        /// The address.
        address: ListenAddress,
        /// The setting that names it.
        setting: &'static str,
        /// Whether the address may be shared with other processes.
        is_shared: bool,
        /// The system's error.
        source: io::Error,
    },
    /// The upstream is this sidecache.
    #[error(
        "upstream.url ({upstream}) leads back to {setting} ({address}), so that each request would come round; name the \
         service's own address with --upstream (UPSTREAM_URL), or choose another one for {setting}"
    )]
    Itself {
        /// The upstream's URL.
        upstream: String,
        /// The listener's address.
        address: ListenAddress,
        /// The setting that names it.
        setting: &'static str,
    },
    /// A file for the store's TLS connection cannot be read or used.
    #[error("{0}")]
    Store(OpenError),
    /// A listener's certificate, or its key, is of no use.
    #[error("{0}")]
    Certificate(String),
    /// TLS to the upstream cannot begin: the text says which file is of no use, and why.
    #[error("{0}")]
    UpstreamTls(String),
    /// The keys of tokens cannot be looked after: the text says which file is of no use, and why.
    #[error("{0}")]
    Jwks(String),
    /// Hits by meaning cannot begin: the text names the setting, and says why.
    #[error("{0}")]
    Semantic(String),
    /// Traces cannot be exported.
    #[error("otel.endpoint (OTEL_EXPORTER_OTLP_ENDPOINT) cannot be used: {0}")]
    Traces(String),
    /// A reload would count money in another currency than before.
    #[error("the prices are in {new}, and the sums so far are in {counted}; restart to change the currency")]
    Currency {
        /// The currency of the sums.
        counted: String,
        /// The currency of the new prices.
        new: String,
    },
    /// The system gives no thread for a worker.
    #[error("cannot start {count} workers: {source}; choose fewer with workers (CACHE_WORKERS)")]
    Workers {
        /// How many were to be started.
        count: NonZeroUsize,
        /// The system's error.
        source: io::Error,
    },
    /// The admin listener that was handed over would be open to all.
    #[error(
        "the admin listener that was handed over, {0}, can be reached from other machines, and there is no admin.token; set \
         ADMIN_TOKEN, or hand over one on 127.0.0.1"
    )]
    OpenAdmin(SocketAddr),
    /// Without its token, anybody could use the running admin listener from other machines.
    #[error(
        "the admin listener stays on {0} until a restart, and can be reached from other machines: \
         keep admin.token (ADMIN_TOKEN) until then"
    )]
    Exposed(SocketAddr),
}

impl From<LiveError> for StartError {
    fn from(error: LiveError) -> Self {
        match error {
            LiveError::UpstreamTls(error) => Self::UpstreamTls(error.to_string()),
            LiveError::Jwks(error) => Self::Jwks(error.to_string()),
            LiveError::Embedder(error) => Self::Semantic(error.to_string()),
        }
    }
}

fn listen_failure(address: &ListenAddress, setting: &str, is_shared: bool, source: &io::Error) -> String {
    if source.kind() != io::ErrorKind::AddrInUse {
        return format!("cannot listen on {address}: {source}; choose another address with {setting}");
    }
    let remedy = if is_shared {
        "which does not share it (a sidecache of the same user does, if it has listen_reuse = true)"
    } else {
        "to replace a running sidecache without a gap, set listen_reuse = true for both"
    };
    format!(
        "cannot listen on {address}: another process does; stop that one, or choose another address with {setting}; {remedy}"
    )
}
