//! The spans of a request: itself, its lookups, its call of the upstream, and its writes to the store.
//!
//! Names and attributes follow OpenTelemetry's conventions for HTTP and for generative AI; what is sidecache's own begins
//! with `sidecache.`. No attribute has a prompt, an answer, a credential, or a query string.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, StatusCode};
use opentelemetry::{KeyValue, trace::SpanKind};

use crate::{
    cache::{key::Key, price::Amount, route::Route, semantic::rounded_similarity, status::CacheReport},
    dialect::Dialect,
    http::{
        hex::Hex,
        trace_context::{TRACEPARENT, TRACESTATE, TraceParent},
    },
    proxy::{exchange::Exchange, model_call::ModelCall, state::Shared},
    store::Store,
    telemetry::{
        log::events::Operation,
        traces::{Parent, Span, attribute},
    },
};

/// The longest `tracestate` in a span, and the longest other text, in bytes.
const MAX_STATE: usize = 512;
const MAX_TEXT: usize = 512;

/// The trace that a request is part of.
#[derive(Debug)]
pub(crate) struct RequestTrace {
    /// The client's span.
    parent: Option<TraceParent>,
    trace_id: u128,
    /// The span of the request here.
    span_id: u64,
    /// The span of its call of the upstream.
    upstream_id: u64,
    /// Whether the spans are exported.
    is_recorded: bool,
    /// The client's `tracestate`, for recorded spans.
    state: Option<String>,
}

impl RequestTrace {
    /// The trace of a request with these headers. One without a trace begins one if traces are exported; `share` of
    /// those are recorded. A client's own decision holds for its trace (W3C Trace Context, section 3.2.2.5).
    pub(crate) fn begin(headers: &HeaderMap, shared: &Shared, share: f64) -> Option<Arc<Self>> {
        let parent = TraceParent::from_headers(headers);
        let exports = shared.traces.is_on();
        if parent.is_none() && !exports {
            return None;
        }
        let is_sampled = parent.map_or_else(|| fastrand::f64() < share, |parent| parent.is_sampled);
        let is_recorded = exports && is_sampled;
        let state = parent.filter(|_| is_recorded).and_then(|_| state(headers));
        Some(Arc::new(Self {
            parent,
            trace_id: parent.map_or_else(|| fastrand::u128(1..), |parent| parent.trace_id),
            span_id: fastrand::u64(1..),
            upstream_id: fastrand::u64(1..),
            is_recorded,
            state,
        }))
    }

    /// Tells the upstream its parent: the span of this call. A `tracestate` without a valid parent is dropped.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let is_sampled = self.parent.map_or(self.is_recorded, |parent| parent.is_sampled);
        let child = TraceParent { trace_id: self.trace_id, span_id: self.upstream_id, is_sampled };
        if let Some(value) = child.to_value() {
            headers.insert(TRACEPARENT, value);
        }
        if self.parent.is_none() {
            headers.remove(TRACESTATE);
        }
    }

    /// The ids of the trace and of the request's span, for the log; `None` if nobody has a record of that trace.
    pub(crate) fn ids(&self) -> Option<(Hex<16>, Hex<8>)> {
        (self.is_recorded || self.parent.is_some())
            .then(|| (Hex(self.trace_id.to_be_bytes()), Hex(self.span_id.to_be_bytes())))
    }

    /// A span below the request's.
    fn child(&self, id: u64, kind: SpanKind, name: Cow<'static, str>, took: Duration) -> Span {
        let parent = Some(Parent { span_id: self.span_id, is_remote: false });
        Span { parent, ..self.span(id, kind, name, took) }
    }

    fn span(&self, id: u64, kind: SpanKind, name: Cow<'static, str>, took: Duration) -> Span {
        Span {
            trace_id: self.trace_id,
            id,
            parent: self.parent.map(|parent| Parent { span_id: parent.span_id, is_remote: true }),
            kind,
            name,
            ended: SystemTime::now(),
            took,
            attributes: Vec::new(),
            has_failed: false,
            state: self.state.clone(),
        }
    }
}

/// The lines of a `tracestate`, as one. A longer one than must be taken goes on, and is in no span (W3C Trace Context,
/// section 3.3.1.5).
fn state(headers: &HeaderMap) -> Option<String> {
    let lines: Vec<_> = headers.get_all(TRACESTATE).iter().filter_map(|line| line.to_str().ok()).collect();
    Some(lines.join(",")).filter(|state| !state.is_empty() && state.len() <= MAX_STATE)
}

/// The beginning of a text of the client's or the upstream's: spans that wait to be sent take little memory.
fn beginning(text: &str) -> String {
    let end = (0..=MAX_TEXT.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

/// A call of the upstream, as far as it came.
#[derive(Debug, Default)]
pub(crate) struct UpstreamCall {
    /// What the request's body means, if a route covers it.
    pub(crate) dialect: Option<Dialect>,
    /// Whether the request was sent.
    pub(crate) is_sent: bool,
    /// The status of the answer.
    pub(crate) status: Option<StatusCode>,
    /// What the answer says of the model and its tokens.
    pub(crate) model_call: Option<ModelCall>,
}

/// How a request ended.
pub(crate) struct RequestEnd<'a> {
    pub(crate) status: u16,
    pub(crate) took: Duration,
    /// Whether the client got the whole answer.
    pub(crate) is_whole: bool,
    pub(crate) report: Option<&'a CacheReport>,
    /// The model call that a hit saved.
    pub(crate) saved: Option<&'a ModelCall>,
}

impl Exchange {
    fn recorded_trace(&self) -> Option<&RequestTrace> {
        self.trace.as_deref().filter(|trace| trace.is_recorded)
    }

    /// Records a lookup, or a write to the store.
    pub(crate) fn trace_step(&self, operation: Operation, took: Duration, success: bool) {
        let Some(trace) = self.recorded_trace() else { return };
        let (name, hit) = match operation {
            Operation::CacheLookup { hit } => ("cache_lookup", Some(hit)),
            Operation::CacheStore => ("cache_store", None),
            // They have spans with more to say.
            Operation::Upstream | Operation::Request { .. } => return,
        };
        let shared = &self.live.shared;
        let is_redis = matches!(shared.store, Store::Redis(_));
        let kind = if is_redis { SpanKind::Client } else { SpanKind::Internal };
        let mut span = trace.child(fastrand::u64(1..), kind, name.into(), took);
        span.has_failed = !success;
        span.attributes = [
            attribute("sidecache.store", Some(if is_redis { "redis" } else { "memory" })),
            attribute("db.system.name", is_redis.then_some("redis")),
            attribute("sidecache.cache.hit", hit),
        ]
        .into_iter()
        .flatten()
        .collect();
        shared.traces.record(span);
    }

    /// Records a call of the upstream.
    pub(crate) fn trace_call(&self, call: &UpstreamCall, took: Duration, error: Option<&'static str>) {
        let Some(trace) = self.recorded_trace().filter(|_| call.is_sent) else { return };
        let operation = call.dialect.and_then(operation);
        let model = call.model_call.as_ref().and_then(|call| call.model.as_deref()).map(beginning);
        let name = match (operation, &model) {
            (Some(operation), Some(model)) => format!("{operation} {model}").into(),
            _ => method(self),
        };
        let mut span = trace.child(trace.upstream_id, SpanKind::Client, name, took);
        let has_bad_status = call.status.is_some_and(|status| status.as_u16() >= 400);
        let bad_status = call.status.filter(|_| has_bad_status).map(|status| status.as_str().to_owned());
        span.has_failed = error.is_some() || has_bad_status;
        let url = self.live.config.upstream.url.uri();
        let usage = call.model_call.as_ref().map(|call| &call.usage);
        span.attributes = [
            attribute("http.request.method", Some(method(self))),
            attribute("server.address", url.host().map(str::to_owned)),
            attribute("server.port", url.port_u16().map(i64::from)),
            attribute("http.response.status_code", call.status.map(|status| i64::from(status.as_u16()))),
            attribute("error.type", error.map(str::to_owned).or(bad_status)),
            attribute("gen_ai.operation.name", operation),
            attribute("gen_ai.provider.name", call.dialect.and_then(provider)),
            attribute("gen_ai.response.model", model),
            attribute("gen_ai.usage.input_tokens", usage.and_then(|usage| tokens(usage.prompt))),
            attribute("gen_ai.usage.output_tokens", usage.and_then(|usage| tokens(usage.completion))),
            attribute("gen_ai.usage.cache_read.input_tokens", usage.and_then(|usage| tokens(usage.cached))),
        ]
        .into_iter()
        .flatten()
        .collect();
        self.live.shared.traces.record(span);
    }

    /// Records the request itself.
    pub(crate) fn trace_end(&self, end: &RequestEnd<'_>) {
        let Some(trace) = self.recorded_trace() else { return };
        let route = self.route.as_deref().map(Route::label);
        let method = method(self);
        let name = match route {
            Some(route) => format!("{method} {route}").into(),
            None => method.clone(),
        };
        let mut span = trace.span(trace.span_id, SpanKind::Server, name, end.took);
        span.has_failed = end.status >= 500 || !end.is_whole;
        let broken = if end.is_whole { None } else { Some("incomplete".to_owned()) };
        let error = (end.status >= 500).then(|| end.status.to_string()).or(broken);
        span.attributes = [
            attribute("http.request.method", Some(method)),
            attribute("url.path", Some(beginning(&self.path))),
            attribute("http.response.status_code", Some(i64::from(end.status))),
            attribute("network.peer.address", Some(self.caller.peer.address.to_string())),
            attribute("error.type", error),
            attribute("sidecache.request_id", Some(self.id.to_string())),
            attribute("sidecache.route", route.map(str::to_owned)),
        ]
        .into_iter()
        .chain(end.report.into_iter().flat_map(cache_attributes))
        .chain(end.saved.into_iter().flat_map(|saved| self.saved_attributes(saved)))
        .flatten()
        .collect();
        self.live.shared.traces.record(span);
    }

    /// What a hit saved. Nothing was used, so `gen_ai.usage.*` is left out.
    fn saved_attributes(&self, saved: &ModelCall) -> [Option<KeyValue>; 4] {
        let currency = saved.cost.and_then(|_| self.live.config.prices.currency());
        [
            attribute("sidecache.saved.input_tokens", tokens(saved.usage.prompt)),
            attribute("sidecache.saved.output_tokens", tokens(saved.usage.completion)),
            attribute("sidecache.saved.cost", saved.cost.map(Amount::units)),
            attribute("sidecache.saved.currency", currency.map(|currency| currency.as_str().to_owned())),
        ]
    }
}

fn cache_attributes(report: &CacheReport) -> [Option<KeyValue>; 7] {
    let similar = report.similar.as_deref();
    let similarity = similar.map(|similar| rounded_similarity(similar.similarity));
    [
        attribute("sidecache.cache.status", Some(report.status.as_str())),
        attribute("sidecache.cache.kind", report.kind.map(|kind| kind.as_str())),
        attribute("sidecache.cache.key", report.key.as_ref().map(key)),
        attribute("sidecache.cache.age", report.age.map(|age| age.cast_signed())),
        attribute("sidecache.cache.reason", report.reason.map(|reason| reason.as_str())),
        attribute("sidecache.cache.similarity", similarity),
        attribute("sidecache.cache.original", similar.map(|similar| key(&similar.original))),
    ]
}

fn key(key: &Key) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = key.write(&mut text);
    text
}

/// The method; one that is not registered is `_OTHER`, as the conventions for HTTP want it.
fn method(exchange: &Exchange) -> Cow<'static, str> {
    const KNOWN: [&str; 10] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];
    let method = exchange.method.as_str();
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("_OTHER").into()
}

fn tokens(count: Option<u64>) -> Option<i64> {
    count.and_then(|count| i64::try_from(count).ok())
}

/// `gen_ai.operation.name`, where the conventions have a word for it.
const fn operation(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::OpenAiChat
        | Dialect::OpenAiResponses
        | Dialect::Anthropic
        | Dialect::CohereChat
        | Dialect::OllamaChat => Some("chat"),
        Dialect::OpenAiCompletions | Dialect::OllamaGenerate => Some("text_completion"),
        Dialect::Gemini => Some("generate_content"),
        Dialect::Embedding
        | Dialect::TeiEmbed
        | Dialect::TeiEmbedSparse
        | Dialect::CohereEmbed
        | Dialect::GeminiEmbed
        | Dialect::GeminiBatchEmbed => Some("embeddings"),
        Dialect::OpenAiModerations
        | Dialect::OpenAiTranscription
        | Dialect::OpenAiSpeech
        | Dialect::OpenAiSearch
        | Dialect::Rerank
        | Dialect::TeiRerank
        | Dialect::Score
        | Dialect::Rag
        | Dialect::Json
        | Dialect::None => None,
    }
}

/// `gen_ai.provider.name`: whose API it is, as far as the dialect tells.
const fn provider(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::OpenAiChat
        | Dialect::OpenAiCompletions
        | Dialect::OpenAiResponses
        | Dialect::OpenAiModerations
        | Dialect::OpenAiTranscription
        | Dialect::OpenAiSpeech
        | Dialect::OpenAiSearch => Some("openai"),
        Dialect::Anthropic => Some("anthropic"),
        Dialect::CohereChat | Dialect::CohereEmbed => Some("cohere"),
        Dialect::OllamaChat | Dialect::OllamaGenerate => Some("ollama"),
        // The word for either of its APIs.
        Dialect::Gemini => Some("gcp.gen_ai"),
        Dialect::GeminiEmbed | Dialect::GeminiBatchEmbed => Some("gcp.gemini"),
        Dialect::Embedding
        | Dialect::TeiEmbed
        | Dialect::TeiEmbedSparse
        | Dialect::Rerank
        | Dialect::TeiRerank
        | Dialect::Score
        | Dialect::Rag
        | Dialect::Json
        | Dialect::None => None,
    }
}
