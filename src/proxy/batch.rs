//! Batches: each input has an entry of its own. The stored answers come from the store; the missing inputs go upstream
//! in one request, and both are put together in the order of the inputs.

use std::{sync::Arc, time::Instant};

use http::{Request, Response, StatusCode, header};

use crate::{
    cache::status::{CacheReport, CacheStatus, Forward},
    dialect::{Answers, AnswersError, Ask},
    http::headers::forget_body,
    proxy::{
        body::{self, BodyError, RequestBody},
        cached::{Fallback, Found},
        error::{ErrorKind, ProxyError},
        fetch,
        lookup::{batch::Stored, hit},
        model_call::ModelCall,
        plan::FillPlan,
        response::{Failure, Reply},
        upstream::{
            self,
            failure::{FailureKind, failed},
        },
    },
    request::batch::Batch,
    telemetry::{
        log::events::Operation,
        stats::{Limit, LookupResult, StoreCall, StoreOutcome},
    },
};

/// Answers a batch.
///
/// # Errors
/// If the upstream gives no answer.
pub(crate) async fn answer(
    mut plan: FillPlan,
    batch: &Batch,
    request: Request<RequestBody>,
) -> Result<Reply, Failure> {
    let (stored, report) = look(&mut plan, batch).await;
    let lacking = stored.lacking();
    if let Some(found) = stored.serves_all().then(|| stored.answer(batch.order(), batch.limit())).flatten() {
        let reply = hit::found(&plan.context, found);
        if !lacking.is_empty() {
            let (asked, request) = rest(&plan, batch, &lacking, request);
            fetch::refresh(asked, request);
        }
        return Ok(reply);
    }
    if plan.context.cache_request.directives.only_if_cached && plan.bypass.is_none() {
        let error = ProxyError::new(ErrorKind::NotCached, "the answer is not in the cache");
        return Err(Failure::Request(error, Some(CacheReport { forward: None, ..report })));
    }
    // A request for all inputs, each once, is the client's own: it needs no second try.
    let asking = Asking { plan: &plan, batch, stored: &stored, lacking: &lacking };
    let own = (!asking.is_own_request()).then(|| copy(&request));
    let told = asking.answer(report.clone(), request).await?;
    match (told, own) {
        (BatchAnswer::Answer(reply) | BatchAnswer::Unfit(reply), None)
        | (BatchAnswer::Answer(reply), Some(_)) => Ok(reply),
        (BatchAnswer::Unfit(_), Some(request)) => ask_for_all(plan, batch, report, request).await,
    }
}

/// The upstream's answer.
enum BatchAnswer {
    /// The reply for the client.
    Answer(Reply),
    /// Not an answer for each input, or not of the kind of the stored ones: the reply as it came.
    Unfit(Reply),
}

/// Asks for all inputs in the client's own words, after the answer for the missing ones did not fit: the client gets what
/// the service says without a cache.
async fn ask_for_all(
    plan: FillPlan,
    batch: &Batch,
    report: CacheReport,
    request: Request<RequestBody>,
) -> Result<Reply, Failure> {
    let nothing = Stored::nothing(batch.keys().len());
    let lacking = nothing.lacking();
    let report = CacheReport { inputs: report.inputs.map(|(_, all)| (0, all)), ..report };
    let asking = Asking { plan: &plan, batch, stored: &nothing, lacking: &lacking };
    if asking.is_own_request() {
        let (BatchAnswer::Answer(reply) | BatchAnswer::Unfit(reply)) = asking.answer(report, request).await?;
        return Ok(reply);
    }
    // Nothing is stored of a request that repeats inputs, or that wants only some results.
    let bypass = Some(batch.shape().reason(AnswersError::Unread));
    fetch::ask(FillPlan { bypass, key: None, ..plan }, report, request).await
}

/// A copy of the request.
fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    // Batches are read whole.
    let body = request.body().copy().unwrap_or_else(RequestBody::empty);
    let mut copy = Request::new(body);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy
}

/// The missing inputs of a request, and what is stored of the others.
struct Asking<'a> {
    plan: &'a FillPlan,
    batch: &'a Batch,
    stored: &'a Stored,
    lacking: &'a [usize],
}

impl Asking<'_> {
    /// Asks for the missing ones, and puts the answers together.
    async fn answer(
        &self,
        report: CacheReport,
        request: Request<RequestBody>,
    ) -> Result<BatchAnswer, Failure> {
        let (mut asked, request) = rest(self.plan, self.batch, self.lacking, request);
        let stale = self.stored.answer(self.batch.order(), self.batch.limit());
        asked.fallback = stale.map(|found| Box::new(Fallback { found, for_errors: true }));
        let largest = asked.largest_answer();
        let reply = fetch::ask(asked, report, request).await?;
        if self.is_own_request() && !self.batch.shape().may_be_reordered() {
            return Ok(BatchAnswer::Answer(reply));
        }
        let is_told = reply.response.status() == StatusCode::OK
            && reply.report.as_ref().is_some_and(|report| report.status != CacheStatus::Stale);
        if is_told { self.complete(reply, largest).await } else { Ok(BatchAnswer::Answer(reply)) }
    }

    /// Whether the upstream is asked for all inputs and all results, in the client's own words.
    fn is_own_request(&self) -> bool {
        self.lacking.len() == self.batch.order().len() && self.batch.limit().is_none()
    }

    async fn complete(&self, reply: Reply, largest: usize) -> Result<BatchAnswer, Failure> {
        let Reply { response, report, saved } = reply;
        let (mut head, body) = response.into_parts();
        let told = match body::read_up_to(body, largest).await {
            Ok(told) => told,
            Err(error) => return Err(failure(error, report)),
        };
        let ask = Ask { inputs: self.lacking.len(), ..self.plan.context.cache_request.ask };
        let completed = match Answers::read(self.batch.shape(), &told, &ask) {
            Ok(answers) => {
                self.stored.completed(self.batch, self.lacking, &answers).ok_or(AnswersError::Unread)
            }
            Err(fault) => Err(fault),
        };
        let body = match completed {
            Ok(body) => body,
            Err(fault) => {
                let reply = Reply { response: Response::from_parts(head, told.into()), report, saved };
                // The service's own error is the answer.
                return Ok(if fault == AnswersError::Error {
                    BatchAnswer::Answer(reply)
                } else {
                    BatchAnswer::Unfit(reply)
                });
            }
        };
        if body != told {
            head.headers.remove(header::CONTENT_LENGTH);
            forget_body(&mut head.headers);
        }
        let response = Response::from_parts(head, body.into());
        let Some(Found { entry, report: found, .. }) = self.stored.found(self.batch.order()) else {
            return Ok(BatchAnswer::Answer(Reply { response, report, saved }));
        };
        let saved = ModelCall::saved(&self.plan.context, &mut Arc::unwrap_or_clone(entry));
        let partial =
            |report| CacheReport { status: CacheStatus::Partial, age: found.age, ttl: found.ttl, ..report };
        Ok(BatchAnswer::Answer(Reply { response, report: report.map(partial), saved: Some(saved) }))
    }
}

/// Looks all inputs up, and says what the report is if the upstream must be asked.
async fn look(plan: &mut FillPlan, batch: &Batch) -> (Stored, CacheReport) {
    let context = Arc::clone(&plan.context);
    let shared = context.shared();
    let key = plan.key.clone().filter(|_| batch.keys().len() == 1);
    if let Some(reason) = plan.bypass {
        shared.stats.here().bypass(Some(context.route.kind), reason);
        let report = CacheReport { key, ..CacheReport::bypass(context.route.kind, reason) };
        return (Stored::nothing(batch.keys().len()), report);
    }
    let started = Instant::now();
    let stored = Stored::look(plan, batch.shape(), batch.keys(), batch.order().len()).await;
    let (all, hits) = (batch.order().len(), stored.hits(batch.order()));
    let stats = shared.stats.here();
    let count = |result, lookups: usize| stats.lookups_that(context.route.kind, result).add(lookups as u64);
    let took = started.elapsed();
    let (others, outcome) = match stored.failed {
        true => (LookupResult::Error, StoreOutcome::Error),
        false => (LookupResult::Miss, StoreOutcome::Ok),
    };
    count(LookupResult::Hit, hits);
    count(others, all - hits);
    stats.store_call(StoreCall::Get, outcome, took);
    if stored.failed {
        stats.errors.increment();
    }
    context.exchange.log_step(Operation::CacheLookup { hit: hits == all }, took, !stored.failed);
    let forward = if hits > 0 { Forward::Partial } else { stored.forward };
    let inputs = (all > 1).then_some((hits, all));
    let report = CacheReport::forwarded(CacheStatus::Miss, Some(context.route.kind), key, forward, None);
    plan.store_budget = plan.store_budget.saturating_sub(took);
    let last_not_stored = report.key.as_ref().and_then(|key| shared.not_stored.last(key.id()));
    (stored, CacheReport { inputs, last_not_stored, ..report })
}

/// The plan and the request for the missing inputs.
fn rest(
    plan: &FillPlan,
    batch: &Batch,
    lacking: &[usize],
    request: Request<RequestBody>,
) -> (FillPlan, Request<RequestBody>) {
    let asked = plan.for_inputs(batch.wanted(lacking));
    let request = request.map(|body| match body.bytes() {
        Some(bytes) => batch.request(bytes, lacking).into(),
        None => body,
    });
    (asked, request)
}

fn failure(error: BodyError, report: Option<CacheReport>) -> Failure {
    match error {
        BodyError::Failed(error) => Failure::Fill(error, report),
        BodyError::TooLarge(limit) => {
            let message = format!("the upstream's answer is larger than {limit} bytes");
            let error = failed(FailureKind::TooLarge, message).with_limit(Limit::MaxEntry);
            Failure::Request(error, report)
        }
        error => Failure::Request(upstream::cut(&error), report),
    }
}
