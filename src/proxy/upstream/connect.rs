//! Making a connection: DNS, TCP and TLS under one deadline.
//!
//! hyper-util's connector tries the addresses of a name in turn, and those of the other family beside them after a
//! moment (RFC 8305).

use std::{
    error::Error,
    fmt,
    future::poll_fn,
    io,
    iter::successors,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use rustls::pki_types::ServerName;
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, timeout},
};
use tokio_util::either::Either;
use tower_service::Service;

use super::{
    connection::Connection,
    failure::{FailureKind, failed},
    io::{Socket, SocketIo, Stream},
    resolve::{ResolveError, Resolver},
    tls::{UpstreamTls, UpstreamTlsError},
    tls_trouble::TlsTrouble,
};
use crate::{
    config::{UpstreamConfig, UpstreamUrl},
    proxy::error::{ErrorKind, ProxyError},
    telemetry::stats::{Limit, Stats},
};

/// How long the addresses of one family are tried before those of the other are tried, too (RFC 8305, section 5).
const OTHER_FAMILY: Duration = Duration::from_millis(250);

type Cause = Box<dyn Error + Send + Sync>;

#[derive(Clone)]
pub(super) struct Connector {
    http: HttpConnector<Resolver>,
    resolver: Resolver,
    /// `None` if the upstream is reached without TLS.
    tls: Option<Arc<UpstreamTls>>,
    stats: Arc<Stats>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("no connection to the upstream in time")]
    TimedOut,
    #[error("no connection to the upstream: its name has no address")]
    Dns(#[source] Cause),
    #[error("no connection to the upstream")]
    NoPeer(#[source] Cause),
    #[error("no connection to the upstream: {0}")]
    Tls(TlsTrouble, #[source] Cause),
    #[error("no connection to the upstream: HTTP cannot begin")]
    Http(#[source] hyper::Error),
}

impl ConnectError {
    /// The error for the client of a request to the upstream.
    pub(super) fn explain(self, config: &UpstreamConfig) -> ProxyError {
        let message = self.to_string();
        let host = match config.url.socket() {
            Some(_) => config.url.to_string(),
            None => config.url.host().to_owned(),
        };
        let failed = |kind| failed(kind, message.clone()).with_detail("host", host.clone());
        match self {
            Self::TimedOut => ProxyError::new(ErrorKind::UpstreamTimeout, message)
                .with_detail("timeout_ms", config.connect_timeout.as_millis() as u64)
                .with_limit(Limit::ConnectTimeout),
            Self::Dns(cause) => failed(FailureKind::Dns).with_source(cause),
            Self::NoPeer(cause) => failed(FailureKind::Connect).with_source(cause),
            Self::Tls(trouble, cause) => {
                failed(FailureKind::Tls).with_detail("trouble", trouble.as_str()).with_source(cause)
            }
            Self::Http(cause) => failed(FailureKind::Http).with_source(cause),
        }
    }
}

impl Connector {
    /// Connects to the service that `config` names. Reads the system's certificates only if it needs them, since that
    /// takes a while.
    ///
    /// # Errors
    /// If the service is reached over TLS, and a file or the system's certificates are of no use.
    pub(super) fn new(config: &UpstreamConfig, stats: Arc<Stats>) -> Result<Self, UpstreamTlsError> {
        let resolver = Resolver::system(config.url.host(), config.resolve_every);
        let mut http = HttpConnector::new_with_resolver(resolver.clone());
        http.enforce_http(false);
        // Each address gets its share of it.
        http.set_connect_timeout(Some(config.connect_timeout));
        http.set_happy_eyeballs_timeout(Some(OTHER_FAMILY));
        http.set_nodelay(true);
        let is_tls = config.url.is_tls();
        let tls = is_tls.then(|| UpstreamTls::open(config.tls.clone()).map(Arc::new)).transpose()?;
        Ok(Self { http, resolver, tls, stats })
    }

    /// Connects to the service at `url`, within `limit`.
    ///
    /// # Errors
    /// If a step fails, or all of them together take too long.
    pub(super) async fn connect(
        &self,
        url: &UpstreamUrl,
        limit: Duration,
    ) -> Result<Connection, ConnectError> {
        timeout(limit, self.open(url)).await.unwrap_or_else(|_| {
            self.resolver.doubt();
            Err(ConnectError::TimedOut)
        })
    }

    /// Reads the files for TLS again if one of them has changed; says whether one has.
    ///
    /// # Errors
    /// If a new one is of no use, once for each change.
    pub(super) fn refresh_tls(&self) -> Result<bool, UpstreamTlsError> {
        self.tls.as_ref().map_or(Ok(false), |tls| tls.refresh())
    }

    /// When the certificate ends that the upstream is shown; `None` if there is none.
    pub(super) fn certificate_expires(&self) -> Option<SystemTime> {
        self.tls.as_ref().and_then(|tls| tls.expires())
    }

    /// Has the upstream's name looked up again if it is time.
    pub(super) fn refresh(&self, now: Instant) {
        self.resolver.refresh(now);
    }

    /// Whether a new connection could lead to the same address.
    pub(super) fn leads_to(&self, connection: &Connection) -> bool {
        connection.peer().is_none_or(|peer| self.resolver.has(peer))
    }

    async fn open(&self, url: &UpstreamUrl) -> Result<Connection, ConnectError> {
        let stream = self.stream(url).await?;
        let peer = match &stream {
            Either::Left(tcp) if self.resolver.is_used() => tcp.peer_addr().ok(),
            _ => None,
        };
        let socket = Arc::new(Socket::new(stream));
        let io = SocketIo(Arc::clone(&socket));
        let connection = match &self.tls {
            None => Connection::handshake(io, &socket, &self.stats).await,
            Some(tls) => {
                let shaken = tls.connector().connect(server_name(url)?, io).await;
                let io = shaken.map_err(|error| ConnectError::Tls(TlsTrouble::of(&error), error.into()))?;
                Connection::handshake(io, &socket, &self.stats).await
            }
        };
        connection.map(|connection| connection.with_peer(peer)).map_err(ConnectError::Http)
    }

    /// Makes a connection without TLS.
    pub(super) async fn stream(&self, url: &UpstreamUrl) -> Result<Stream, ConnectError> {
        match url.socket() {
            Some(path) => match UnixStream::connect(path).await {
                Ok(stream) => Ok(Either::Right(stream)),
                Err(error) => Err(ConnectError::NoPeer(error.into())),
            },
            None => self.tcp(url.uri()).await.map(Either::Left),
        }
    }

    /// Makes a connection; if the service has moved meanwhile, to its new address.
    async fn tcp(&self, url: &Uri) -> Result<TcpStream, ConnectError> {
        let before = self.resolver.known();
        let dialled = self.dial(url).await;
        let (Err(_), Some(before)) = (&dialled, before) else { return dialled };
        self.resolver.doubt();
        if self.resolver.differs(&before).await { self.dial(url).await } else { dialled }
    }

    async fn dial(&self, url: &Uri) -> Result<TcpStream, ConnectError> {
        let mut http = self.http.clone();
        let ready = poll_fn(|cx| http.poll_ready(cx)).await;
        ready.map_err(|error| ConnectError::Dns(error.into()))?;
        http.call(url.clone()).await.map(TokioIo::into_inner).map_err(|error| not_dialled(error.into()))
    }
}

fn not_dialled(error: Cause) -> ConnectError {
    let is_timeout = |cause: &(dyn Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
    };
    if has_cause(&*error, |cause| cause.is::<ResolveError>()) {
        ConnectError::Dns(error)
    } else if has_cause(&*error, is_timeout) {
        ConnectError::TimedOut
    } else {
        ConnectError::NoPeer(error)
    }
}

/// Whether an error, or one that it comes from, is such a one.
fn has_cause(error: &(dyn Error + 'static), is: impl Fn(&(dyn Error + 'static)) -> bool) -> bool {
    successors(Some(error), |&error| error.source()).any(is)
}

/// The name that the upstream's certificate must have.
fn server_name(url: &UpstreamUrl) -> Result<ServerName<'static>, ConnectError> {
    ServerName::try_from(url.host().to_owned())
        .map_err(|error| ConnectError::Tls(TlsTrouble::Name, error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_for_names_and_addresses() {
        for (url, name) in [
            ("https://a.example", Some("a.example")),
            ("https://a.example:8443/base", Some("a.example")),
            ("https://127.0.0.1:1", Some("127.0.0.1")),
            ("https://[::1]:1", Some("::1")),
            ("https://a..example", None),
        ] {
            let found = server_name(&UpstreamUrl::parse(url).expect("a URL")).ok();
            assert_eq!(found.map(|name| name.to_str().into_owned()).as_deref(), name, "{url}");
        }
    }
}
