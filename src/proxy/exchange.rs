//! One request and its response as the log and the counters see it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use serde::Serialize;

use crate::{
    cache::status::CacheReport,
    dialect::usage::Usage,
    proxy::{
        body::{BodyError, ResponseBody},
        coalesce::head::{self, End},
        cors::Origin,
        error::ProxyError,
        response::X_REQUEST_ID,
        state::Live,
    },
    reason::Reason,
    request::connection::Connection,
    telemetry::log::events,
};

/// A longer word of an upstream's is not logged, in bytes.
const LONGEST_WORD: usize = 64;

/// A request that is being answered.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// Its id.
    pub(crate) id: Arc<str>,
    /// Its method.
    pub(crate) method: Method,
    /// Its path, without the query.
    pub(crate) path: Arc<str>,
    /// When it came.
    pub(crate) started: Instant,
    /// Who it came from, directly.
    pub(crate) caller: Arc<Connection>,
    /// The page that it came from, where a browser says so.
    pub(crate) origin: Option<Origin>,
    /// The text of its question, where that is to be logged.
    pub(crate) question_text: Option<String>,
    /// The settings as it came, and what lasts.
    pub(crate) live: Arc<Live>,
}

impl Exchange {
    /// How long it has taken so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What the `performance` lines tell besides.
    pub(crate) fn metadata(&self) -> impl Serialize + '_ {
        #[derive(Serialize)]
        struct Metadata<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            query: Option<&'a str>,
        }
        Metadata { query: self.question_text.as_deref() }
    }

    /// Learns from the upstream's answer whether pages of its origin may read such answers.
    pub(crate) fn learn_cors(&self, status: StatusCode, headers: &HeaderMap) {
        if let Some(origin) = &self.origin {
            self.live.shared.cors.learn(origin, &self.method, status, headers);
        }
    }

    /// Logs how long a part of it took.
    pub(crate) fn performed(&self, operation: events::Operation, duration: Duration, success: bool) {
        let request_id = Some(&*self.id);
        let metadata = &self.metadata();
        events::performance(&events::Performance { request_id, operation, duration, success, metadata });
    }

    /// Logs the word that its answer ended with, which is none of those that end an answer well. What is no plain word is
    /// not logged: it may be a part of an answer.
    pub(crate) fn ended_with(&self, word: &str) {
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

    /// Logs how it ended; how long it took.
    fn ended(
        &self,
        status_code: u16,
        bytes: u64,
        cache: Option<events::CacheInfo<'_>>,
        upstream_request_id: Option<&str>,
        success: bool,
    ) -> Duration {
        let duration = self.elapsed();
        events::http_response(&events::HttpResponse {
            request_id: &self.id,
            method: self.method.as_str(),
            path: &self.path,
            status_code,
            duration,
            bytes,
            cache,
            upstream_request_id,
        });
        let slow = duration > self.live.config.log.slow;
        self.performed(events::Operation::Request { slow }, duration, success);
        duration
    }

    /// Logs that it ended without a response: by a status that none gets, as nginx has it.
    pub(crate) fn unanswered(&self, why: Unanswered) {
        self.ended(why as u16, 0, None, None, false);
    }

    /// Counts and logs an error, with the chain of its causes. Once, at the boundary.
    pub(crate) fn failed(&self, error: &ProxyError) {
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
}

/// Why a request has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// Its client stalled.
    Stalled = 408,
    /// Its client left before there was one.
    Left = 499,
    /// What was to answer it panicked.
    Panicked = 500,
}

/// Sees to it that the log tells how a request ended that is being answered, though its client leaves meanwhile.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    exchange: &'a mut Exchange,
    answered: bool,
}

impl<'a> Watch<'a> {
    /// Over `exchange`, until it is answered.
    pub(crate) const fn over(exchange: &'a mut Exchange) -> Self {
        Self { exchange, answered: false }
    }

    /// What is watched over.
    pub(crate) const fn exchange(&mut self) -> &mut Exchange {
        self.exchange
    }

    /// There is something to log besides.
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let panics = std::thread::panicking();
            self.exchange.unanswered(if panics { Unanswered::Panicked } else { Unanswered::Left });
        }
    }
}

/// The id of a request: the caller's where it is sane, else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> Arc<str> {
    let sane = |id: &&str| {
        (1..=128).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&b))
    };
    let given = headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok()).filter(sane);
    given.map_or_else(new_id, Into::into)
}

/// 32 hexadecimal digits, in plain steps: every request gets some, and the formatter takes longer.
fn new_id() -> Arc<str> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bytes = fastrand::u128(..).to_ne_bytes();
    let id: [u8; 32] = std::array::from_fn(|place| {
        let byte = bytes[place / 2];
        DIGITS[usize::from(if place % 2 == 0 { byte >> 4 } else { byte & 0xf })]
    });
    std::str::from_utf8(&id).unwrap_or_default().into()
}

/// What is logged once a response has gone.
#[derive(Debug)]
pub(crate) struct Record {
    /// The request.
    pub(crate) exchange: Exchange,
    /// The response's status.
    pub(crate) status: StatusCode,
    /// What the cache did.
    pub(crate) report: Option<CacheReport>,
    /// The id that the upstream gave the request, where it gave another.
    pub(crate) upstream_request_id: Option<String>,
    /// The model call that a hit saved.
    pub(crate) saved: Option<(String, Usage)>,
}

/// A response's body, which logs the exchange once it has gone, or the client has.
#[derive(Debug)]
pub(crate) struct Observed {
    body: ResponseBody,
    record: Box<Record>,
    sent: u64,
    expected: Option<u64>,
    whole: bool,
    /// What cuts the body off, held back once.
    cut: Option<BodyError>,
}

impl Observed {
    /// `body`, to be logged as `record` says.
    pub(crate) fn new(body: ResponseBody, record: Record) -> Self {
        let expected = body.size_hint().exact();
        // A body that a HEAD request does not get is not missing.
        let whole = record.exchange.method == Method::HEAD || body.is_end_stream();
        Self { body, record: Box::new(record), sent: 0, expected, whole, cut: None }
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
        let Record { exchange, status, report, upstream_request_id, saved } = &*self.record;
        let found = report.as_ref().and_then(CacheReport::found);
        let cache = report.as_ref().map(|report| events::CacheInfo {
            status: report.status.as_str(),
            kind: report.kind.as_str(),
            key: report.key.as_ref(),
            age: report.age,
            ttl: report.ttl,
            reason: report.reason.map(|reason| reason.as_str()),
            detail: found.as_deref(),
        });
        let whole = self.whole || self.expected == Some(self.sent);
        let success = whole && !status.is_server_error();
        let duration =
            exchange.ended(status.as_u16(), self.sent, cache, upstream_request_id.as_deref(), success);
        if let Some((model, usage)) = saved {
            log_llm_call(exchange, model, *usage, duration, true);
        }
    }
}

/// Logs a call of a model, or one that was saved.
pub(crate) fn log_llm_call(exchange: &Exchange, model: &str, usage: Usage, duration: Duration, cached: bool) {
    events::llm_call(&events::LlmCall {
        request_id: Some(&exchange.id),
        model,
        prompt_tokens: usage.prompt,
        completion_tokens: usage.completion,
        total_tokens: usage.total,
        duration,
        cached,
    });
}

impl Body for Observed {
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
            Poll::Ready(Some(Ok(frame))) => self.sent += frame.data_ref().map_or(0, |data| data.len() as u64),
            Poll::Ready(None) => self.whole = true,
            _ => {}
        }
        let Poll::Ready(Some(Err(error))) = polled else { return polled };
        // A flight's own failure is logged by its writer, once for all its readers.
        let told = self.body.reader().is_some_and(|reader| matches!(reader.ended(), Some(End::Failed(_))));
        if !told {
            self.record.exchange.failed(&crate::proxy::upstream::cut(&error));
        }
        // The server drops what it has not written once a body fails: what came before the cut goes out first.
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

impl Drop for Observed {
    fn drop(&mut self) {
        self.log_response();
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_sane_id_is_kept_and_any_other_replaced() {
        let id_for = |value: &'static [u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(value).expect("a value"));
            request_id(&headers)
        };
        assert_eq!(&*id_for(b"abc-123"), "abc-123");
        for odd in [&b""[..], b"a b", b"a\"b", b"\xff", &[b'a'; 129]] {
            let odd = odd.to_vec().leak();
            assert_eq!(id_for(odd).len(), 32, "{odd:?}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
