//! A miss: the request leads a fill of its own, or follows a running one.
//!
//! The leader works on its fill until there is something to give to the client; then a task of its own takes the fill
//! over ([`DetachOnDrop`]), so that the fill does not depend on how fast its client reads, or whether it stays.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Request, Response, header};
use tokio::time::{timeout, timeout_at};

use crate::{
    cache::{
        invalidation::Dependencies,
        policy,
        route::Route,
        status::{CacheReport, CacheStatus},
    },
    dialect::Edit,
    http::sse::Framing,
    proxy::{
        body::RequestBody,
        coalesce::{
            detach::DetachOnDrop,
            flight::{FlightMeta, FlightReader},
            head::{self, AnswerSource, End, Head, Shareable},
            registry::{JoinRequest, Joinable, Role, Start},
        },
        context::RequestContext,
        fill::{Fill, Purpose},
        lookup::hit,
        plan::FillPlan,
        response::{self, Failure, Reply, body::ResponseBody, filtered::Filtered},
    },
    telemetry::stats::Limit,
};

/// How long a response's head waits for the end of a short answer, so that `Cache-Status` can say whether it is stored.
const VERDICT_WAIT: Duration = Duration::from_millis(50);

/// How long a stream's head waits for its first event.
const FIRST_EVENT_WAIT: Duration = Duration::from_millis(1);

/// Gets the answer from the upstream with `request`, or from a running fill. `report` says how the lookup went.
///
/// # Errors
/// If there is no answer, or it does not begin in time.
pub(crate) async fn ask(
    plan: FillPlan,
    report: CacheReport,
    request: Request<RequestBody>,
) -> Result<Reply, Failure> {
    plan.context.exchange.caller.half_close.waits_elsewhere();
    match plan.fallback {
        None => ask_once_or_twice(plan, report, request).await,
        Some(_) => Box::pin(ask_or_serve_stale(plan, report, request)).await,
    }
}

/// Asks, and serves the stale answer if that fails.
async fn ask_or_serve_stale(
    plan: FillPlan,
    report: CacheReport,
    request: Request<RequestBody>,
) -> Result<Reply, Failure> {
    let context = Arc::clone(&plan.context);
    let Some(stale) = plan.fallback.clone() else { return ask_once_or_twice(plan, report, request).await };
    match ask_once_or_twice(plan, report, request).await {
        Ok(reply) if stale.for_errors && policy::is_failure(reply.response.status()) => {
            Ok(hit::instead(&context, stale.found, Some(reply.response.status())))
        }
        Err(Failure::Request(..) | Failure::Fill(..)) => Ok(hit::instead(&context, stale.found, None)),
        otherwise => otherwise,
    }
}

/// Asks the upstream in the background, unless a fill is running already or failed lately.
pub(crate) fn refresh(plan: FillPlan, request: Request<RequestBody>) {
    let Some(key) = &plan.key else { return };
    let id = (key.id(), plan.context.cache_request.ask.upstream_form.id);
    if plan.context.cache_request.directives.only_if_cached || !plan.shared().in_flight.may_refresh(&id) {
        return;
    }
    if let Role::Leader(Start { writer, guard, .. }) = join(&plan, Purpose::Refresh) {
        let tasks = plan.shared().tasks.clone();
        tasks.spawn(Fill::new(plan, Purpose::Refresh, guard).run(request, writer));
    }
}

/// Asks the upstream in the background what was answered by meaning already. Nobody joins this call.
pub(crate) fn audit(plan: FillPlan, request: Request<RequestBody>) {
    let Start { writer, .. } = Start::alone(meta(&plan, false));
    let tasks = plan.shared().tasks.clone();
    tasks.spawn(Fill::new(plan, Purpose::Audit, None).run(request, writer));
}

async fn ask_once_or_twice(
    mut plan: FillPlan,
    report: CacheReport,
    request: Request<RequestBody>,
) -> Result<Reply, Failure> {
    let deadline = plan.context.deadline();
    for second in [false, true] {
        let purpose = if second { Purpose::SecondAnswer } else { Purpose::Answer };
        let role = join(&plan, purpose);
        if !matches!(role, Role::Leader(_)) {
            // Its own leader, or other replicas, would wait for this lease.
            plan.early_lease = None;
        }
        let reader = match role {
            Role::Leader(start) => return Box::pin(leader_reply(plan, report, request, start)).await,
            Role::Follower(reader) => reader,
            Role::Alone => break,
            Role::Overflow => {
                plan.shared().stats.limited(Limit::MaxFollowers);
                break;
            }
        };
        // Nobody waits for a third fill, and nobody with a stale answer for a second one.
        let last = second || reader.meta().second || plan.fallback.is_some();
        match timeout_at(deadline, reader.shared_head()).await {
            Err(_) => return Err(Failure::Request(plan.context.too_late(), Some(report))),
            Ok(Err(error)) if last => return Err(Failure::Fill(error, Some(report))),
            Ok(Ok(Some(head)))
                if matches!(head.shareable, Shareable::Open | Shareable::Judged)
                    || (last && head.shareable == Shareable::Failed) =>
            {
                return Ok(follower_reply(&plan, report, &head, reader));
            }
            Ok(Ok(None)) => break,
            Ok(Err(_) | Ok(Some(_))) => {}
        }
    }
    let start = Start::alone(meta(&plan, false));
    Box::pin(leader_reply(plan, report, request, start)).await
}

fn meta(plan: &FillPlan, second: bool) -> FlightMeta {
    let bound = plan.live().config.coalesce.max_buffer;
    let with_credentials = plan.context.cache_request.credentials.is_some();
    let began = plan.shared().store.invalidations().last();
    FlightMeta { bound, with_credentials, second, began }
}

/// Joins the flight of the request's key, or begins one.
fn join(plan: &FillPlan, purpose: Purpose) -> Role {
    let cache_request = &plan.context.cache_request;
    // A bypass is not coalesced, nor is a request that forbids to reuse its answer.
    let (None, Some(key), false) = (plan.bypass, &plan.key, plan.context.is_head()) else {
        return Role::Alone;
    };
    if cache_request.directives.no_cache || cache_request.directives.ttl.is_some_and(|ttl| ttl.is_zero()) {
        return Role::Alone;
    }
    let request = JoinRequest {
        id: (key.id(), cache_request.ask.upstream_form.id),
        meta: meta(plan, purpose == Purpose::SecondAnswer),
        since: plan.context.exchange.started,
        max_followers: plan.live().config.coalesce.max_followers,
        is_refresh: purpose == Purpose::Refresh,
    };
    let target_ids = cache_request.target_ids();
    let joinable = |meta: FlightMeta| {
        let invalidations = plan.shared().store.invalidations();
        let may_be_invalidated =
            |key| invalidations.may_be_invalidated(meta.began, Dependencies { key, target_ids: &target_ids });
        if plan.keys().iter().any(may_be_invalidated) {
            Joinable::Outdated
        } else if plan.context.may_read(meta.with_credentials) {
            Joinable::Yes
        } else {
            Joinable::NotAllowed
        }
    };
    plan.shared().in_flight.join(request, joinable)
}

/// Leads: asks the upstream, and reads the answer as the first of its readers.
async fn leader_reply(
    plan: FillPlan,
    mut report: CacheReport,
    request: Request<RequestBody>,
    start: Start,
) -> Result<Reply, Failure> {
    let Start { writer, reader, guard } = start;
    let context = Arc::clone(&plan.context);
    let is_head = context.is_head();
    let tasks = plan.shared().tasks.clone();
    let purpose = if reader.meta().second { Purpose::SecondAnswer } else { Purpose::Answer };
    let mut fill = DetachOnDrop::new(Fill::new(plan, purpose, guard).run(request, writer), tasks);
    let head = match fill.until(reader.head()).await {
        Ok(head) => head,
        Err(error) => return Err(Failure::Fill(error, Some(report))),
    };
    // A list of JSON comes element by element.
    let is_document = !context.cache_request.ask.form.list;
    if is_document && context.route.framing(&head.headers) == Framing::Whole {
        match timeout(VERDICT_WAIT, fill.until(reader.end())).await {
            Ok(End::Complete(outcome)) => {
                report.stored = Some(outcome.is_ok());
                report.reason = report.reason.or(head::outcome_reason(outcome));
            }
            // Nothing has gone to the client yet: it can get the error.
            Ok(End::Failed(error)) => return Err(Failure::Fill(error, Some(report))),
            Err(_) => {}
        }
    } else {
        // A first event that comes right behind the head is sent from here too: handing the fill over wakes another thread.
        // The head does not wait longer for it.
        let _ = timeout(FIRST_EVENT_WAIT, fill.until(reader.first_chunk())).await;
    }
    report.forward = report.forward.map(|(forward, _)| (forward, Some(head.status)));
    let mut edit = context.cache_request.ask.edit_for_caller();
    match &head.source {
        AnswerSource::Upstream => {}
        AnswerSource::StoredMeanwhile { slots } => {
            edit = edit.with_slots(slots, &context.cache_request.own_ids);
            context.shared().stats.here().coalesced.increment();
            report.status = CacheStatus::Coalesced;
            report.stored = None;
        }
        AnswerSource::Revalidated { age, ttl } => report = report.revalidated(*age, *ttl),
    }
    // From here on the body is read at the client's pace. The fill goes on in its own task.
    drop(fill);
    let mut headers = head.headers.clone();
    let edit = Some(edit).filter(|edit| edit.changes(context.route.framing(&headers)));
    if edit.is_some() {
        // They describe the bytes before the edit.
        for name in [header::CONTENT_LENGTH, header::ETAG] {
            headers.remove(name);
        }
    }
    let body = if is_head { ResponseBody::empty() } else { body(&context.route, &head, reader, edit) };
    let response = response(&head, headers, body);
    Ok(Reply::new(response, Some(report)))
}

/// Follows: reads the answer that another request leads.
fn follower_reply(plan: &FillPlan, report: CacheReport, head: &Head, reader: FlightReader) -> Reply {
    plan.shared().stats.here().coalesced.increment();
    let RequestContext { route, cache_request, .. } = &*plan.context;
    let ids = plan.ids().map(|ids| (ids, &route.opens));
    let mut edit = cache_request.ask.edit_for_follower(ids, &head.own_ids);
    if let AnswerSource::StoredMeanwhile { slots } = &head.source {
        edit = edit.with_slots(slots, &cache_request.own_ids);
    }
    let edit = Some(edit).filter(|edit| edit.changes(route.framing(&head.headers)));
    // As from the store: without the headers that are meant for the leader's client alone.
    let mut headers = response::headers_to_store(route, &head.headers);
    if plan.revalidation.is_none() {
        headers.remove(header::SET_COOKIE);
    }
    // Each follower of a shared 4xx gets its `Retry-After`.
    if let (true, Some(after)) = (head.status.is_client_error(), head.headers.get(header::RETRY_AFTER)) {
        headers.insert(header::RETRY_AFTER, after.clone());
    }
    let body = body(route, head, reader, edit);
    let response = response(head, headers, body);
    let forward = report.forward.map(|(forward, _)| (forward, Some(head.status)));
    Reply::new(response, Some(CacheReport { status: CacheStatus::Coalesced, forward, ..report }))
}

fn response(head: &Head, headers: HeaderMap, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = headers;
    response
}

fn body(route: &Route, head: &Head, reader: FlightReader, edit: Option<Edit>) -> ResponseBody {
    match edit {
        Some(edit) => {
            let framing = route.framing(&head.headers);
            ResponseBody::Filtered(Box::new(Filtered::new(reader, framing, edit)))
        }
        None => {
            let len = length(&head.headers).or_else(|| reader.complete_len());
            ResponseBody::Flight(reader, len)
        }
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
