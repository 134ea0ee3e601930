//! A covered request: who asked, by which rule, and for what.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header, request::Parts};

use crate::{
    cache::route::{Route, Scope},
    proxy::{
        body::RequestBody,
        error::ProxyError,
        exchange::Exchange,
        state::{Live, Shared},
        upstream::{self, headers::upstream_headers},
    },
    request::{
        CacheRequest,
        body::RawBody,
        cover::{Uncovered, cover},
        head::RequestHead,
    },
};

/// A request that a route covers. It never changes; all that answer the request share it.
#[derive(Debug)]
pub(crate) struct RequestContext {
    /// The rule that covers it.
    pub(crate) route: Arc<Route>,
    /// Who asked, and when.
    pub(crate) exchange: Exchange,
    /// What it asks for.
    pub(crate) cache_request: CacheRequest,
}

impl RequestContext {
    /// Classifies the request, and notes its route and its text in `exchange`.
    ///
    /// # Errors
    /// If it is passed through, as its body shows.
    pub(crate) fn new(
        exchange: &mut Exchange,
        head: Arc<RequestHead>,
        parts: &Parts,
        body: &RawBody<'_>,
    ) -> Result<Arc<Self>, Uncovered> {
        let live = &exchange.live;
        let (route, cache_request) = cover(head, &live.routes, parts, body, &live.classify_context)?;
        exchange.question_text.clone_from(&cache_request.question_text);
        exchange.route = Some(Arc::clone(&route));
        Ok(Arc::new(Self { route, exchange: exchange.clone(), cache_request: *cache_request }))
    }

    /// The settings as of the request.
    pub(crate) fn live(&self) -> &Live {
        &self.exchange.live
    }

    /// What lasts as long as the process.
    pub(crate) fn shared(&self) -> &Shared {
        &self.exchange.live.shared
    }

    /// The request for the upstream, made of the client's own.
    pub(crate) fn request(&self, mut parts: Parts, body: Bytes) -> Request<RequestBody> {
        self.make_upstreams(&mut parts.headers);
        let body = match &self.cache_request.upstream_body {
            Some(edited) => {
                // It was made of what the client's body says.
                parts.headers.remove(header::CONTENT_ENCODING);
                edited.clone()
            }
            None => body,
        };
        Request::from_parts(parts, body.into())
    }

    /// Turns the client's headers into those that go upstream.
    pub(crate) fn make_upstreams(&self, headers: &mut HeaderMap) {
        upstream_headers(&self.exchange, headers, true);
        self.cache_request.conditions.remove_from(headers);
    }

    /// Whether it asks for an answer's head alone, which is not stored, and of no use to others.
    pub(crate) fn is_head(&self) -> bool {
        self.exchange.method == Method::HEAD
    }

    /// When the answer must have begun.
    pub(crate) fn deadline(&self) -> tokio::time::Instant {
        (self.exchange.started + self.live().config.upstream.first_byte_timeout).into()
    }

    /// Whether the client may have an answer that was given to a request with, or without, credentials: under a shared
    /// scope, an answer to credentials is only for clients whose own credentials the upstream accepted lately.
    pub(crate) fn may_read(&self, with_credentials: bool) -> bool {
        let accepts = |credentials| {
            self.shared().accepted_credentials.accepts(&self.route.name, credentials, Instant::now())
        };
        !with_credentials
            || self.route.scope == Scope::Credential
            || self.cache_request.credentials.as_ref().is_some_and(accepts)
    }

    /// Notes, for a shared scope, that the upstream accepts the client's credentials: it gave a whole answer that was
    /// judged good.
    pub(crate) fn accept_credentials(&self) {
        if let Some(credentials) = &self.cache_request.credentials {
            let until = Instant::now() + self.live().config.shared_auth_ttl;
            self.shared().accepted_credentials.record(&self.route.name, credentials, until);
        }
    }

    /// Notes that the upstream refuses them, if `status` says so.
    pub(crate) fn refuse_credentials(&self, status: StatusCode) {
        let is_refusal = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if let (true, Some(credentials)) = (is_refusal, &self.cache_request.credentials) {
            self.shared().accepted_credentials.forget(&self.route.name, credentials);
        }
    }

    /// The error of an answer that has not begun by the deadline.
    pub(crate) fn too_late(&self) -> ProxyError {
        upstream::timed_out(self.live().config.upstream.first_byte_timeout)
    }
}
