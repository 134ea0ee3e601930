//! Asking the upstream: a task of its own, which writes the answer for whoever reads it, and stores it once it
//! has come whole. It outlives the client that began it.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;

use crate::{
    admit::Inquiry,
    body::{RequestBody, UpstreamBody},
    dialect::Answer,
    entry::Entry,
    error::ProxyError,
    exchange::{Exchange, log_llm_call},
    flight::{End, Head, Outcome, Writer},
    log::events::Operation,
    policy::{self, Reason},
    reply,
    route::{Kind, Route},
    state::{Live, Shared},
    stats::Limit,
    upstream,
};

/// A question for the upstream.
#[derive(Debug)]
pub struct Fill {
    /// What all requests share.
    pub shared: Arc<Shared>,
    /// The settings as of the request.
    pub live: Arc<Live>,
    /// The rule that covers it.
    pub route: Arc<Route>,
    /// The request that began it.
    pub exchange: Exchange,
    /// What was understood of that request.
    pub inquiry: Inquiry,
}

/// What came of an answer's body.
enum Received {
    /// All of it; `None` where it was too large to keep.
    Whole(Option<Bytes>),
    /// Nobody reads it any more, and it is too large to keep.
    Abandoned,
}

impl Fill {
    /// Asks the upstream and writes what it answers.
    pub async fn run(self, request: Request<RequestBody>, writer: Writer) {
        let started = Instant::now();
        let end = match self.answer(request, &writer, started).await {
            Ok(outcome) => End::Complete(outcome),
            Err(error) => {
                self.exchange.failed(&error);
                End::Failed(Arc::new(error))
            }
        };
        self.exchange.performed(Operation::Upstream, started.elapsed(), matches!(end, End::Complete(_)));
        writer.end(end);
    }

    async fn answer(
        &self,
        request: Request<RequestBody>,
        writer: &Writer,
        started: Instant,
    ) -> Result<Outcome, ProxyError> {
        let response = self.live.upstream.send(&self.live.config.upstream, request).await?;
        let (head, framed, body) = open(response);
        self.learn_standing(head.status);
        let verdict = self.judge_head(&head);
        writer.head(head.clone());
        let received = self.receive(body, writer, verdict).await?;
        let took = started.elapsed();
        let body = match received {
            Received::Whole(Some(body)) => body,
            Received::Whole(None) => {
                self.shared.stats.limited(Limit::MaxEntry);
                return Ok(Err(verdict.err().unwrap_or(Reason::TooLarge)));
            }
            Received::Abandoned => return Ok(Err(Reason::Truncated)),
        };
        let answer = self.inquiry.dialect.judge(&self.inquiry.ask, &self.route, &head.headers, &body);
        self.log_call(&head, &answer, took);
        let ttl = match verdict.and_then(|ttl| judge_end(&head, framed, &answer).map(|()| ttl)) {
            Ok(ttl) => ttl,
            Err(reason) => return Ok(Err(reason)),
        };
        let entry = Entry {
            status: head.status,
            headers: reply::headers_to_store(&self.route, &head.headers),
            body: answer.without_ids.unwrap_or(body),
            stored_at: unix_millis(SystemTime::now()),
            ttl,
            form: self.inquiry.ask.form.id,
            with_credentials: self.inquiry.credentials.is_some(),
            took,
            model: answer.model.or_else(|| self.inquiry.model.clone()),
            usage: answer.usage,
        };
        Ok(self.store(entry).await)
    }

    /// Under a shared scope, the upstream's answer tells whether the caller's credentials are good.
    fn learn_standing(&self, status: StatusCode) {
        if let Some(credentials) = &self.inquiry.credentials {
            let ttl = self.live.config.shared_auth_ttl;
            self.shared.standing.learn(&self.route.name, credentials, status, ttl, Instant::now());
        }
    }

    fn judge_head(&self, head: &Head) -> Result<std::time::Duration, Reason> {
        if let (Some(reason), None) = (self.inquiry.bypass, &self.inquiry.key) {
            return Err(reason);
        }
        let has_stream_member = self.inquiry.dialect.has_stream_member();
        let keyed = |name: &HeaderName| policy::is_keyed(&self.route, has_stream_member, name);
        policy::storable(&self.route, &self.inquiry.directives, head.status, &head.headers, keyed)
    }

    /// Passes the body on as it comes, and keeps it where it is not too large.
    async fn receive(
        &self,
        mut body: UpstreamBody,
        writer: &Writer,
        verdict: Result<std::time::Duration, Reason>,
    ) -> Result<Received, ProxyError> {
        let max_entry = self.live.config.store.max_entry;
        let (mut chunks, mut len) = (Vec::new(), 0_usize);
        let mut keeps = true;
        while let Some(frame) = body.frame().await {
            let Ok(chunk) = frame.map_err(|error| upstream::cut(&error))?.into_data() else { continue };
            len += chunk.len();
            if keeps && len > max_entry {
                keeps = false;
                chunks = Vec::new();
            }
            if keeps {
                chunks.push(chunk.clone());
            }
            // What cannot be stored is worth nothing to anybody but those who read it.
            let is_worthless = !keeps || verdict.is_err();
            if writer.chunk(chunk).await.is_err() || (is_worthless && !writer.has_readers()) {
                return Ok(Received::Abandoned);
            }
        }
        Ok(Received::Whole(keeps.then(|| joined(chunks, len))))
    }

    fn log_call(&self, head: &Head, answer: &Answer, took: std::time::Duration) {
        let model = answer.model.as_ref().or(self.inquiry.model.as_ref());
        let is_call =
            matches!(self.route.kind, Kind::Query | Kind::Embedding) && head.status == StatusCode::OK;
        if let (true, Some(model)) = (is_call, model) {
            log_llm_call(&self.exchange, model, answer.usage.unwrap_or_default(), took, false);
        }
    }

    async fn store(&self, entry: Entry) -> Outcome {
        let (started, life) = (Instant::now(), entry.ttl);
        let Some(key) = &self.inquiry.key else { return Err(Reason::TtlZero) };
        let stored = self.shared.store.put(key, Arc::new(entry), life).await;
        self.exchange.performed(Operation::CacheStore, started.elapsed(), stored.is_ok());
        stored.map_err(|_| {
            self.shared.stats.errors.increment();
            Reason::StoreUnavailable
        })
    }
}

/// The head of an upstream's response, whether a length or chunks frame its body, and the body.
fn open(response: Response<UpstreamBody>) -> (Head, bool, UpstreamBody) {
    let (parts, body) = response.into_parts();
    let mut headers = parts.headers;
    let framed =
        headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING);
    // A response without a body needs no framing.
    let framed = framed || body.is_end_stream();
    reply::clean(&mut headers);
    (Head { status: parts.status, headers }, framed, body)
}

/// Whether an answer that came to its end is worth keeping.
fn judge_end(head: &Head, framed: bool, answer: &Answer) -> Result<(), Reason> {
    // A document's 404 is no answer of its dialect.
    if head.status != StatusCode::OK {
        return if framed { Ok(()) } else { Err(Reason::Unframed) };
    }
    answer.verdict?;
    if framed || answer.end_seen { Ok(()) } else { Err(Reason::Unframed) }
}

fn joined(mut chunks: Vec<Bytes>, len: usize) -> Bytes {
    if chunks.len() == 1 {
        return chunks.swap_remove(0);
    }
    let mut whole = BytesMut::with_capacity(len);
    for chunk in chunks {
        whole.extend_from_slice(&chunk);
    }
    whole.freeze()
}

/// Milliseconds since the Unix epoch.
pub fn unix_millis(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whether an answer with these headers is a stream.
pub fn is_stream(headers: &HeaderMap) -> bool {
    let media = crate::headers::media_type(headers).unwrap_or_default();
    matches!(media.as_str(), "text/event-stream" | "application/x-ndjson" | "application/jsonl")
}
