//! Requests that no route covers: streamed through both ways, upgrades included.

pub(crate) mod error_format;
pub(crate) mod preset_hint;
pub(crate) mod tunnel;

use std::{sync::Arc, time::Instant};

use http::{Request, StatusCode, Version, request::Parts};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    cache::status::CacheReport,
    http::headers,
    proxy::{
        body::{BodyError, RequestBody, Timed, UploadProgress},
        error::ProxyError,
        exchange::Exchange,
        insight,
        invalidate::PendingInvalidation,
        response::{self, Failure, Reply, body::ResponseBody},
        trace::UpstreamCall,
        upstream::{Repeat, headers::upstream_headers},
    },
    request::{client_body::ClientBody, connection::ConnectionSlot, dispatch::PassThroughReason},
    telemetry::{log::events::Operation, stats::UpstreamOutcome},
};

/// A client's wish to switch its connection to another protocol.
#[derive(Debug)]
pub(crate) struct Upgrade {
    protocol: String,
    client: OnUpgrade,
    slot: Option<ConnectionSlot>,
}

/// Says in the reply of `passing`, and counts, that the request is passed through, and why.
///
/// # Errors
/// Those of `passing`, with the same said in them.
pub(crate) async fn reported(
    exchange: &Exchange,
    why: PassThroughReason,
    passing: impl Future<Output = Result<Reply, Failure>>,
) -> Result<Reply, Failure> {
    let shared = &exchange.live.shared;
    shared.stats.here().bypass(None, why.reason());
    if why == PassThroughReason::Uncovered && !exchange.live.config.has_presets {
        shared.preset_hint.look(&exchange.method, &exchange.path);
    }
    let report = Some(CacheReport::pass(why.reason()));
    match passing.await {
        Ok(reply) => Ok(Reply { report, ..reply }),
        Err(Failure::Request(error, _)) => Err(Failure::Request(error, report)),
        Err(other) => Err(other),
    }
}

/// Streams a request to the upstream, and its response back.
///
/// # Errors
/// If the upstream gives no proper response.
pub(crate) async fn pass(
    exchange: &Exchange,
    mut parts: Parts,
    body: ClientBody,
    upgrade: Option<String>,
    invalidation: Option<PendingInvalidation>,
) -> Result<Reply, Failure> {
    let client = parts.extensions.remove::<OnUpgrade>();
    headers::remove_hop_by_hop(&mut parts.headers);
    let body = if body.is_end_stream() {
        RequestBody::empty()
    } else {
        // Whether the same question comes again is worth knowing where no route covers it.
        let is_question = exchange.route.is_none() && headers::is_json(&parts.headers);
        let progress = if is_question { UploadProgress::hashing() } else { UploadProgress::default() };
        RequestBody::Client(Timed::new(body, exchange.live.config.limits.body_timeout), Arc::new(progress))
    };
    let slot = parts.extensions.remove::<ConnectionSlot>();
    let upgrade = upgrade.zip(client).map(|(protocol, client)| Upgrade { protocol, client, slot });
    forward(exchange, parts, body, upgrade, invalidation).await
}

/// Sends a request to the upstream; returns its response once what the request invalidates is invalidated.
///
/// # Errors
/// If the upstream gives no proper response.
pub(crate) async fn forward(
    exchange: &Exchange,
    mut parts: Parts,
    body: RequestBody,
    upgrade: Option<Upgrade>,
    invalidation: Option<PendingInvalidation>,
) -> Result<Reply, Failure> {
    let live = &exchange.live;
    exchange.caller.half_close.waits_elsewhere();
    upstream_headers(exchange, &mut parts.headers, false);
    let mut request = Request::from_parts(parts, body);
    if let Some(Upgrade { protocol, .. }) = &upgrade {
        tunnel::request_upgrade(request.headers_mut(), protocol);
    }
    let question = insight::body_type(request.headers());
    let query_hash = request.uri().query().map_or(0, |query| xxh3_64(query.as_bytes()));
    let progress = match request.body() {
        RequestBody::Client(_, progress) => Some(Arc::clone(progress)),
        RequestBody::Full(_) => None,
    };
    let started = Instant::now();
    let repeat = Repeat::for_method(request.method(), invalidation.is_some());
    let sent = live.upstream.send(&live.config.upstream, request, repeat).await;
    let took = started.elapsed();
    exchange.log_step(Operation::Upstream, took, sent.is_ok());
    let outcome = sent.as_ref().map_or_else(ProxyError::outcome, |_| UpstreamOutcome::Ok);
    live.shared.stats.here().upstream_call(None, outcome, took);
    let status = sent.as_ref().ok().map(|response| response.status());
    let call = UpstreamCall { is_sent: true, status, ..UpstreamCall::default() };
    exchange.trace_call(&call, took, sent.as_ref().err().map(|error| error.kind.name()));
    if let Some(invalidation) = invalidation {
        invalidation.finish(sent.as_ref()).await;
    }
    if let (None, Ok(response)) = (&exchange.route, &sent) {
        let hash = match &progress {
            Some(progress) => progress.hash().map(|hash| hash ^ query_hash),
            None => Some(query_hash),
        };
        let head = (response.status(), response.headers());
        live.shared.insight.uncovered(exchange, question, head, hash);
    }
    if sent.is_err() && progress.is_some_and(|progress| progress.sender_failed()) {
        return Err(Failure::ClientGone(BodyError::TimedOut(live.config.limits.body_timeout)));
    }
    let mut response = sent?;
    exchange.record_cors(response.status(), response.headers());
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(Upgrade { client, slot, .. })) =
        (response.status(), upgrade)
    {
        return Ok(Reply::new(tunnel::open(response, client, slot, &live.shared.tasks), None));
    }
    response::strip_upstream_headers(response.headers_mut());
    // The version is each connection's own (RFC 9110, section 2.5).
    *response.version_mut() = Version::HTTP_11;
    let response = response.map(|body| ResponseBody::Upstream(Box::new(body)));
    Ok(error_format::normalize_errors(exchange, Reply::new(response, None)).await)
}
