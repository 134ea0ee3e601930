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
    io::{Socket, SocketIo},
};
use crate::telemetry::stats::Stats;

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
    /// DNS, TCP, TLS or the HTTP handshake failed.
    #[error("no connection to the upstream")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
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
        match timeout(limit, self.open(url)).await {
            Ok(opened) => opened.map_err(ConnectError::Failed),
            Err(_) => Err(ConnectError::TimedOut),
        }
    }

    async fn open(&self, url: &Uri) -> Result<Connection, Box<dyn Error + Send + Sync>> {
        let socket = Arc::new(Socket::new(self.tcp(url).await?));
        let io = SocketIo(Arc::clone(&socket));
        let connection = match &self.tls {
            None => Connection::handshake(io, &socket, &self.stats).await,
            Some(tls) => {
                Connection::handshake(tls.connect(server_name(url)?, io).await?, &socket, &self.stats).await
            }
        };
        Ok(connection?)
    }

    async fn tcp(&self, url: &Uri) -> Result<TcpStream, Box<dyn Error + Send + Sync>> {
        let mut http = self.http.clone();
        poll_fn(|cx| http.poll_ready(cx)).await?;
        Ok(http.call(url.clone()).await?.into_inner())
    }
}

/// The name that the upstream's certificate must have.
fn server_name(url: &Uri) -> Result<ServerName<'static>, Box<dyn Error + Send + Sync>> {
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    Ok(ServerName::try_from(host.to_owned())?)
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
