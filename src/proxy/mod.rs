//! A request's life: every way that it may go is on this page.
//!
//! ```text
//! handle → health page, or the route that covers it
//!   no route, or one without cache → passthrough: streamed both ways
//!   a route with cache → body read → classified → inputs with an entry each? → batch: stored ones, a fill for the rest
//!     else → lookup → fresh?
//!     yes   → the stored answer
//!     stale → the stored answer, while a fill asks the upstream
//!     no    → a question in other words, near enough? the answer to that
//!             else a fill asks the upstream, and this client reads the answer while it comes
//! ```

pub(crate) mod accepted_credentials;
pub(crate) mod access_log;
pub(crate) mod batch;
pub(crate) mod body;
pub(crate) mod cached;
pub(crate) mod coalesce;
pub(crate) mod context;
pub(crate) mod cors;
pub(crate) mod error;
pub(crate) mod exchange;
pub(crate) mod fetch;
pub(crate) mod fill;
pub(crate) mod health;
pub(crate) mod insight;
pub(crate) mod invalidate;
pub(crate) mod jwks;
pub(crate) mod lookup;
pub(crate) mod model_call;
pub(crate) mod not_stored;
pub(crate) mod passthrough;
pub(crate) mod plan;
pub(crate) mod reload;
pub(crate) mod response;
pub(crate) mod revalidate;
pub(crate) mod semantic;
pub(crate) mod state;
pub(crate) mod trace;
pub(crate) mod upstream;

use std::{
    fmt::Write,
    sync::Arc,
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header, request::Parts};
use http_body::Body as _;

use crate::{
    cache::status::CacheReport,
    http::{headers::ValueWriter, validation},
    proxy::{
        access_log::{AbortGuard, AccessRecord, LoggedBody, Unanswered},
        body::{BodyError, ReadLimits},
        cached::Lookup,
        context::RequestContext,
        error::{ErrorBody, ErrorKind, ProxyError},
        exchange::Exchange,
        health::Health,
        invalidate::PendingInvalidation,
        lookup::hit,
        passthrough::error_format,
        plan::FillPlan,
        response::{Failure, Reply, body::ResponseBody},
        state::{Live, Shared},
        trace::RequestTrace,
    },
    reason::Reason,
    request::{
        CacheRequest,
        body::RawBody,
        client_body::ClientBody,
        connection::Connection,
        dispatch::{Dispatch, HealthPage, PassThrough, PassThroughReason},
    },
    telemetry::stats::Limit,
    time::{unix_seconds, write_seconds},
};

/// The proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// What lasts as long as the process.
    pub(crate) shared: Arc<Shared>,
    /// What a reload replaces.
    pub(crate) live: ArcSwap<Live>,
    /// The health page.
    pub(crate) health: Health,
}

impl Proxy {
    /// Answers one request.
    ///
    /// # Errors
    /// If the client stalled or left: the connection is closed.
    pub(crate) async fn handle(
        self: Arc<Self>,
        request: Request<ClientBody>,
        caller: Arc<Connection>,
    ) -> Result<Response<LoggedBody>, BodyError> {
        let (parts, body) = request.into_parts();
        // The head is large, and is moved several times.
        let mut parts = Box::new(parts);
        let mut exchange = self.begin(&parts, caller);
        exchange.log_request(&parts);
        // Over HTTP/2 the host is in the target alone.
        if parts.version == Version::HTTP_2
            && let (None, Some(host)) = (parts.headers.get(header::HOST), parts.uri.authority())
            && let Ok(host) = HeaderValue::from_str(host.as_str())
        {
            parts.headers.insert(header::HOST, host);
        }
        let mut guard = AbortGuard::new(&mut exchange);
        let answered = self.answer(guard.exchange(), parts, body).await;
        guard.disarm();
        match answered {
            Ok(reply) => Ok(self.finish(exchange, reply)),
            Err(Failure::Request(error, report)) => {
                // `only-if-cached` asks for this error: it is not logged as a failure.
                if error.kind != ErrorKind::NotCached {
                    exchange.log_error(&error);
                }
                let response = error_response(&exchange, &error);
                Ok(self.finish(exchange, Reply::new(response, report)))
            }
            Err(Failure::Fill(error, report)) => {
                let response = error_response(&exchange, &error);
                Ok(self.finish(exchange, Reply::new(response, report)))
            }
            Err(Failure::ClientGone(error)) => {
                if matches!(error, BodyError::TimedOut(_)) {
                    self.shared.stats.limited(Limit::BodyTimeout);
                    exchange.log_unanswered(Unanswered::ClientStalled);
                } else {
                    exchange.log_unanswered(Unanswered::ClientLeft);
                }
                Err(error)
            }
        }
    }

    fn begin(&self, parts: &Parts, caller: Arc<Connection>) -> Exchange {
        self.shared.stats.here().begin();
        let live = self.live.load_full();
        let is_probe =
            || HealthPage::from_request(&live.config.health_path, &parts.method, parts.uri.path()).is_some();
        let is_silent = !live.config.log.health && is_probe();
        let trace = if is_silent {
            None
        } else {
            RequestTrace::begin(&parts.headers, &self.shared, live.config.otel.sample)
        };
        Exchange {
            is_silent,
            trace,
            id: exchange::request_id(&parts.headers),
            method: parts.method.clone(),
            path: parts.uri.path().into(),
            started: Instant::now(),
            caller,
            origin: cors::origin(&parts.headers),
            question_text: None,
            route: None,
            live,
        }
    }

    async fn answer(
        &self,
        exchange: &mut Exchange,
        mut parts: Box<Parts>,
        body: ClientBody,
    ) -> Result<Reply, Failure> {
        let live = &exchange.live;
        let head = match exchange.caller.recall(&live.routes, &mut parts) {
            Some(head) => head,
            None => {
                validation::check(&parts)
                    .map_err(|fault| ProxyError::new(ErrorKind::InvalidRequest, fault))?;
                if self.shared.hop.is_in(&parts.headers) {
                    return Err(came_round().into());
                }
                match Dispatch::new(&live.config.health_path, &live.routes, &parts) {
                    Dispatch::Cacheable(route) => exchange.caller.read(route, &mut parts),
                    Dispatch::Health(page) => {
                        let response = self.health.page(page, live, &parts.method);
                        return Ok(Reply::new(response.await, None));
                    }
                    Dispatch::PassThrough(PassThrough { covering, upgrade, why }) => {
                        exchange.route = covering.cloned();
                        let invalidation = PendingInvalidation::for_request(
                            exchange,
                            &parts.headers,
                            covering.map(Arc::as_ref),
                        );
                        let passing = passthrough::pass(exchange, *parts, body, upgrade, invalidation);
                        return Box::pin(passthrough::reported(exchange, why, passing)).await;
                    }
                }
            }
        };
        let limits = &live.config.limits;
        if head.passes_unread(body.size_hint().lower(), limits.max_body) {
            exchange.route = Some(Arc::clone(&head.route));
            let passing = passthrough::pass(exchange, *parts, body, None, None);
            return Box::pin(passthrough::reported(exchange, PassThroughReason::TooLarge, passing)).await;
        }
        let limits = ReadLimits { bytes: limits.max_body, pause: limits.body_timeout };
        let caller = &exchange.caller;
        let body = match body::read(body, limits, || caller.half_close.needs_more()).await {
            Ok(body) => body,
            Err(BodyError::TooLarge(limit)) => return Err(too_large(limit).into()),
            Err(error) => return Err(Failure::ClientGone(error)),
        };
        let coding = head.coding;
        let decoded = coding.decode(&body, limits.bytes);
        let classified = {
            let raw = RawBody::received(&body, coding, decoded.as_ref());
            RequestContext::new(exchange, head, &parts, &raw)
        };
        let context = match classified {
            Ok(context) => context,
            Err((covering, why)) => {
                exchange.route.clone_from(&covering);
                let invalidation =
                    PendingInvalidation::for_request(exchange, &parts.headers, covering.as_deref());
                let passing = passthrough::forward(exchange, *parts, body.into(), None, invalidation);
                return Box::pin(passthrough::reported(exchange, why, passing)).await;
            }
        };
        let reply = self.answer_covered(&context, parts, ReadBody { sent: body, decoded }).await?;
        let CacheRequest { conditions, range, .. } = &context.cache_request;
        Ok(error_format::normalize_errors(exchange, reply)
            .await
            .not_modified_if(conditions)
            .slice_range(range.as_ref()))
    }

    /// A request that a route covers.
    async fn answer_covered(
        &self,
        context: &Arc<RequestContext>,
        mut parts: Box<Parts>,
        body: ReadBody,
    ) -> Result<Reply, Failure> {
        let mut plan = FillPlan::new(Arc::clone(context), &parts.headers);
        if let Some(batch) = &context.cache_request.batch {
            // Inputs may be cut out of it.
            if body.decoded.is_some() {
                parts.headers.remove(header::CONTENT_ENCODING);
            }
            let request = context.request(*parts, body.decoded.unwrap_or(body.sent));
            return Box::pin(batch::answer(plan, batch, request)).await;
        }
        let only_if_cached = context.cache_request.directives.only_if_cached;
        let kind = context.route.kind;
        let (request, report) = match (plan.bypass, plan.key.clone()) {
            (None, key) if context.cache_request.is_turn => {
                let report = CacheReport { key, ..CacheReport::bypass(kind, Reason::ConversationTurn) };
                if only_if_cached {
                    return Err(not_cached(report));
                }
                self.shared.stats.here().bypass(Some(kind), Reason::ConversationTurn);
                (context.request(*parts, body.sent), report)
            }
            (None, Some(key)) => match lookup::lookup(&mut plan, key.clone()).await {
                Lookup::Hit(found) => {
                    semantic::note_caller(context, &key);
                    return Ok(hit::found(context, found));
                }
                Lookup::Stale(found) => {
                    let stored = Arc::clone(&found.entry);
                    let reply = hit::found(context, found);
                    let mut request = context.request(*parts, body.sent);
                    revalidate::make_conditional(&mut plan, &mut request, Some(stored));
                    fetch::refresh(plan, request);
                    return Ok(reply);
                }
                Lookup::Miss(miss) => {
                    let key = plan.key.clone().unwrap_or(key);
                    let last_not_stored = self.shared.not_stored.last(key.id());
                    let mut report =
                        CacheReport { last_not_stored, ..CacheReport::miss(kind, key, miss.forward) };
                    if only_if_cached {
                        return Err(not_cached(report));
                    }
                    if plan.takes_similar(&miss)
                        && let Some(similar) =
                            Box::pin(semantic::answer(&mut plan, &parts, body.text())).await
                    {
                        if similar.is_audited {
                            fetch::audit(plan, context.request(*parts, body.sent));
                        }
                        return Ok(similar.reply);
                    }
                    plan.fallback = miss.fallback.map(Box::new);
                    plan.fingerprints = self.shared.insight.missed(context, &parts, body.text());
                    let mut request = context.request(*parts, body.sent);
                    if context.cache_request.range.is_some() {
                        report = plan.ask_for_part(&mut request, report);
                    } else {
                        revalidate::make_conditional(&mut plan, &mut request, miss.stored);
                    }
                    (request, report)
                }
            },
            (reason, key) => {
                let reason = reason.unwrap_or(Reason::TtlZero);
                self.shared.stats.here().bypass(Some(kind), reason);
                let report = CacheReport { key, ..CacheReport::bypass(kind, reason) };
                (context.request(*parts, body.sent), report)
            }
        };
        Box::pin(fetch::ask(plan, report, request)).await
    }

    /// What every response gets.
    fn finish(&self, exchange: Exchange, reply: Reply) -> Response<LoggedBody> {
        let Reply { mut response, report, saved } = reply;
        let (headers, mut values) = (response.headers_mut(), ValueWriter::default());
        headers.reserve(response::MAX_ADDED_HEADERS);
        if let Some(report) = &report {
            report.write(headers, &mut values);
        }
        let elapsed = exchange.elapsed();
        if let Some(seconds) = values.value(|text| write_seconds(elapsed, text)) {
            headers.insert(response::X_PROCESS_TIME, seconds);
        }
        let upstream_id =
            headers.get(response::X_REQUEST_ID).map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
        if let (None, Some(id)) = (&upstream_id, values.value(|text| text.write_str(&exchange.id))) {
            headers.insert(response::X_REQUEST_ID, id);
        }
        let record = AccessRecord {
            status: response.status(),
            report,
            upstream_request_id: upstream_id.filter(|id| **id != *exchange.id),
            saved,
            exchange,
        };
        response.map(|body| LoggedBody::new(body, record))
    }
}

/// A client's body, and what it says if it came compressed.
struct ReadBody {
    sent: Bytes,
    decoded: Option<Bytes>,
}

impl ReadBody {
    fn text(&self) -> &Bytes {
        self.decoded.as_ref().unwrap_or(&self.sent)
    }
}

fn not_cached(report: CacheReport) -> Failure {
    let error = ProxyError::new(ErrorKind::NotCached, "the answer is not in the cache");
    Failure::Request(error, Some(CacheReport { forward: None, ..report }))
}

fn came_round() -> ProxyError {
    let message = "the request has come round: upstream.url leads back to this sidecache";
    ProxyError::new(ErrorKind::LoopDetected, message)
}

fn too_large(limit: usize) -> ProxyError {
    let message = format!("the request's body is larger than {limit} bytes");
    ProxyError::new(ErrorKind::FileTooLarge, message)
        .with_detail("max_body", limit as u64)
        .with_limit(Limit::MaxBody)
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
    let mut response = response::json(error.kind.status(), body.to_json());
    match error.kind {
        ErrorKind::Overloaded => {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // Unread bytes could be taken for the next request: the connection closes.
        ErrorKind::InvalidRequest | ErrorKind::FileTooLarge => {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    if let Some(origin) = &exchange.origin {
        exchange.live.shared.cors.add_to(origin, response.headers_mut());
    }
    response
}
