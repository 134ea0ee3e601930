//! The service behind: a pooled client, its timeouts, and the bound on requests under way.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{
    HeaderValue, Request, Response, StatusCode, Uri, Version, header,
    uri::{self, Authority, PathAndQuery, Scheme},
};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use tower_service::Service;

use crate::{
    body::{BodyError, RequestBody, UpstreamBody},
    config::UpstreamConfig,
    error::{ErrorKind, ProxyError},
    stats::Limit,
};

/// Connections that nobody uses are closed before common servers close them (uvicorn and Node: 5 s), so that a
/// request is seldom sent into a connection that is just going away.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);
const IDLE_CONNECTIONS: usize = 256;

/// The client of the service behind.
#[derive(Clone, Debug)]
pub struct Upstream {
    client: Client<Connector, RequestBody>,
    permits: Arc<Semaphore>,
}

impl Upstream {
    /// A client of the service that `config` names, with at most as many requests under way as `permits` has.
    ///
    /// # Errors
    /// Where the service is reached over TLS and the system's certificates cannot be read.
    pub fn new(config: &UpstreamConfig, permits: Arc<Semaphore>) -> std::io::Result<Self> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let tls = tls_config(config.url.scheme() == Some(&Scheme::HTTPS))?;
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(Connector { inner: https, timeout: config.connect_timeout });
        Ok(Self { client, permits })
    }

    /// Sends `request`, whose target is a path and query, and waits for the response's head.
    ///
    /// # Errors
    /// Where too many requests are under way, or no proper response comes in time.
    pub async fn send(
        &self,
        config: &UpstreamConfig,
        mut request: Request<RequestBody>,
    ) -> Result<Response<UpstreamBody>, ProxyError> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Err(ProxyError::new(
                ErrorKind::Overloaded,
                "too many requests are under way; try again shortly",
            )
            .over(Limit::MaxUpstreamRequests));
        };
        address(config, &mut request)?;
        let turn = match request.body() {
            RequestBody::Client(_, turn) => Arc::clone(turn),
            RequestBody::Full(_) => Arc::default(),
        };
        let wants_upgrade = request.headers().contains_key(header::UPGRADE);
        let response = tokio::select! {
            response = self.client.request(request) => response.map_err(|error| failure(config, error))?,
            () = turn.upstream_exceeds(config.first_byte_timeout) => return Err(timed_out(config.first_byte_timeout)),
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS && !wants_upgrade {
            let message = "the upstream switched protocols without being asked";
            return Err(ProxyError::new(ErrorKind::UpstreamProtocol, message));
        }
        // "Ought to be handled as an error" (RFC 9112, 6.3): somebody on the way may go by the other one.
        if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
            .iter()
            .all(|name| response.headers().contains_key(name))
        {
            let message = "the upstream's answer has both a length and a transfer coding";
            return Err(ProxyError::new(ErrorKind::UpstreamProtocol, message));
        }
        Ok(response.map(|body| UpstreamBody::new(body, config.idle_timeout, permit)))
    }

    /// Whether a connection to the upstream can be made within `limit`.
    pub async fn reachable(config: &UpstreamConfig, limit: Duration) -> bool {
        let Some(host) = config.url.host() else { return false };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let https = config.url.scheme() == Some(&Scheme::HTTPS);
        let port = config.url.port_u16().unwrap_or(if https { 443 } else { 80 });
        matches!(timeout(limit, TcpStream::connect((host, port))).await, Ok(Ok(_)))
    }
}

/// The TLS settings; the system's certificates are read only where they are needed, since that takes a while.
fn tls_config(needed: bool) -> std::io::Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?;
    let builder = if needed {
        builder.with_native_roots()?
    } else {
        builder.with_root_certificates(rustls::RootCertStore::empty())
    };
    Ok(builder.with_no_client_auth())
}

/// Turns the request's target into the upstream's, and names the upstream as its host.
fn address(config: &UpstreamConfig, request: &mut Request<RequestBody>) -> Result<(), ProxyError> {
    let prefix = config.url.path().trim_end_matches('/');
    let target = match request.uri().path_and_query() {
        Some(target) if prefix.is_empty() => Ok(target.clone()),
        target => format!("{prefix}{}", target.map_or("/", PathAndQuery::as_str)).try_into(),
    };
    let not_valid =
        |error| ProxyError::new(ErrorKind::InvalidRequest, "the path is not valid").with_source(error);
    let mut parts = uri::Parts::default();
    parts.scheme = config.url.scheme().cloned().or(Some(Scheme::HTTP));
    parts.authority = config.url.authority().cloned();
    parts.path_and_query = Some(target.map_err(|error| not_valid(http::Error::from(error)))?);
    let uri = Uri::from_parts(parts).map_err(|error| not_valid(error.into()))?;
    if !(config.preserve_host && request.headers().contains_key(header::HOST)) {
        let authority = config.url.authority().map_or("", Authority::as_str);
        let host = HeaderValue::from_str(authority)
            .map_err(|error| ProxyError::internal("the upstream's address is no host").with_source(error))?;
        request.headers_mut().insert(header::HOST, host);
    }
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

/// The error of an answer that did not begin within `limit`.
#[track_caller]
pub fn timed_out(limit: Duration) -> ProxyError {
    ProxyError::new(ErrorKind::UpstreamTimeout, "the upstream did not answer in time")
        .with_detail("timeout_ms", limit.as_millis() as u64)
        .over(Limit::FirstByteTimeout)
}

fn failure(config: &UpstreamConfig, error: hyper_util::client::legacy::Error) -> ProxyError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if current.is::<ConnectTimeout>() {
            return ProxyError::new(ErrorKind::UpstreamTimeout, "no connection to the upstream in time")
                .with_detail("timeout_ms", config.connect_timeout.as_millis() as u64)
                .over(Limit::ConnectTimeout)
                .with_source(error);
        }
        cause = current.source();
    }
    if error.is_connect() {
        ProxyError::new(ErrorKind::UpstreamConnection, "no connection to the upstream").with_source(error)
    } else {
        ProxyError::new(ErrorKind::UpstreamProtocol, "the upstream broke off before it had answered")
            .with_source(error)
    }
}

/// The error of a response that did not come whole.
#[track_caller]
pub fn cut(error: &BodyError) -> ProxyError {
    let cause = error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
    let cut = |kind| ProxyError::new(kind, "the upstream's answer was cut off").with_source(cause);
    match error {
        BodyError::TimedOut(_) => cut(ErrorKind::UpstreamTimeout).over(Limit::IdleTimeout),
        // It is this reader's alone, and says what it is.
        BodyError::Failed(error) => {
            ProxyError { limit: error.limit, ..ProxyError::new(error.kind, error.message.clone()) }
        }
        _ => cut(ErrorKind::UpstreamProtocol),
    }
}

/// A connector whose every step, the TLS handshake too, has one deadline.
#[derive(Clone, Debug)]
struct Connector {
    inner: HttpsConnector<HttpConnector>,
    timeout: Duration,
}

/// A connection was not made in time.
#[derive(Debug)]
struct ConnectTimeout;

impl fmt::Display for ConnectTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was not made in time")
    }
}

impl Error for ConnectTimeout {}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let limit = self.timeout;
        Box::pin(async move { timeout(limit, connecting).await.map_err(|_| ConnectTimeout)? })
    }
}
