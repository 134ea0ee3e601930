//! A covered request: who asked, by which rule, and for what.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header, request::Parts};

use crate::{
    cache::{
        identity::{Caller, Trust},
        route::{Route, Scope},
    },
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
    time::since_epoch,
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

    /// Whether the client may have an answer that was given to a request with, or without, credentials: under a wider
    /// scope than these, an answer to credentials is only for clients whose own credentials the upstream accepted lately,
    /// or whose token holds.
    pub(crate) fn may_read(&self, with_credentials: bool) -> bool {
        let accepted = &self.shared().accepted_credentials;
        let accepts = |credentials| accepted.accepts(&self.route.name, credentials, Instant::now());
        let is_accepted = || self.cache_request.credentials.as_ref().is_some_and(accepts);
        if !with_credentials || self.route.scope == Scope::Credential {
            return true;
        }
        let Some(Caller { trust, token, .. }) = self.cache_request.caller.as_deref() else {
            return is_accepted();
        };
        match trust {
            Trust::Verified if !token.as_ref().is_some_and(|token| accepted.has_refused(token)) => true,
            Trust::Verified | Trust::IfAccepted => is_accepted(),
            Trust::Never => false,
        }
    }

    /// Notes, for such a scope, that the upstream accepts the client's credentials: it gave a whole answer that was judged
    /// good.
    pub(crate) fn accept_credentials(&self) {
        if let Some(credentials) = &self.cache_request.credentials {
            let ends = self.cache_request.caller.as_ref().and_then(|caller| caller.ends);
            let left = ends.map_or(Duration::MAX, |ends| {
                Duration::from_secs(ends).saturating_sub(since_epoch(SystemTime::now()))
            });
            let until = Instant::now() + self.live().config.shared_auth_ttl.min(left);
            let began = self.exchange.started;
            self.shared().accepted_credentials.record(&self.route.name, credentials, began, until);
        }
    }

    /// Notes that the upstream refuses them, if `status` says so: on this route, or, with a 401, for good (RFC 9110,
    /// section 15.5.2).
    pub(crate) fn refuse_credentials(&self, status: StatusCode) {
        let accepted = &self.shared().accepted_credentials;
        let Some(credentials) = &self.cache_request.credentials else { return };
        match status {
            StatusCode::UNAUTHORIZED => accepted.forget_everywhere(credentials, Instant::now()),
            StatusCode::FORBIDDEN => accepted.forget(&self.route.name, credentials, Instant::now()),
            _ => return,
        }
        if let Some(Caller { trust: Trust::Verified, token: Some(token), .. }) =
            self.cache_request.caller.as_deref()
        {
            accepted.refuse_token(token);
        }
    }

    /// The error of an answer that has not begun by the deadline.
    pub(crate) fn too_late(&self) -> ProxyError {
        upstream::timed_out(self.live().config.upstream.first_byte_timeout)
    }
}
