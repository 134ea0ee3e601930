//! Making a connection: DNS, TCP and TLS under one deadline.

use std::{error::Error, fmt, future::poll_fn, io, sync::Arc, time::Duration};

use http::{Uri, uri::Scheme};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::{
    connection::Connection,
    failure::{FailureKind, failed},
    io::{Socket, SocketIo},
    tls_trouble::TlsTrouble,
};
use crate::{
    config::UpstreamConfig,
    proxy::error::{ErrorKind, ProxyError},
    telemetry::stats::{Limit, Stats},
};

type Cause = Box<dyn Error + Send + Sync>;

#[derive(Clone)]
pub(super) struct Connector {
    http: HttpConnector,
    /// `None` if the upstream is reached without TLS.
    tls: Option<TlsConnector>,
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
    Tcp(#[source] Cause),
    #[error("no connection to the upstream: {0}")]
    Tls(TlsTrouble, #[source] Cause),
    #[error("no connection to the upstream: HTTP cannot begin")]
    Http(#[source] hyper::Error),
}

impl ConnectError {
    /// The error for the client of a request to the upstream.
    pub(super) fn explain(self, config: &UpstreamConfig) -> ProxyError {
        let message = self.to_string();
        let host = config.url.host().unwrap_or_default();
        let failed = |kind| failed(kind, message.clone()).with_detail("host", host);
        match self {
            Self::TimedOut => ProxyError::new(ErrorKind::UpstreamTimeout, message)
                .with_detail("timeout_ms", config.connect_timeout.as_millis() as u64)
                .with_limit(Limit::ConnectTimeout),
            Self::Dns(cause) => failed(FailureKind::Dns).with_source(cause),
            Self::Tcp(cause) => failed(FailureKind::Connect).with_source(cause),
            Self::Tls(trouble, cause) => {
                failed(FailureKind::Tls).with_detail("trouble", trouble.as_str()).with_source(cause)
            }
            Self::Http(cause) => failed(FailureKind::Http).with_source(cause),
        }
    }
}

impl Connector {
    /// Connects to the service at `url`. Reads the system's certificates only if it needs them, since that
    /// takes a while.
    ///
    /// # Errors
    /// If the service is reached over TLS and the system's certificates cannot be read.
    pub(super) fn new(url: &Uri, stats: Arc<Stats>) -> io::Result<Self> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let is_https = url.scheme() == Some(&Scheme::HTTPS);
        let tls = if is_https { Some(TlsConnector::from(Arc::new(tls_config()?))) } else { None };
        Ok(Self { http, tls, stats })
    }

    /// Connects to the service at `url`, within `limit`.
    ///
    /// # Errors
    /// If a step fails, or all of them together take too long.
    pub(super) async fn connect(&self, url: &Uri, limit: Duration) -> Result<Connection, ConnectError> {
        timeout(limit, self.open(url)).await.unwrap_or(Err(ConnectError::TimedOut))
    }

    async fn open(&self, url: &Uri) -> Result<Connection, ConnectError> {
        let socket = Arc::new(Socket::new(self.tcp(url).await?));
        let io = SocketIo(Arc::clone(&socket));
        let connection = match &self.tls {
            None => Connection::handshake(io, &socket, &self.stats).await,
            Some(tls) => {
                let shaken = tls.connect(server_name(url)?, io).await;
                let io = shaken.map_err(|error| ConnectError::Tls(TlsTrouble::of(&error), error.into()))?;
                Connection::handshake(io, &socket, &self.stats).await
            }
        };
        connection.map_err(ConnectError::Http)
    }

    async fn tcp(&self, url: &Uri) -> Result<TcpStream, ConnectError> {
        let mut http = self.http.clone();
        let ready = poll_fn(|cx| http.poll_ready(cx)).await;
        ready.map_err(|error| ConnectError::Tcp(error.into()))?;
        match http.call(url.clone()).await {
            Ok(stream) => Ok(stream.into_inner()),
            // The connector tells its errors apart by their texts alone.
            Err(error) if error.to_string() == "dns error" => Err(ConnectError::Dns(error.into())),
            Err(error) => Err(ConnectError::Tcp(error.into())),
        }
    }
}

/// The name that the upstream's certificate must have.
fn server_name(url: &Uri) -> Result<ServerName<'static>, ConnectError> {
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).map_err(|error| ConnectError::Tls(TlsTrouble::Name, error.into()))
}

/// TLS with the system's certificates. Without ALPN, a server speaks HTTP/1.1.
fn tls_config() -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(system_roots()?).with_no_client_auth())
}

/// The system's certificates, without those that rustls cannot read.
fn system_roots() -> io::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = match found.errors.first() {
            Some(error) => error.to_string(),
            None => "no certificate that can be read".to_owned(),
        };
        return Err(io::Error::new(io::ErrorKind::NotFound, reason));
    }
    Ok(roots)
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
            let found = server_name(&Uri::from_static(url)).ok();
            assert_eq!(found.map(|name| name.to_str().into_owned()).as_deref(), name, "{url}");
        }
    }
}
