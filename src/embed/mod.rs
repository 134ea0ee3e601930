//! Requests for vectors: each input has an entry of its own. What is stored is filled in, and the upstream is asked
//! once for the rest.

mod stored;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;

use self::stored::Stored;
use crate::{
    ask,
    batch::Batch,
    body::{self, BodyError, RequestBody, ResponseBody},
    dialect::{Fault, Vectors},
    error::{ErrorKind, ProxyError},
    key::Key,
    log::events::Operation,
    question::{Fallback, Question},
    reply::{self, Failure, Reply, Saved},
    report::{CacheReport, CacheStatus, Forward},
    serve::{self, Found},
    stats::Limit,
    upstream,
};

/// Answers a request for vectors.
///
/// # Errors
/// Where the upstream has no answer, or one that is not a vector for each input it was asked for.
pub async fn embed(
    mut question: Question,
    batch: &Batch,
    request: Request<RequestBody>,
) -> Result<Reply, Failure> {
    let (stored, report) = look(&mut question, batch).await;
    let lacking = stored.lacking();
    if let Some(found) = stored.serves_all().then(|| stored.answer(batch.order())).flatten() {
        let reply = serve::found(&question, found);
        if !lacking.is_empty() {
            let (asked, request) = rest(&question, batch, &lacking, request);
            ask::refresh(asked, request);
        }
        return Ok(reply);
    }
    if question.inquiry.directives.only_if_cached && question.inquiry.bypass.is_none() {
        let error = ProxyError::new(ErrorKind::NotCached, "the answer is not in the cache");
        return Err(Failure::Told(error, Some(CacheReport { forward: None, ..report })));
    }
    let (mut asked, request) = rest(&question, batch, &lacking, request);
    asked.fallback = stored.answer(batch.order()).map(|found| Box::new(Fallback { found, for_errors: true }));
    let largest = asked.largest_answer();
    let reply = ask::ask(asked, report, request).await?;
    let is_told = reply.response.status() == StatusCode::OK
        && reply.report.as_ref().is_some_and(|report| report.status != CacheStatus::Stale);
    if is_told { complete(&question, batch, &stored, &lacking, reply, largest).await } else { Ok(reply) }
}

/// Looks all inputs up; what is told of the request if the upstream must be asked.
async fn look(question: &mut Question, batch: &Batch) -> (Stored, CacheReport) {
    let Question { route, inquiry, exchange, .. } = &*question;
    let shared = question.shared();
    let key = inquiry.key.clone().filter(|_| batch.keys().len() == 1);
    if let Some(reason) = inquiry.bypass {
        shared.stats.bypassed.increment();
        let report = CacheReport { key, ..CacheReport::bypass(route.kind, reason) };
        return (Stored::nothing(batch.keys().len()), report);
    }
    let started = Instant::now();
    let stored = Stored::look(question, batch.keys(), batch.order().len()).await;
    let (all, hits) = (batch.order().len(), stored.hits(batch.order()));
    let counters = shared.stats.of(route.kind);
    counters.hits.add(hits as u64);
    if stored.failed {
        shared.stats.errors.increment();
    } else {
        counters.misses.add((all - hits) as u64);
    }
    let took = started.elapsed();
    exchange.performed(Operation::CacheLookup { hit: hits == all }, took, !stored.failed);
    let forward = if hits > 0 { Forward::Partial } else { stored.forward };
    let inputs = (all > 1).then_some((hits, all));
    let report = CacheReport::forwarded(CacheStatus::Miss, route.kind, key, forward, None);
    question.patience = question.patience.saturating_sub(took);
    (stored, CacheReport { inputs, ..report })
}

/// The question for the inputs that are lacking, and the request that asks for them.
fn rest(
    question: &Question,
    batch: &Batch,
    lacking: &[usize],
    request: Request<RequestBody>,
) -> (Box<Question>, Request<RequestBody>) {
    let wanted = batch.wanted(lacking);
    let mut inquiry = question.inquiry.clone();
    inquiry.key = Key::together(wanted.keys());
    inquiry.ask.inputs = lacking.len();
    let asked = Box::new(Question { inquiry, wanted: Some(Arc::new(wanted)), ..question.clone() });
    let request = request.map(|body| match body {
        RequestBody::Full(Some(body)) => batch.request(&body, lacking).into(),
        other => other,
    });
    (asked, request)
}

/// Puts the answer of the upstream and what is stored together.
async fn complete(
    question: &Question,
    batch: &Batch,
    stored: &Stored,
    lacking: &[usize],
    reply: Reply,
    largest: usize,
) -> Result<Reply, Failure> {
    let Reply { response, report, hit } = reply;
    let (mut head, body) = response.into_parts();
    let told = match read(body, largest).await {
        Ok(told) => told,
        Err(error) => return Err(failure(error, report)),
    };
    let completed = match Vectors::read(&told, lacking.len()) {
        Ok(vectors) => stored.completed(batch.order(), lacking, &vectors).ok_or(Fault::Unknown),
        Err(fault) => Err(fault),
    };
    let body = match completed {
        Ok(body) => body,
        // The upstream's own error; or its answer to what the caller wrote, whatever that means.
        Err(fault)
            if fault == Fault::Error || (fault == Fault::Unknown && lacking.len() == batch.order().len()) =>
        {
            return Ok(Reply { response: Response::from_parts(head, told.into()), report, hit });
        }
        Err(fault) => return Err(Failure::Told(mismatch(fault, lacking.len()), report)),
    };
    if body != told {
        head.headers.remove(header::CONTENT_LENGTH);
        reply::forget_body(&mut head.headers);
    }
    let response = Response::from_parts(head, body.into());
    let Some(Found { entry, report: found, .. }) = stored.found(batch.order()) else {
        return Ok(Reply { response, report, hit });
    };
    let saved = Saved::by(&mut Arc::unwrap_or_clone(entry));
    question.shared().stats.tokens_saved.add(saved.usage.total.unwrap_or(0));
    let partial =
        |report| CacheReport { status: CacheStatus::Partial, age: found.age, ttl: found.ttl, ..report };
    Ok(Reply { response, report: report.map(partial), hit: Some(saved) })
}

/// The answer to a question for several inputs, where all of it has been stored since they were looked up.
pub async fn stored_meanwhile(question: &Question) -> Option<Found> {
    // A single one comes with the turn.
    let wanted = question.wanted.as_ref().filter(|wanted| wanted.keys().len() > 1)?;
    let stored = Stored::look(question, wanted.keys(), wanted.keys().len()).await;
    let order: Vec<_> = (0..wanted.keys().len()).collect();
    if stored.lacking().is_empty() { stored.answer(&order) } else { None }
}

/// Reads an answer of up to `largest` bytes.
async fn read(mut body: ResponseBody, largest: usize) -> Result<Bytes, BodyError> {
    let (mut chunks, mut len) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame?.into_data() else { continue };
        len += chunk.len();
        if len > largest {
            return Err(BodyError::TooLarge(largest));
        }
        chunks.push(chunk);
    }
    Ok(body::joined(chunks, len))
}

fn failure(error: BodyError, report: Option<CacheReport>) -> Failure {
    match error {
        BodyError::Failed(error) => Failure::Fill(error, report),
        BodyError::TooLarge(limit) => {
            let message = format!("the upstream's answer is larger than {limit} bytes");
            let error = ProxyError::new(ErrorKind::UpstreamProtocol, message).over(Limit::MaxEntry);
            Failure::Told(error, report)
        }
        error => Failure::Told(upstream::cut(&error), report),
    }
}

fn mismatch(fault: Fault, inputs: usize) -> ProxyError {
    let message = format!("the upstream answered {inputs} inputs with {fault}");
    ProxyError::new(ErrorKind::UpstreamProtocol, message)
}
