//! A request's life, whole: every branch is on this page.
//!
//! ```text
//! handle → health page, or the route that covers it
//!   none, or one that is not cached → pass: streamed through both ways
//!   cached → body read → admitted? → lookup → fresh?
//!     yes → the stored answer
//!     no  → a fill asks the upstream, and this client reads along
//! ```

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::{
    admit::{self, Inquiry},
    body::{self, BodyError, ReadLimits, RequestBody, ResponseBody, Timed},
    dialect::{self, Served},
    entry::Entry,
    error::{ErrorBody, ErrorKind, ProxyError, unix_seconds},
    exchange::{self, Exchange, Observed, Record},
    fill::{self, Fill, unix_millis},
    flight::{End, Flight, Head},
    forwarded, guard, headers,
    health::Health,
    log::events::{self, Operation},
    normalize,
    policy::{self, Freshness, Reason},
    reply::{self, CacheReport, CacheStatus, Forward},
    route::{self, Route, Scope},
    state::{Live, Shared},
    stats::Limit,
    tunnel,
};

/// How long a response's head waits for a short answer's end, so that `Cache-Status` can tell what became of it.
const VERDICT_WAIT: Duration = Duration::from_millis(50);

/// What an unfinished answer keeps for its readers, in bytes.
const MAX_BUFFER: usize = 8 * 1024 * 1024;

/// The proxy.
#[derive(Debug)]
pub struct Proxy {
    /// What lasts.
    pub shared: Arc<Shared>,
    /// What a reload replaces.
    pub live: ArcSwap<Live>,
    /// The health page.
    pub health: Health,
}

/// A response on its way, before what all responses get.
struct Reply {
    response: Response<ResponseBody>,
    report: Option<CacheReport>,
    hit: Option<Arc<Entry>>,
}

impl Reply {
    const fn new(response: Response<ResponseBody>, report: Option<CacheReport>) -> Self {
        Self { response, report, hit: None }
    }
}

/// Why there is no reply.
enum Failure {
    /// The caller is told, and the log.
    Told(ProxyError, Option<CacheReport>),
    /// The caller is told; the fill that failed has told the log.
    Fill(Arc<ProxyError>, Option<CacheReport>),
    /// The client stalled or left: its connection is closed without a word.
    Gone(BodyError),
}

impl From<ProxyError> for Failure {
    fn from(error: ProxyError) -> Self {
        Self::Told(error, None)
    }
}

/// A stored answer, as far as it is of use to a request.
enum Lookup {
    Hit(Arc<Entry>, Served, CacheReport),
    Miss(Forward),
}

impl Proxy {
    /// Answers one request.
    ///
    /// # Errors
    /// Where the client stalled or left: the connection is to be closed.
    pub async fn handle(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Observed>, BodyError> {
        let live = self.live.load_full();
        let mut exchange = self.begin(&live, &request, peer.ip());
        events::http_request(&events::HttpRequest {
            request_id: &exchange.id,
            method: exchange.method.as_str(),
            path: &exchange.path,
            client_ip: forwarded::client_ip(peer.ip(), &live.config.trusted_proxies, request.headers()),
            query: request.uri().query(),
        });
        // Over HTTP/2 the host is in the target alone.
        if request.version() == Version::HTTP_2
            && let (None, Some(host)) = (request.headers().get(header::HOST), request.uri().authority())
            && let Ok(host) = HeaderValue::from_str(host.as_str())
        {
            request.headers_mut().insert(header::HOST, host);
        }
        match self.answer(&live, &mut exchange, request).await {
            Ok(reply) => Ok(self.finish(exchange, reply)),
            Err(Failure::Told(error, report)) => {
                // What the caller asked for is no fault.
                if error.kind != ErrorKind::NotCached {
                    exchange.failed(&error);
                }
                let response = error_response(&exchange, &error);
                Ok(self.finish(exchange, Reply::new(response, report)))
            }
            Err(Failure::Fill(error, report)) => {
                let response = error_response(&exchange, &error);
                Ok(self.finish(exchange, Reply::new(response, report)))
            }
            Err(Failure::Gone(error)) => {
                if matches!(error, BodyError::TimedOut(_)) {
                    self.shared.stats.limited(Limit::BodyTimeout);
                }
                Err(error)
            }
        }
    }

    fn begin(&self, live: &Live, request: &Request<Incoming>, peer: IpAddr) -> Exchange {
        Exchange {
            id: exchange::request_id(request.headers()),
            method: request.method().clone(),
            path: request.uri().path().into(),
            started: Instant::now(),
            peer,
            slow: live.config.log.slow,
            question: None,
            stats: Arc::clone(&self.shared.stats),
        }
    }

    async fn answer(
        &self,
        live: &Arc<Live>,
        exchange: &mut Exchange,
        request: Request<Incoming>,
    ) -> Result<Reply, Failure> {
        let (mut parts, body) = request.into_parts();
        guard::check(&parts).map_err(|fault| ProxyError::new(ErrorKind::InvalidRequest, fault))?;
        if let Some(response) = self.health.page(&live.config, &self.shared, &parts).await {
            return Ok(Reply::new(response, None));
        }
        let upgrade = guard::upgrade(&parts.headers).map(str::to_owned);
        let covering = live.routes.iter().find(|route| route.pattern.matches(&parts.method, &exchange.path));
        let route = match covering {
            Some(route) if route.cache && upgrade.is_none() => Arc::clone(route),
            _ => return self.pass(live, exchange, parts, body, upgrade).await,
        };
        let limits = &live.config.limits;
        let limits = ReadLimits { bytes: limits.max_body, pause: limits.body_timeout };
        let body = match body::read(body, limits).await {
            Ok(body) => body,
            Err(BodyError::TooLarge(limit)) => return Err(too_large(limit).into()),
            Err(error) => return Err(Failure::Gone(error)),
        };
        headers::remove_hop_by_hop(&mut parts.headers);
        match admit::admit(&route, &parts, &body, &live.terms) {
            Some(inquiry) => self.cached(live, exchange, route, inquiry, parts, body).await,
            None => self.forward(live, exchange, parts, RequestBody::Full(Some(body)), None).await,
        }
    }

    /// A request that a route covers.
    async fn cached(
        &self,
        live: &Arc<Live>,
        exchange: &mut Exchange,
        route: Arc<Route>,
        inquiry: Inquiry,
        parts: Parts,
        body: Bytes,
    ) -> Result<Reply, Failure> {
        exchange.question.clone_from(&inquiry.question);
        let report = match (inquiry.bypass, &inquiry.key) {
            (None, Some(key)) => match self.lookup(exchange, &route, &inquiry, key).await {
                Lookup::Hit(entry, served, report) => return Ok(self.hit(exchange, entry, served, report)),
                Lookup::Miss(forward) => {
                    let report = CacheReport::forwarded(
                        CacheStatus::Miss,
                        route.kind,
                        Some(key.clone()),
                        forward,
                        None,
                    );
                    if inquiry.directives.only_if_cached {
                        let report = CacheReport { forward: None, ..report };
                        let error = ProxyError::new(ErrorKind::NotCached, "the answer is not in the cache");
                        return Err(Failure::Told(error, Some(report)));
                    }
                    report
                }
            },
            (reason, key) => {
                self.shared.stats.bypassed.increment();
                let report = CacheReport::bypass(route.kind, reason.unwrap_or(Reason::TtlZero));
                CacheReport { key: key.clone(), ..report }
            }
        };
        self.fill(live, exchange, route, inquiry, report, parts, body).await
    }

    /// Asks the store, and judges what it holds.
    async fn lookup(
        &self,
        exchange: &Exchange,
        route: &Route,
        inquiry: &Inquiry,
        key: &crate::key::Key,
    ) -> Lookup {
        let started = Instant::now();
        let found = self.shared.store.get(key).await;
        let failed = found.is_err();
        let lookup = match found.unwrap_or_default() {
            None => Lookup::Miss(Forward::UriMiss),
            Some(entry) => self.judge(route, inquiry, key, entry),
        };
        let counters = self.shared.stats.of(route.kind);
        let hit = matches!(lookup, Lookup::Hit(..));
        match (hit, failed) {
            (true, _) => counters.hits.increment(),
            (false, true) => self.shared.stats.errors.increment(),
            (false, false) => counters.misses.increment(),
        }
        exchange.performed(Operation::CacheLookup { hit }, started.elapsed(), !failed);
        lookup
    }

    fn judge(&self, route: &Route, inquiry: &Inquiry, key: &crate::key::Key, entry: Arc<Entry>) -> Lookup {
        // Under a shared scope, what was given to somebody with credentials is for those alone whose own are good.
        let needs_standing = entry.with_credentials && route.scope != Scope::Credential;
        let stands = |credentials| self.shared.standing.holds(&route.name, credentials, Instant::now());
        if needs_standing && !inquiry.credentials.as_ref().is_some_and(stands) {
            return Lookup::Miss(Forward::Miss);
        }
        let now = unix_millis(SystemTime::now());
        match policy::freshness(entry.stored_at, entry.ttl, now, &inquiry.directives) {
            Freshness::Fresh { age, left } => {
                let left = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
                let media =
                    entry.header(&header::CONTENT_TYPE).and_then(headers::media_type_of).unwrap_or_default();
                match dialect::serve(inquiry.dialect, entry.form, &media, &entry.body, &inquiry.ask) {
                    Some(served) => {
                        let report = CacheReport::hit(route.kind, key.clone(), age.as_secs(), left);
                        Lookup::Hit(entry, served, report)
                    }
                    None => Lookup::Miss(Forward::Miss),
                }
            }
            Freshness::Stale => Lookup::Miss(Forward::Stale),
            Freshness::TooOld => Lookup::Miss(Forward::Request),
        }
    }

    fn hit(&self, exchange: &Exchange, entry: Arc<Entry>, served: Served, report: CacheReport) -> Reply {
        let stats = &self.shared.stats;
        stats.saved(entry.took.saturating_sub(exchange.elapsed()));
        stats.tokens_saved.add(entry.usage.and_then(|usage| usage.total).unwrap_or(0));
        Reply { response: reply::from_entry(&entry, served), report: Some(report), hit: Some(entry) }
    }

    /// Has the upstream asked by a task of its own, and reads along.
    #[allow(clippy::too_many_arguments, reason = "the whole of a request goes into a fill")]
    async fn fill(
        &self,
        live: &Arc<Live>,
        exchange: &Exchange,
        route: Arc<Route>,
        inquiry: Inquiry,
        mut report: CacheReport,
        parts: Parts,
        body: Bytes,
    ) -> Result<Reply, Failure> {
        let method = parts.method.clone();
        let request = upstream_request(live, exchange, parts, RequestBody::from(body), true);
        let (flight, writer) = Flight::start(MAX_BUFFER);
        let reader = flight.reader();
        let fill = Fill {
            shared: Arc::clone(&self.shared),
            live: Arc::clone(live),
            route,
            exchange: exchange.clone(),
            inquiry,
        };
        self.shared.tasks.spawn(fill.run(request, writer));
        let head = match reader.head().await {
            Ok(head) => head,
            Err(error) => return Err(Failure::Fill(error, Some(report))),
        };
        if !fill::is_stream(&head.headers)
            && let Ok(End::Complete(outcome)) = timeout(VERDICT_WAIT, reader.end()).await
        {
            report.stored = Some(outcome.is_ok());
            report.reason = report.reason.or(outcome.err());
        }
        report.forward = report.forward.map(|(forward, _)| (forward, Some(head.status)));
        let len = content_length(&head).or_else(|| reader.complete_len()).filter(|_| method != Method::HEAD);
        let response = with_head(&head, ResponseBody::Flight(reader, len));
        let response = self.normalized(live, exchange, Some(report.kind), response).await;
        Ok(Reply::new(response, Some(report)))
    }

    /// A request that nothing is cached for: streamed through both ways, upgrades included.
    async fn pass(
        &self,
        live: &Arc<Live>,
        exchange: &Exchange,
        mut parts: Parts,
        body: Incoming,
        upgrade: Option<String>,
    ) -> Result<Reply, Failure> {
        let client = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        headers::remove_hop_by_hop(&mut parts.headers);
        let body = if body.is_end_stream() {
            RequestBody::Full(None)
        } else {
            RequestBody::Client(Timed::new(body, live.config.limits.body_timeout), Arc::default())
        };
        let upgrade = upgrade.zip(client);
        self.forward(live, exchange, parts, body, upgrade).await
    }

    async fn forward(
        &self,
        live: &Arc<Live>,
        exchange: &Exchange,
        parts: Parts,
        body: RequestBody,
        upgrade: Option<(String, hyper::upgrade::OnUpgrade)>,
    ) -> Result<Reply, Failure> {
        let mut request = upstream_request(live, exchange, parts, body, false);
        if let Some((protocol, _)) = &upgrade {
            tunnel::ask(request.headers_mut(), protocol);
        }
        let started = Instant::now();
        let sent = live.upstream.send(&live.config.upstream, request).await;
        exchange.performed(Operation::Upstream, started.elapsed(), sent.is_ok());
        let mut response = sent?;
        if let (StatusCode::SWITCHING_PROTOCOLS, Some((_, client))) = (response.status(), upgrade) {
            return Ok(Reply::new(tunnel::open(response, client), None));
        }
        reply::clean(response.headers_mut());
        let response = response.map(|body| ResponseBody::Upstream(Box::new(body)));
        Ok(Reply::new(self.normalized(live, exchange, None, response).await, None))
    }

    /// The upstream's own errors in sidecache's form, where that is set.
    async fn normalized(
        &self,
        live: &Live,
        exchange: &Exchange,
        kind: Option<route::Kind>,
        response: Response<ResponseBody>,
    ) -> Response<ResponseBody> {
        let is_error = response.status().is_client_error() || response.status().is_server_error();
        if live.config.normalize_errors && is_error {
            normalize::error(exchange, kind, live.config.environment == "production", response).await
        } else {
            response
        }
    }

    /// What every response gets.
    fn finish(&self, exchange: Exchange, reply: Reply) -> Response<Observed> {
        let Reply { mut response, report, hit } = reply;
        if let Some(report) = &report {
            report.write(response.headers_mut());
        }
        let headers = response.headers_mut();
        let elapsed = format!("{:.6}", exchange.elapsed().as_secs_f64());
        if let Ok(elapsed) = HeaderValue::from_str(&elapsed) {
            headers.insert(reply::X_PROCESS_TIME, elapsed);
        }
        let theirs =
            headers.get(reply::X_REQUEST_ID).map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
        if let (None, Ok(id)) = (&theirs, HeaderValue::from_str(&exchange.id)) {
            headers.insert(reply::X_REQUEST_ID, id);
        }
        let saved = hit.and_then(|entry| Some((entry.model.clone()?, entry.usage.unwrap_or_default())));
        let record = Record {
            status: response.status(),
            report,
            upstream_request_id: theirs.filter(|id| **id != *exchange.id),
            saved,
            exchange,
        };
        response.map(|body| Observed::new(body, record))
    }
}

/// The request as it goes upstream. `parts` are without the connection's headers.
fn upstream_request(
    live: &Live,
    exchange: &Exchange,
    mut parts: Parts,
    body: RequestBody,
    cacheable: bool,
) -> Request<RequestBody> {
    let headers = &mut parts.headers;
    // The length is the body's; `Expect` was answered here; the TTL was for us.
    for name in [header::CONTENT_LENGTH, header::EXPECT, policy::X_CACHE_TTL] {
        headers.remove(name);
    }
    if cacheable {
        headers.remove(header::ACCEPT_ENCODING);
    }
    forwarded::rewrite(headers, exchange.peer, &live.config.trusted_proxies, !cacheable);
    if let Ok(id) = HeaderValue::from_str(&exchange.id) {
        headers.insert(reply::X_REQUEST_ID, id);
    }
    Request::from_parts(parts, body)
}

fn with_head(head: &Head, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    response.headers_mut().clone_from(&head.headers);
    response
}

fn content_length(head: &Head) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(limit: usize) -> ProxyError {
    let message = format!("the request's body is larger than {limit} bytes");
    ProxyError::new(ErrorKind::FileTooLarge, message)
        .with_detail("max_body", limit as u64)
        .over(Limit::MaxBody)
}

fn error_response(exchange: &Exchange, error: &ProxyError) -> Response<ResponseBody> {
    let body = ErrorBody {
        error: error.kind.name(),
        message: &error.message,
        details: &error.details,
        path: &exchange.path,
        timestamp: unix_seconds(SystemTime::now()),
        request_id: &exchange.id,
    };
    let mut response = reply::json(error.kind.status(), body.to_json());
    match error.kind {
        ErrorKind::Overloaded => {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // The rest of such a request cannot be told from the next one, or is not worth reading.
        ErrorKind::InvalidRequest | ErrorKind::FileTooLarge => {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}
