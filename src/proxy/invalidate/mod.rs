//! What a request invalidates once it has succeeded.
//!
//! The upstream may do what it is asked for although the client leaves, or the connection breaks. So a
//! [`PendingInvalidation`] also invalidates if it is dropped, and whenever the outcome is unknown.

pub(crate) mod conversation;
pub(crate) mod settling;

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, Method, Response, header};

use crate::{
    cache::{
        invalidation::{Target, resource::Resource},
        rfc9111,
        route::{Mode, Route, Settle, kind::Kind},
    },
    proxy::{
        context::RequestContext,
        error::ProxyError,
        exchange::Exchange,
        state::{Live, Shared},
    },
    store::outcome,
    telemetry::stats::{InvalidationCause, StoreCall},
};

/// What a request invalidates if the upstream did what it asks for, or may have done it.
#[derive(Debug)]
pub(crate) struct PendingInvalidation {
    live: Arc<Live>,
    path: Arc<str>,
    is_write: bool,
    /// What the covering route says that a success invalidates.
    by_route: Vec<Target>,
    /// How long the service works on it, and the client's headers for asking it.
    settle: Option<(Settle, HeaderMap)>,
    /// The origin that the client sent a write to, on a route with `mode = "rfc9111"`.
    followed: Option<String>,
    is_finished: bool,
}

impl PendingInvalidation {
    /// For a request that is passed through; `covering` is its route, if it has one. `None` if it invalidates
    /// nothing.
    pub(crate) fn for_request(
        exchange: &Exchange,
        headers: &HeaderMap,
        covering: Option<&Route>,
    ) -> Option<Self> {
        let Exchange { live, method, path, .. } = exchange;
        let follows = covering.is_some_and(|route| route.cache && route.mode == Mode::Rfc9111);
        let is_write = match follows {
            true => !rfc9111::is_safe(method),
            false => [Method::PUT, Method::PATCH, Method::POST, Method::DELETE].contains(method),
        };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let followed = (follows && is_write).then(|| format!("http://{host}"));
        let mut pending = Self::new(live, path, is_write, covering, followed)?;
        if let Some((_, own)) = &mut pending.settle {
            own.clone_from(headers);
        }
        Some(pending)
    }

    /// For a request whose answer is cached. A `POST` is a write only on a route of kind `other`: questions
    /// and searches are sent by `POST`, too.
    pub(crate) fn for_cached(context: &RequestContext) -> Option<Self> {
        let RequestContext { route, exchange, .. } = context;
        let is_write = match exchange.method {
            Method::POST => route.kind == Kind::Other,
            Method::PUT | Method::PATCH | Method::DELETE => true,
            _ => false,
        };
        Self::new(&exchange.live, &exchange.path, is_write, Some(route), None)
    }

    fn new(
        live: &Arc<Live>,
        path: &Arc<str>,
        is_write: bool,
        covering: Option<&Route>,
        followed: Option<String>,
    ) -> Option<Self> {
        let by_route = covering.map(|route| Resource::invalidated_by_route(route, path)).unwrap_or_default();
        (is_write || !by_route.is_empty()).then(|| Self {
            live: Arc::clone(live),
            path: Arc::clone(path),
            is_write,
            by_route,
            settle: covering.and_then(|route| route.settle.clone()).map(|settle| (settle, HeaderMap::new())),
            followed,
            is_finished: false,
        })
    }

    /// Invalidates once the response's head or an error says how the request went. After an error the
    /// upstream may have done what it was asked for, unless the request was never sent.
    pub(crate) async fn finish<B>(mut self, sent: Result<&Response<B>, &ProxyError>) {
        let was_done = match sent {
            Ok(response) => response.status().is_success() || response.status().is_redirection(),
            Err(error) => !error.prevented_sending(),
        };
        if was_done {
            let targets = self.targets(sent.ok().map(Response::headers));
            self.begin_settling(&targets);
            invalidate(&self.live.shared, &targets, InvalidationCause::Change).await;
        }
        self.is_finished = true;
    }

    /// Before the invalidation: an answer that the service gives between the two is not stored.
    fn begin_settling(&self, targets: &[Target]) {
        if let Some((settle, headers)) = &self.settle {
            settling::begin(&self.live, targets, settle, headers);
        }
    }

    fn targets(&self, response: Option<&HeaderMap>) -> Vec<Target> {
        let resources = &self.live.classify_context.resources;
        let changed = if self.is_write { resources.changed(&self.path, response) } else { Vec::new() };
        let none = HeaderMap::new();
        let named = self
            .followed
            .iter()
            .flat_map(|origin| rfc9111::invalidated(origin, &self.path, response.unwrap_or(&none)));
        let named = named.map(|path| Resource::path_target(&path));
        self.by_route.iter().cloned().chain(changed).chain(named).collect()
    }
}

impl Drop for PendingInvalidation {
    fn drop(&mut self) {
        if !self.is_finished {
            let shared = Arc::clone(&self.live.shared);
            let targets = self.targets(None);
            self.begin_settling(&targets);
            self.live.shared.tasks.spawn(async move {
                invalidate(&shared, &targets, InvalidationCause::Change).await;
            });
        }
    }
}

/// Invalidates `targets`. If the store fails, it tells the other replicas later.
pub(crate) async fn invalidate(shared: &Shared, targets: &[Target], cause: InvalidationCause) {
    if targets.is_empty() {
        return;
    }
    let started = Instant::now();
    let invalidated = shared.store.invalidate(targets).await;
    let stats = shared.stats.here();
    stats.invalidated(cause, targets.len());
    stats.store_call(StoreCall::Invalidate, outcome(&invalidated), started.elapsed());
    if invalidated.is_err() {
        stats.errors.increment();
    }
}
