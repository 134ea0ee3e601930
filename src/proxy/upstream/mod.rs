//! The client of the upstream: pooled connections, timeouts, and the bound on requests under way.
//!
//! hyper-util's pooled client sends a request over any connection that it does not know to be closed. In front of
//! services that close connections right after an answer, up to a third of all requests were a 502. So the pool is our
//! own, over hyper's connections: before one is used, a look at its socket (one `recv` with `MSG_PEEK`) drops it if it is
//! closed or has something to read. If it ends all the same before the first byte of a response, a request that may be
//! repeated ([`Repeat`]) is sent once more over a new one.

pub(crate) mod body;
mod connect;
mod connection;
pub(crate) mod failure;
pub(crate) mod headers;
pub(crate) mod hop;
mod io;
pub(crate) mod location;
mod pool;
mod repeat;
mod resolve;
mod tls;
mod tls_trouble;

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version, header,
    uri::{Authority, PathAndQuery},
};
use hyper::body::Incoming;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use self::{
    body::{UpstreamBody, UpstreamGuard},
    connect::{ConnectError, Connector},
    connection::Connection,
    failure::{FailureKind, failed},
    hop::Hop,
    pool::Pool,
    tls_trouble::TlsTrouble,
};
pub(crate) use self::{pool::PooledConnection, repeat::Repeat, tls::UpstreamTlsError};
use crate::{
    config::{Limits, UpstreamConfig},
    proxy::{
        body::{BodyError, RequestBody, Timed},
        error::{ErrorKind, ProxyError},
        upstream::location::OwnNames,
    },
    telemetry::stats::{Limit, Stats},
};

#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    connector: Connector,
    pool: Arc<Pool>,
    permits: Arc<Semaphore>,
    stats: Arc<Stats>,
    hop: Hop,
}

impl Upstream {
    /// `permits` bounds the requests under way; `stats` counts those that were sent twice; each names this process as
    /// `hop`.
    ///
    /// # Errors
    /// If the upstream is reached over TLS, and a file or the system's certificates are of no use.
    pub(crate) fn new(
        config: &UpstreamConfig,
        permits: Arc<Semaphore>,
        stats: Arc<Stats>,
        hop: Hop,
    ) -> Result<Self, UpstreamTlsError> {
        let connector = Connector::new(config, Arc::clone(&stats))?;
        Ok(Self { connector, pool: Arc::default(), permits, stats, hop })
    }

    /// Reads the files for TLS again if one of them has changed; says whether one has.
    ///
    /// # Errors
    /// If a new one is of no use, once for each change.
    pub(crate) fn refresh_tls(&self) -> Result<bool, UpstreamTlsError> {
        self.connector.refresh_tls()
    }

    /// When the certificate ends that the upstream is shown; `None` if there is none.
    pub(crate) fn certificate_expires(&self) -> Option<SystemTime> {
        self.connector.certificate_expires()
    }

    /// How many requests are under way, where the `limits` are those of the start.
    pub(crate) fn under_way(&self, limits: &Limits) -> u64 {
        limits.max_upstream_requests.saturating_sub(self.permits.available_permits()) as u64
    }

    /// Sends `request`, whose target is a path and query. Waits for the response's head.
    ///
    /// # Errors
    /// If too many requests are under way, or no proper response comes in time.
    pub(crate) async fn send(
        &self,
        config: &UpstreamConfig,
        mut request: Request<RequestBody>,
        repeat: Repeat,
    ) -> Result<Response<UpstreamBody>, ProxyError> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Err(ProxyError::new(
                ErrorKind::Overloaded,
                "too many requests are under way; try again shortly",
            )
            .with_limit(Limit::MaxUpstreamRequests));
        };
        address(config, &mut request)?;
        self.hop.add_to(request.headers_mut());
        let progress = match request.body() {
            RequestBody::Client(_, progress) => Arc::clone(progress),
            RequestBody::Full(_) => Arc::default(),
        };
        let own_names = OwnNames::new(config, request.headers());
        let wants_upgrade = request.headers().contains_key(header::UPGRADE);
        let (mut response, connection) = tokio::select! {
            sent = self.send_once_or_twice(config, request, repeat) => sent?,
            () = progress.upstream_exceeds(config.first_byte_timeout) => return Err(timed_out(config.first_byte_timeout)),
        };
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switches && !wants_upgrade {
            let message = "the upstream switched protocols without being asked";
            return Err(failed(FailureKind::Upgrade, message));
        }
        check_framing(response.headers()).map_err(|fault| failed(FailureKind::Framing, fault))?;
        own_names.rewrite(&mut response);
        let connection = (!switches).then(|| PooledConnection::new(connection, Arc::clone(&self.pool)));
        let guard = UpstreamGuard::new(connection, permit);
        Ok(response.map(|body| UpstreamBody::new(Timed::new(body, config.idle_timeout), guard)))
    }

    /// Sends `request` over a pooled connection. If that turns out to be closed, and the request may be
    /// repeated, sends it once more over a new one.
    async fn send_once_or_twice(
        &self,
        config: &UpstreamConfig,
        request: Request<RequestBody>,
        repeat: Repeat,
    ) -> Result<(Response<Incoming>, Connection), ProxyError> {
        let now = Instant::now();
        self.connector.refresh(now);
        let is_current = |connection: &Connection| self.connector.leads_to(connection);
        let Some(mut connection) = self.pool.take(now, is_current) else {
            return Box::pin(self.send_over_new(config, request)).await;
        };
        // hyper does not give back a request that it has begun to write.
        let copy = repeat.copy(&request);
        let failed = match connection.send(request).await {
            Ok(response) => return Ok((response, connection)),
            Err(failed) => *failed,
        };
        drop(connection);
        let Some(again) = failed.unsent.or(copy.filter(|_| !failed.received_any)) else {
            return Err(broken_off(config, failed.error));
        };
        self.stats.here().retried.increment();
        Box::pin(self.send_over_new(config, again)).await
    }

    async fn send_over_new(
        &self,
        config: &UpstreamConfig,
        request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Connection), ProxyError> {
        let connected = self.connector.connect(&config.url, config.connect_timeout).await;
        let mut connection = connected.map_err(|error| error.explain(config))?;
        match connection.send(request).await {
            Ok(response) => Ok((response, connection)),
            Err(failed) => Err(broken_off(config, failed.error)),
        }
    }

    /// Whether a connection to the upstream can be made within `limit`.
    pub(crate) async fn reachable(&self, config: &UpstreamConfig, limit: Duration) -> bool {
        matches!(timeout(limit, self.connector.stream(&config.url)).await, Ok(Ok(_)))
    }
}

/// Puts the upstream's prefix before the request's target, and the upstream's authority into its `Host`.
fn address(config: &UpstreamConfig, request: &mut Request<RequestBody>) -> Result<(), ProxyError> {
    let prefix = config.url.uri().path().trim_end_matches('/');
    let target = match request.uri().path_and_query() {
        Some(target) if prefix.is_empty() => Ok(target.clone()),
        target => format!("{prefix}{}", target.map_or("/", PathAndQuery::as_str)).try_into(),
    };
    let target = target.map_err(|error| {
        ProxyError::new(ErrorKind::InvalidRequest, "the path is not valid").with_source(error)
    })?;
    if !(config.preserve_host && request.headers().contains_key(header::HOST)) {
        let authority = config.url.uri().authority().map_or("", Authority::as_str);
        let host = HeaderValue::from_str(authority)
            .map_err(|error| ProxyError::internal("the upstream's address is no host").with_source(error))?;
        request.headers_mut().insert(header::HOST, host);
    }
    *request.uri_mut() = Uri::from(target);
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

/// Refuses a framing that two programs on the response's way may read in different ways.
///
/// # Errors
/// Says what is wrong.
fn check_framing(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    // "Ought to be handled as an error" (RFC 9112, section 6.3): another program may go by the other one.
    if headers.contains_key(header::CONTENT_LENGTH) {
        return Err("the upstream's answer has both a length and a transfer coding");
    }
    // The request asked for no other coding. It is not decoded here, so it would be passed on and stored as
    // the body.
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err("the upstream's answer has a transfer coding other than `chunked`");
    }
    Ok(())
}

#[track_caller]
pub(crate) fn timed_out(limit: Duration) -> ProxyError {
    ProxyError::new(ErrorKind::UpstreamTimeout, "the upstream did not answer in time")
        .with_detail("timeout_ms", limit.as_millis() as u64)
        .with_limit(Limit::FirstByteTimeout)
}

fn broken_off(config: &UpstreamConfig, error: hyper::Error) -> ProxyError {
    if let Some(trouble) = TlsTrouble::refused_later(&error) {
        return ConnectError::Tls(trouble, error.into()).explain(config);
    }
    let (kind, message) = if error.is_parse() {
        (FailureKind::Http, "what the upstream answered is not HTTP")
    } else {
        (FailureKind::Closed, "the upstream broke off before it had answered")
    };
    failed(kind, message).with_source(error)
}

#[track_caller]
pub(crate) fn cut(error: &BodyError) -> ProxyError {
    let cause = error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
    let message = "the upstream's answer was cut off";
    match error {
        BodyError::TimedOut(_) => ProxyError::new(ErrorKind::UpstreamTimeout, message)
            .with_source(cause)
            .with_limit(Limit::IdleTimeout),
        // The error of this reader alone: its message and its details say what happened.
        BodyError::Failed(error) => ProxyError {
            limit: error.limit,
            details: error.details.clone(),
            ..ProxyError::new(error.kind, error.message.clone())
        },
        _ => failed(FailureKind::Cut, message).with_source(cause),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn only_chunked_alone_is_a_framing() {
        for (lines, good) in [
            (&[][..], true),
            (&["content-length: 3"], true),
            (&["transfer-encoding: chunked"], true),
            (&["transfer-encoding: CHUNKED"], true),
            (&["transfer-encoding: gzip"], false),
            (&["transfer-encoding: gzip, chunked"], false),
            (&["transfer-encoding: chunked, gzip"], false),
            (&["transfer-encoding: chunked, chunked"], false),
            (&["transfer-encoding: chunked;a=b"], false),
            (&["transfer-encoding: x-chunked"], false),
            (&["transfer-encoding: identity"], false),
            (&["transfer-encoding: "], false),
            (&["transfer-encoding: \u{e4}chunked"], false),
            (&["transfer-encoding: chunked", "transfer-encoding: chunked"], false),
            (&["transfer-encoding: gzip", "transfer-encoding: chunked"], false),
            (&["content-length: 3", "transfer-encoding: chunked"], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                let (name, value) = line.split_once(": ").expect("a line");
                let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
                headers.append(HeaderName::from_bytes(name.as_bytes()).expect("a name"), value);
            }
            assert_eq!(check_framing(&headers).is_ok(), good, "{lines:?}");
        }
    }
}
