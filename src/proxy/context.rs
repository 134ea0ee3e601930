//! A request on a cacheable route, and all that its answer depends on.

use http::HeaderName;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, request::Parts};

use crate::{
    cache::{
        entry::Entry,
        key::Key,
        route::{Mode, Route, Scope, kind::Kind},
        status::CacheReport,
    },
    proxy::{
        body::RequestBody,
        cached::Fallback,
        error::ProxyError,
        exchange::Exchange,
        state::{Live, Shared},
        upstream::{self, headers::upstream_headers},
    },
    reason::Reason,
    request::{CacheRequest, batch::Wanted, classify, head::RequestHead},
};

/// Three times what 4,096 numbers take, written with all their digits.
const ROOM_FOR_VECTOR: usize = 256 * 1024;

/// A request on a cacheable route, with all that its answer depends on.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The rule that covers it.
    pub route: Arc<Route>,
    /// The request.
    pub exchange: Exchange,
    /// What was understood of it.
    pub cache_request: CacheRequest,
    /// The inputs that are asked for, where each has an entry of its own.
    pub wanted: Option<Arc<Wanted>>,
    /// The stale answer that it gets where the upstream fails.
    pub fallback: Option<Box<Fallback>>,
    /// How long it may still wait for the store before its answer (`store.timeout`, in all).
    pub store_budget: Duration,
    /// What is remembered of it on a route that follows its upstream.
    pub revalidation: Option<Box<Revalidation>>,
}

impl RequestContext {
    /// The one that `exchange` asks, which notes its text; `None` where its body shows that no route covers it.
    pub fn of(exchange: &mut Exchange, head: &RequestHead, parts: &Parts, body: &[u8]) -> Option<Box<Self>> {
        let cache_request = classify(head, parts, body, &exchange.live.classify_context)?;
        exchange.question_text.clone_from(&cache_request.question_text);
        Some(Self::new(exchange.clone(), Arc::clone(&head.route), cache_request, &parts.headers))
    }

    /// The one that `exchange` asks on `route`; `headers` are the request's.
    pub fn new(
        exchange: Exchange,
        route: Arc<Route>,
        cache_request: CacheRequest,
        headers: &HeaderMap,
    ) -> Box<Self> {
        let store_budget = exchange.live.config.store.timeout;
        let mut context = Box::new(Self {
            route,
            exchange,
            cache_request,
            wanted: None,
            fallback: None,
            store_budget,
            revalidation: None,
        });
        context.revalidation = Revalidation::of(&context, headers).map(Box::new);
        context
    }

    /// The conversations that it names, where its answer may open another one.
    pub fn named(&self) -> Option<&[String]> {
        let may_open = self.route.kind == Kind::Query && self.revalidation.is_none();
        may_open.then_some(&self.cache_request.conversations)
    }

    /// The settings as of the request.
    pub fn live(&self) -> &Live {
        &self.exchange.live
    }

    /// What lasts.
    pub fn shared(&self) -> &Shared {
        &self.exchange.live.shared
    }

    /// The request for the upstream, made of the client's own.
    pub fn request(&self, mut parts: Parts, body: Bytes) -> Request<RequestBody> {
        self.make_upstreams(&mut parts.headers);
        let body = self.cache_request.upstream_body.clone().unwrap_or(body);
        Request::from_parts(parts, body.into())
    }

    /// Makes of its headers those that go upstream.
    pub fn make_upstreams(&self, headers: &mut HeaderMap) {
        upstream_headers(&self.exchange, headers, true);
        self.cache_request.conditions.remove_from(headers);
    }

    /// Has the upstream give the part that is asked for, which is nobody else's and not stored: on the client's own
    /// conditions. What `report` then tells.
    pub fn ask_for_part(&mut self, request: &mut Request<RequestBody>, report: CacheReport) -> CacheReport {
        let reason = Some(Reason::RequestRange);
        (self.cache_request.bypass, self.cache_request.key, self.revalidation) = (reason, None, None);
        self.cache_request.conditions.add_to(request.headers_mut());
        CacheReport { reason, ..report }
    }

    /// Whether it asks for an answer's head alone, which is not stored, and of no use to others.
    pub fn is_head(&self) -> bool {
        self.exchange.method == Method::HEAD
    }

    /// When the answer must have begun.
    pub fn deadline(&self) -> tokio::time::Instant {
        (self.exchange.started + self.live().config.upstream.first_byte_timeout).into()
    }

    /// The keys under which its answer is kept.
    pub fn keys(&self) -> &[Key] {
        self.wanted.as_ref().map_or(self.cache_request.key.as_slice(), |wanted| wanted.keys())
    }

    /// The largest answer that is kept, in bytes: one entry, and of several some room for each further one.
    pub fn largest_answer(&self) -> usize {
        let further = self.keys().len().saturating_sub(1);
        self.live().config.store.max_entry.saturating_add(further * ROOM_FOR_VECTOR)
    }

    /// The largest answer that others may join, in bytes: one that is kept for them whole, and for those who come later.
    pub fn largest_shared(&self) -> usize {
        self.largest_answer().min(self.live().config.coalesce.max_buffer)
    }

    /// Notes, for a shared scope, that the upstream accepts the caller's credentials: it gave a whole answer that was
    /// judged good.
    pub fn accept_credentials(&self) {
        let Self { route, cache_request, .. } = self;
        if let Some(credentials) = &cache_request.credentials {
            let until = Instant::now() + self.live().config.shared_auth_ttl;
            self.shared().accepted_credentials.accept(&route.name, credentials, until);
        }
    }

    /// Notes that the upstream refuses them, where `status` says so.
    pub fn refuse_credentials(&self, status: StatusCode) {
        let is_refusal = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if let (true, Some(credentials)) = (is_refusal, &self.cache_request.credentials) {
            self.shared().accepted_credentials.refuse(&self.route.name, credentials);
        }
    }

    /// The error of an answer that has not begun by then.
    pub fn too_late(&self) -> ProxyError {
        upstream::timed_out(self.live().config.upstream.first_byte_timeout)
    }
}

/// Whether a request may have an answer that was given to one with, or without, credentials: under a shared
/// scope, what somebody with credentials got is for those alone whose own the upstream accepts.
pub fn may_read(context: &RequestContext, with_credentials: bool) -> bool {
    let RequestContext { route, cache_request, .. } = context;
    let stands =
        |credentials| context.shared().accepted_credentials.holds(&route.name, credentials, Instant::now());
    !with_credentials
        || route.scope == Scope::Credential
        || cache_request.credentials.as_ref().is_some_and(stands)
}

/// What is remembered of a request on such a route.
#[derive(Clone, Debug)]
pub struct Revalidation {
    /// Its headers as they go upstream, which select among variants.
    pub request: HeaderMap,
    /// The key of its target, whatever the variant.
    pub target: Key,
    /// The headers that what is stored for its target is told apart by.
    pub varies_on: Vec<HeaderName>,
    /// The stored response that the upstream is asked to confirm, or that a `HEAD` may tell of.
    pub stored: Option<Arc<Entry>>,
}

impl Revalidation {
    /// Of a question whose request has `headers`; `None` where its route has a TTL, or nothing is kept.
    pub fn of(context: &RequestContext, headers: &HeaderMap) -> Option<Self> {
        let target =
            context.cache_request.key.as_ref().filter(|_| context.route.mode == Mode::Rfc9111)?.clone();
        let mut request = headers.clone();
        context.make_upstreams(&mut request);
        Some(Self { request, target, varies_on: Vec::new(), stored: None })
    }
}
