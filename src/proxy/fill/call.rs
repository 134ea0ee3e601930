//! What one fill holds while it runs.

use std::time::Instant;

use crate::{
    cache::route::OnAbandon,
    proxy::{
        coalesce::registry::FlightGuard, context::RequestContext, fill::purpose::Purpose, plan::FillPlan,
        trace::UpstreamCall,
    },
    reason::Reason,
    store::Lease,
};

/// One call of the upstream: it writes the answer for its readers, and stores it.
#[derive(Debug)]
pub(crate) struct Fill {
    pub(super) plan: FillPlan,
    pub(super) purpose: Purpose,
    /// Lets followers join; `None` where nobody may.
    pub(super) guard: Option<FlightGuard>,
    /// Keeps other replicas from the same call until the answer is stored.
    pub(super) lease: Option<Lease>,
    pub(super) started: Instant,
    /// The call itself, for its span.
    pub(super) upstream_call: UpstreamCall,
}

impl Fill {
    /// A call for `purpose`. The answer is stored as `plan` says; followers join it through `guard`.
    pub(crate) fn new(plan: FillPlan, purpose: Purpose, guard: Option<FlightGuard>) -> Self {
        let dialect = Some(plan.context.cache_request.dialect);
        let upstream_call = UpstreamCall { dialect, ..UpstreamCall::default() };
        Self { plan, purpose, guard, lease: None, started: Instant::now(), upstream_call }
    }

    /// After a refresh that failed, none begins for a while. This comes before the fill ends: from its end on, the next
    /// one could begin.
    pub(super) fn hold_off_refresh(&self) {
        if let (Purpose::Refresh, Some(guard)) = (self.purpose, &self.guard) {
            guard.hold_off_refresh();
        }
    }

    /// Notes for the next response to the same question whether this answer is stored. A turn's answer never is, and
    /// of several inputs each has an entry of its own.
    pub(super) fn note_stored(&self, stored: Result<(), Reason>) {
        let RequestContext { route, cache_request, .. } = &*self.plan.context;
        let shared = self.plan.shared();
        match (stored, &self.plan.fingerprints) {
            (Err(reason), _) => shared.stats.here().not_stored(route.kind, reason),
            (Ok(()), Some(fingerprints)) => shared.insight.stored(fingerprints),
            (Ok(()), None) => {}
        }
        if let ([key], false) = (self.plan.keys(), cache_request.is_turn) {
            self.plan.shared().not_stored.record(key.id(), stored);
        }
    }

    /// The next requests, here and at other replicas, ask for themselves at once.
    pub(super) async fn mark_unshareable(&mut self) {
        if let Some(guard) = &self.guard {
            guard.remember_unshareable();
        }
        if let Some(lease) = self.lease.take() {
            Box::pin(lease.mark_unshareable()).await;
        }
    }

    /// Whether the fill stops when its last reader leaves: the route says so, or the answer has no key.
    pub(super) fn ends_when_abandoned(&self) -> bool {
        let is_canceled = self.plan.context.route.on_abandon == OnAbandon::Cancel;
        // Nobody reads a refresh or an audit in the first place.
        self.purpose.has_reader() && (is_canceled || self.plan.key.is_none())
    }
}
