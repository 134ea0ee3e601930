//! The lease of a fill: among all replicas, its holder asks the upstream and the others wait for the stored answer.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::time::timeout;

use crate::{
    dialect::Rendered,
    proxy::{
        cached::{Found, Lookup},
        coalesce::{
            flight::{FlightWriter, NoReaders},
            head::{AnswerSource, Head, Shareable},
        },
        fill::{call::Fill, purpose::Purpose},
        lookup::{batch, find_for_readers},
        plan::FillPlan,
        response,
    },
    request::CacheRequest,
    store::{self, Lease, LeaseState},
    telemetry::stats::StoreCall,
};

/// The pause between two looks for another replica's answer.
const LEASE_POLL: Duration = Duration::from_millis(20);

/// The first of these pauses: the lease may be that of a request here which has joined this fill instead.
const FIRST_POLL: Duration = Duration::from_millis(2);

/// Whether to ask the upstream.
#[derive(Debug)]
pub(super) enum LeaseOutcome {
    /// Yes; with the lease, if the store has replicas.
    Fetch(Option<Lease>),
    /// No: another request or another replica has stored the answer since the lookup.
    Found(Found),
    /// No: nobody waits for the answer any more.
    Abandoned,
}

impl Fill {
    /// Looks once more for an answer that was stored since the lookup, then waits while another replica asks the same.
    /// Where that takes longer than `coalesce.replica_wait`, this replica asks too.
    ///
    /// A refresh does not wait: another replica is already at it. Only the first reply counts towards the plan's store
    /// budget.
    pub(super) async fn acquire_lease(&mut self, writer: &FlightWriter) -> LeaseOutcome {
        let Some(guard) = &self.guard else { return LeaseOutcome::Fetch(None) };
        let context = Arc::clone(&self.plan.context);
        let CacheRequest { is_turn, ask, .. } = &context.cache_request;
        // Other replicas store nothing for such a request either.
        let Some(key) = self.plan.key.as_ref().filter(|_| !is_turn) else {
            return LeaseOutcome::Fetch(None);
        };
        let live = context.live();
        let deadline =
            (Instant::now() + live.config.coalesce.replica_wait).min(context.deadline().into_std());
        let target_ids = context.cache_request.target_ids();
        let mut is_first = true;
        let mut pause = FIRST_POLL;
        loop {
            let asked = Instant::now();
            let budget = self.plan.store_budget;
            let store = &live.shared.store;
            let reply = match self.plan.early_lease.take() {
                // The lookup has asked, a moment ago, and nothing was stored.
                Some(state) => Ok(store::LeaseReply { state, stored: None }),
                None => {
                    let reply = store.acquire_lease(key, &target_ids, ask.upstream_form.id, budget).await;
                    let stats = live.shared.stats.here();
                    stats.store_call(StoreCall::Lease, store::outcome(&reply), asked.elapsed());
                    reply
                }
            };
            if std::mem::take(&mut is_first) {
                self.plan.store_budget = budget.saturating_sub(asked.elapsed());
            }
            let Ok(store::LeaseReply { state, stored }) = reply else { return LeaseOutcome::Fetch(None) };
            if let Some(entry) = stored
                && let Lookup::Hit(found) = find_for_readers(&self.plan, key, entry).await
            {
                return LeaseOutcome::Found(found);
            }
            match state {
                LeaseState::Acquired(lease) => {
                    let look = batch::stored_meanwhile(&self.plan);
                    let stored = timeout(self.plan.store_budget, look).await.ok().flatten();
                    return stored.map_or(LeaseOutcome::Fetch(lease), LeaseOutcome::Found);
                }
                LeaseState::Unshareable => {
                    guard.remember_unshareable();
                    writer.release();
                    return LeaseOutcome::Fetch(None);
                }
                LeaseState::HeldElsewhere if self.purpose == Purpose::Refresh => {
                    return LeaseOutcome::Abandoned;
                }
                LeaseState::HeldElsewhere if Instant::now() < deadline => {}
                LeaseState::HeldElsewhere => return LeaseOutcome::Fetch(None),
            }
            tokio::select! {
                () = tokio::time::sleep(std::mem::replace(&mut pause, LEASE_POLL)) => {}
                () = writer.closed(), if self.ends_when_abandoned() => return LeaseOutcome::Abandoned,
            }
        }
    }
}

/// Gives the readers the stored answer.
///
/// # Errors
/// If all of them have left.
pub(super) async fn serve_found(
    plan: &FillPlan,
    found: Found,
    writer: &FlightWriter,
) -> Result<(), NoReaders> {
    let Found { entry, served, .. } = found;
    let dialect = plan.context.cache_request.dialect;
    let (status, entry) = (entry.status, Arc::unwrap_or_clone(entry));
    let slots = if matches!(served, Rendered::AsStored) { entry.slots.clone() } else { Vec::new() };
    let (headers, body) =
        response::stored_parts(&plan.context.route, dialect, entry, served, SystemTime::now());
    let source = AnswerSource::StoredMeanwhile { slots };
    let head = Head { status, headers, shareable: Shareable::Open, source, own_ids: Vec::new() };
    writer.head(head);
    writer.chunk(body).await
}
