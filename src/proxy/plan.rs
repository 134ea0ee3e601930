//! How a covered request is answered when the store alone does not do: under which key the answer is stored, what the
//! upstream is asked to confirm, and what serves if it fails. The lookup fills it in, then the fill owns it. The request
//! itself ([`RequestContext`]) never changes, and is shared.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, Request};

use crate::{
    cache::{
        entry::Entry,
        key::Key,
        route::{Mode, kind::Kind},
        status::{CacheReport, Forward},
    },
    dialect::{Ask, RequestIds},
    proxy::{
        body::RequestBody,
        cached::{Fallback, Miss},
        context::RequestContext,
        insight::Fingerprints,
        semantic::pending::Pending,
        state::{Live, Shared},
    },
    reason::Reason,
    request::{CacheRequest, batch::Wanted},
    store::LeaseState,
};

/// Three times what 4,096 numbers take, written with all their digits, in bytes.
const ROOM_FOR_VECTOR: usize = 256 * 1024;

/// How a request is answered from here on.
#[derive(Debug)]
pub(crate) struct FillPlan {
    /// The request.
    pub(crate) context: Arc<RequestContext>,
    /// Why the store is not asked; `None` where it is.
    pub(crate) bypass: Option<Reason>,
    /// The key that the answer is stored under; `None` where it is not stored.
    pub(crate) key: Option<Key>,
    /// The inputs that the upstream is asked for, where each has an entry of its own.
    pub(crate) wanted: Option<Arc<Wanted>>,
    /// The stale answer that is served if the upstream fails.
    pub(crate) fallback: Option<Box<Fallback>>,
    /// How long the store may still delay the answer (`store.timeout` in all).
    pub(crate) store_budget: Duration,
    /// What a route with `mode = "rfc9111"` revalidates with.
    pub(crate) revalidation: Option<Box<Revalidation>>,
    /// Who may ask the upstream, as far as the lookup has found out; the fill takes it. Dropped, it is released.
    pub(crate) early_lease: Option<LeaseState>,
    /// What the request is remembered by once its answer is stored, to find out why others do not hit.
    pub(crate) fingerprints: Option<Fingerprints>,
    /// The question, on a route whose questions are answered by meaning, too; the fill takes it.
    pub(crate) pending: Option<Box<Pending>>,
}

impl FillPlan {
    /// The plan for a request with `headers`, before its lookup.
    pub(crate) fn new(context: Arc<RequestContext>, headers: &HeaderMap) -> Self {
        let bypass = context.cache_request.bypass;
        let key = context.cache_request.key.clone();
        let store_budget = context.live().config.store.timeout;
        let revalidation = Revalidation::new(&context, headers).map(Box::new);
        Self {
            context,
            bypass,
            key,
            wanted: None,
            fallback: None,
            store_budget,
            revalidation,
            early_lease: None,
            fingerprints: None,
            pending: None,
        }
    }

    /// The same plan for some of a request's inputs. The fill asks for their own lease.
    pub(crate) fn for_inputs(&self, wanted: Wanted) -> Self {
        Self {
            context: Arc::clone(&self.context),
            bypass: self.bypass,
            key: Key::joint(wanted.keys()),
            wanted: Some(Arc::new(wanted)),
            fallback: self.fallback.clone(),
            store_budget: self.store_budget,
            revalidation: self.revalidation.clone(),
            early_lease: None,
            fingerprints: self.fingerprints.clone(),
            pending: None,
        }
    }

    /// Whether the lookup is to ask for the lease too: if it finds nothing, a fill that others may join is next.
    pub(crate) fn may_lead(&self) -> bool {
        let CacheRequest { directives, range, .. } = &self.context.cache_request;
        let forbids_reuse = directives.no_cache || directives.ttl.is_some_and(|ttl| ttl.is_zero());
        self.bypass.is_none()
            && self.revalidation.is_none()
            && !self.context.is_head()
            && !directives.only_if_cached
            && !forbids_reuse
            && range.is_none()
    }

    /// Whether the answer to a question in other words may stand in: nothing is stored for this one, and the request takes
    /// stored answers.
    pub(crate) fn takes_similar(&self, miss: &Miss) -> bool {
        let takes_part = self.context.route.semantic.is_some() && self.live().semantic.is_some();
        takes_part && miss.forward == Forward::UriMiss && miss.fallback.is_none() && self.may_lead()
    }

    /// The settings as of the request.
    pub(crate) fn live(&self) -> &Live {
        self.context.live()
    }

    /// What lasts as long as the process.
    pub(crate) fn shared(&self) -> &Shared {
        self.context.shared()
    }

    /// What the upstream is asked for.
    pub(crate) fn ask(&self) -> Ask {
        let ask = self.context.cache_request.ask;
        let inputs = self.wanted.as_ref().map_or(ask.inputs, |wanted| wanted.keys().len());
        Ask { inputs, ..ask }
    }

    /// The ids of the request, where its answer may open a conversation, or repeat what tells of its client.
    pub(crate) fn ids(&self) -> Option<RequestIds<'_>> {
        let RequestContext { route, cache_request, .. } = &*self.context;
        let may_have = !route.opens.is_never() || cache_request.dialect.echoes_client_info();
        let has_ids = route.kind == Kind::Query && self.revalidation.is_none() && may_have;
        has_ids.then(|| cache_request.ids())
    }

    /// Asks the upstream for the very part that the client wants, on the client's own conditions. Such an answer is not
    /// stored and not shared; the result is what `report` becomes.
    pub(crate) fn ask_for_part(
        &mut self,
        request: &mut Request<RequestBody>,
        report: CacheReport,
    ) -> CacheReport {
        let reason = Some(Reason::RequestRange);
        self.bypass = reason;
        self.key = None;
        self.revalidation = None;
        self.context.cache_request.conditions.add_to(request.headers_mut());
        CacheReport { reason, ..report }
    }

    /// The keys that the answer is stored under.
    pub(crate) fn keys(&self) -> &[Key] {
        self.wanted.as_ref().map_or(self.key.as_slice(), |wanted| wanted.keys())
    }

    /// The largest answer that is stored, in bytes: one entry, and some room for each further one.
    pub(crate) fn largest_answer(&self) -> usize {
        let further = self.keys().len().saturating_sub(1);
        self.live().config.store.max_entry.saturating_add(further * ROOM_FOR_VECTOR)
    }

    /// The largest answer that followers may join, in bytes: it is buffered for them whole.
    pub(crate) fn largest_shared(&self) -> usize {
        self.largest_answer().min(self.live().config.coalesce.max_buffer)
    }
}

/// What a request on a route with `mode = "rfc9111"` is revalidated with.
#[derive(Clone, Debug)]
pub(crate) struct Revalidation {
    /// The headers that go upstream; they select among the variants.
    pub(crate) request: HeaderMap,
    /// The key of the request's target, whatever the variant.
    pub(crate) target: Key,
    /// The headers that tell the stored variants of the target apart.
    pub(crate) varies_on: Vec<HeaderName>,
    /// The stored response that the upstream is asked to confirm, or that the answer to a `HEAD` may update.
    pub(crate) stored: Option<Arc<Entry>>,
}

impl Revalidation {
    /// `None` where the route has a TTL, or the answer is not stored.
    fn new(context: &RequestContext, headers: &HeaderMap) -> Option<Self> {
        let key = context.cache_request.key.as_ref();
        let target = key.filter(|_| context.route.mode == Mode::Rfc9111)?.clone();
        let mut request = headers.clone();
        context.make_upstreams(&mut request);
        Some(Self { request, target, varies_on: Vec::new(), stored: None })
    }
}
