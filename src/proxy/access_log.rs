//! What the log gets of a request: its steps, its errors, and one `http_response` line at its end.
//!
//! The end is whichever comes first: the body has gone, the client has left, or the handler panicked. So the
//! line is written by what is dropped then, an [`AbortGuard`] before there is a response and a [`LoggedBody`]
//! after that.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Method, StatusCode, request::Parts};
use http_body::{Body, Frame, SizeHint};
use serde::Serialize;

use crate::{
    cache::{
        price::{Amount, Currency},
        route::{Route, kind::Kind},
        semantic::rounded_similarity,
        status::CacheReport,
    },
    http::forwarded,
    proxy::{
        body::BodyError,
        coalesce::head::{self, End},
        error::ProxyError,
        exchange::Exchange,
        model_call::ModelCall,
        response::body::ResponseBody,
        trace::{RequestEnd, RequestTrace},
        upstream,
    },
    reason::Reason,
    request::dispatch::HealthPage,
    telemetry::{log::events, stats::Ended, watch::event::RequestEvent},
};

/// A longer end word of an upstream's is not logged, in bytes.
const LONGEST_WORD: usize = 64;

/// The metadata of a `performance` line.
#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
}

impl Exchange {
    /// Logs that the request with this head has come.
    pub(crate) fn log_request(&self, parts: &Parts) {
        if self.is_silent {
            return;
        }
        let trusted = &self.live.config.trusted_proxies;
        events::http_request(&events::HttpRequest {
            request_id: &self.id,
            method: self.method.as_str(),
            path: &self.path,
            client_ip: forwarded::client_ip(self.caller.peer.address, trusted, &parts.headers),
            query: parts.uri.query(),
        });
    }

    /// Logs how long a step took.
    pub(crate) fn log_step(&self, operation: events::Operation, duration: Duration, success: bool) {
        let request_id = Some(&*self.id);
        let metadata = &Metadata { query: self.question_text.as_deref() };
        events::performance(&events::Performance { request_id, operation, duration, success, metadata });
        self.trace_step(operation, duration, success);
    }

    /// Logs the word that the answer ended with, which is none of those that end an answer well. A word that
    /// is not plain is not logged: it may be a part of the answer.
    pub(crate) fn log_unknown_end(&self, word: &str) {
        #[derive(Serialize)]
        struct Ended<'a> {
            end: &'a str,
        }
        let is_plain = word.len() <= LONGEST_WORD
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        events::performance(&events::Performance {
            request_id: Some(&*self.id),
            operation: events::Operation::CacheStore,
            duration: Duration::ZERO,
            success: false,
            metadata: &Ended { end: if is_plain { word } else { "…" } },
        });
    }

    /// Counts and logs an error, with the chain of its causes. Each error is logged once, at the boundary.
    pub(crate) fn log_error(&self, error: &ProxyError) {
        if let Some(limit) = error.limit {
            self.live.shared.stats.limited(limit);
        }
        let mut context = error.details.clone();
        context.insert("method".to_owned(), self.method.as_str().into());
        context.insert("path".to_owned(), (&*self.path).into());
        let chain = events::exc_info(error);
        events::error(&events::ErrorEvent {
            request_id: Some(&self.id),
            error_type: error.kind.name(),
            error_message: &error.message,
            context: &context,
            exc_info: Some(&chain),
            module: error.at.file(),
            line: error.at.line(),
        });
    }

    /// Logs a call of a model, or one that a hit saved (`cached`). Without the model's name there is nothing to tell.
    pub(crate) fn log_llm_call(&self, call: &ModelCall, duration: Duration, cached: bool) {
        let ModelCall { model: Some(model), usage, cost } = call else { return };
        let currency = cost.and_then(|_| self.live.config.prices.currency());
        events::llm_call(&events::LlmCall {
            request_id: Some(&self.id),
            model,
            prompt_tokens: usage.prompt,
            completion_tokens: usage.completion,
            total_tokens: usage.total,
            cached_tokens: usage.cached,
            duration,
            cached,
            cost: cost.map(Amount::units),
            currency: currency.as_ref().map(Currency::as_str),
        });
    }

    /// Logs that the request ended without a response, under a status that no client gets, as nginx does.
    pub(crate) fn log_unanswered(&self, why: Unanswered) {
        let end = ResponseEnd { status: why as u16, sent: 0, cache: None, upstream_request_id: None };
        let duration = self.log_response(end, false);
        self.count_end(why as u16, duration, duration, None);
        let status = why as u16;
        self.trace_end(&RequestEnd { status, took: duration, is_whole: false, report: None, saved: None });
    }

    /// Counts how the request ended.
    fn count_end(&self, status: u16, duration: Duration, first_byte: Duration, report: Option<&CacheReport>) {
        self.live.shared.stats.here().end(&Ended {
            route: self.route.as_ref().map(|route| route.number).unwrap_or_default(),
            kind: report.and_then(|report| report.kind),
            cache: report.map(|report| report.status),
            status,
            duration,
            first_byte,
            age: report.and_then(|report| report.age),
        });
    }

    /// Logs how the request ended; returns how long it took.
    fn log_response(&self, end: ResponseEnd<'_>, success: bool) -> Duration {
        let duration = self.elapsed();
        if self.is_silent {
            return duration;
        }
        if self.live.shared.watch.is_read() {
            self.show_end(&end, duration);
        }
        let (trace_id, span_id) = self.trace.as_deref().and_then(RequestTrace::ids).unzip();
        events::http_response(&events::HttpResponse {
            request_id: &self.id,
            method: self.method.as_str(),
            path: &self.path,
            status_code: end.status,
            duration,
            bytes: end.sent,
            cache: end.cache,
            upstream_request_id: end.upstream_request_id,
            trace_id,
            span_id,
        });
        let slow = duration > self.live.config.log.slow;
        self.log_step(events::Operation::Request { slow }, duration, success);
        duration
    }

    /// Shows the operators who read along how the request ended.
    fn show_end(&self, end: &ResponseEnd<'_>, duration: Duration) {
        if HealthPage::from_request(&self.live.config.health_path, &self.method, &self.path).is_some() {
            return;
        }
        let cache = end.cache.as_ref();
        self.live.shared.watch.send(&RequestEvent {
            time: SystemTime::now(),
            method: self.method.as_str(),
            path: &self.path,
            status: end.status,
            cache: cache.map(|cache| cache.status),
            reason: cache.and_then(|cache| cache.reason),
            route: self.route.as_deref().map(Route::label),
            kind: cache.and_then(|cache| cache.kind),
            duration,
            bytes: end.sent,
            key: cache.and_then(|cache| cache.key),
            similarity: cache.and_then(|cache| cache.similarity),
        });
    }
}

/// What the last line of a request says.
struct ResponseEnd<'a> {
    status: u16,
    /// The body's bytes that were sent.
    sent: u64,
    cache: Option<events::CacheInfo<'a>>,
    upstream_request_id: Option<&'a str>,
}

/// Why a request has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    ClientStalled = 408,
    ClientLeft = 499,
    HandlerPanicked = 500,
}

/// Logs the end of a request whose client leaves, or whose handler panics, before there is a response.
#[derive(Debug)]
pub(crate) struct AbortGuard<'a> {
    exchange: &'a mut Exchange,
    is_answered: bool,
}

impl<'a> AbortGuard<'a> {
    pub(crate) const fn new(exchange: &'a mut Exchange) -> Self {
        Self { exchange, is_answered: false }
    }

    pub(crate) const fn exchange(&mut self) -> &mut Exchange {
        self.exchange
    }

    /// From here on, another line tells how the request ends.
    pub(crate) fn disarm(mut self) {
        self.is_answered = true;
    }
}

impl Drop for AbortGuard<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            let panics = std::thread::panicking();
            let why = if panics { Unanswered::HandlerPanicked } else { Unanswered::ClientLeft };
            self.exchange.log_unanswered(why);
        }
    }
}

/// What is logged once a response has gone.
#[derive(Debug)]
pub(crate) struct AccessRecord {
    pub(crate) exchange: Exchange,
    pub(crate) status: StatusCode,
    pub(crate) report: Option<CacheReport>,
    /// The id that the upstream gave the request, if it gave another one.
    pub(crate) upstream_request_id: Option<String>,
    /// The model call that a hit saved.
    pub(crate) saved: Option<ModelCall>,
}

/// A response's body. It logs the exchange once it has gone, or the client has.
#[derive(Debug)]
pub(crate) struct LoggedBody {
    body: ResponseBody,
    record: Box<AccessRecord>,
    sent: u64,
    expected: Option<u64>,
    is_whole: bool,
    /// How long the client has waited for the first byte, if more came after it.
    first_byte: Option<Duration>,
    /// What cuts the body off, held back once.
    cut: Option<BodyError>,
}

impl LoggedBody {
    pub(crate) fn new(body: ResponseBody, record: AccessRecord) -> Self {
        let expected = body.size_hint().exact();
        // A response to HEAD has no body that could be missing.
        let is_whole = record.exchange.method == Method::HEAD || body.is_end_stream();
        Self { body, record: Box::new(record), sent: 0, expected, is_whole, first_byte: None, cut: None }
    }

    fn log_response(&mut self) {
        if let (Some(reader), Some(report)) = (self.body.reader(), &mut self.record.report) {
            let reason = match reader.ended() {
                Some(End::Complete(outcome)) => head::outcome_reason(outcome),
                Some(End::Failed(_)) => Some(Reason::Truncated),
                None => None,
            };
            report.reason = report.reason.or(reason);
        }
        let AccessRecord { exchange, status, report, upstream_request_id, saved } = &*self.record;
        let detail = report.as_ref().and_then(CacheReport::found);
        let similar = report.as_ref().and_then(|report| report.similar.as_deref());
        let cache = report.as_ref().map(|report| events::CacheInfo {
            status: report.status.as_str(),
            kind: report.kind.map(Kind::as_str),
            key: report.key.as_ref(),
            age: report.age,
            ttl: report.ttl,
            reason: report.reason.map(|reason| reason.as_str()),
            detail: detail.as_deref(),
            route: exchange.route.as_deref().map(|route| route.label()),
            similarity: similar.map(|similar| rounded_similarity(similar.similarity)),
            original: similar.map(|similar| &similar.original),
        });
        let is_whole = self.is_whole || self.expected == Some(self.sent);
        let success = is_whole && !status.is_server_error();
        let upstream_request_id = upstream_request_id.as_deref();
        let end = ResponseEnd { status: status.as_u16(), sent: self.sent, cache, upstream_request_id };
        let duration = exchange.log_response(end, success);
        let first_byte = self.first_byte.unwrap_or(duration);
        exchange.count_end(status.as_u16(), duration, first_byte, report.as_ref());
        exchange.trace_end(&RequestEnd {
            status: status.as_u16(),
            took: duration,
            is_whole,
            report: report.as_ref(),
            saved: saved.as_ref(),
        });
        if let Some(call) = saved {
            exchange.log_llm_call(call, duration, true);
        }
    }
}

impl Body for LoggedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(cut) = self.cut.take() {
            return Poll::Ready(Some(Err(cut)));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let before = self.sent;
                self.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                // A body in one piece is over at once: its end says the same, and costs no look at the clock here.
                if before == 0 && self.sent > 0 && self.expected != Some(self.sent) {
                    self.first_byte = Some(self.record.exchange.elapsed());
                }
            }
            Poll::Ready(None) => self.is_whole = true,
            _ => {}
        }
        let Poll::Ready(Some(Err(error))) = polled else { return polled };
        // The fill logs a flight's own failure once for all readers.
        let is_logged =
            self.body.reader().is_some_and(|reader| matches!(reader.ended(), Some(End::Failed(_))));
        if !is_logged {
            self.record.exchange.log_error(&upstream::cut(&error));
        }
        // The server drops what it has not written once a body fails: what came before the cut goes out
        // first.
        self.cut = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for LoggedBody {
    fn drop(&mut self) {
        self.log_response();
    }
}
