//! Whose turn it is to ask the upstream, among all replicas.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::time::timeout;

use crate::{
    proxy::{
        cached::{Found, Lookup},
        coalesce::{
            flight::{Abandoned, Head, Shareable, Source, Writer},
            registry::FlightGuard,
        },
        context::RequestContext,
        fill::purpose::Purpose,
        lookup::{batch, find_for_readers},
        response,
    },
    store::{self, Lease, LeaseState},
};

/// How often another replica's answer is looked for.
const TURN_POLL: Duration = Duration::from_millis(20);

/// Whether to ask the upstream.
#[derive(Debug)]
pub enum LeaseOutcome {
    /// Yes; with the lease where there are other replicas.
    Fetch(Option<Lease>),
    /// No: it is stored by now, by another replica, or since it was looked up.
    Found(Found),
    /// No: nobody waits for it any more.
    Abandoned,
}

/// Looks once more for what may have been stored since it was looked up, then waits while another replica asks the
/// same, and has it asked here where that takes too long.
///
/// A refresh does not wait: then another replica has begun it. `store_budget` is how long the question may still wait for
/// the store; what is left of it.
pub async fn acquire(
    context: &RequestContext,
    guard: &FlightGuard,
    writer: &Writer,
    purpose: Purpose,
    ends_when_abandoned: bool,
    store_budget: &mut Duration,
) -> LeaseOutcome {
    let (cache_request, live) = (&context.cache_request, context.live());
    // What is not stored is not waited for.
    let Some(key) = cache_request.key.as_ref().filter(|_| !cache_request.is_turn) else {
        return LeaseOutcome::Fetch(None);
    };
    let deadline = (Instant::now() + live.config.coalesce.replica_wait).min(context.deadline().into_std());
    let mut is_first = true;
    loop {
        let asked = Instant::now();
        let acquire_lease = live
            .shared
            .store
            .acquire_lease(
                key,
                &cache_request.target_ids(),
                cache_request.ask.upstream_form.id,
                *store_budget,
            )
            .await;
        // From then on, it is the other replica that is waited for.
        if std::mem::take(&mut is_first) {
            *store_budget = store_budget.saturating_sub(asked.elapsed());
        }
        let Ok(store::LeaseReply { state, found }) = acquire_lease else { return LeaseOutcome::Fetch(None) };
        if let Some(entry) = found
            && let Lookup::Hit(found) = find_for_readers(context, key, entry).await
        {
            return LeaseOutcome::Found(found);
        }
        match state {
            LeaseState::Acquired(lease) => {
                let stored = timeout(*store_budget, batch::stored_meanwhile(context)).await.ok().flatten();
                return stored.map_or(LeaseOutcome::Fetch(lease), LeaseOutcome::Found);
            }
            LeaseState::Unshareable => {
                guard.remember_unshareable();
                writer.release();
                return LeaseOutcome::Fetch(None);
            }
            LeaseState::HeldElsewhere if purpose == Purpose::Refresh => return LeaseOutcome::Abandoned,
            LeaseState::HeldElsewhere if Instant::now() < deadline => {}
            LeaseState::HeldElsewhere => return LeaseOutcome::Fetch(None),
        }
        tokio::select! {
            () = tokio::time::sleep(TURN_POLL) => {}
            () = writer.closed(), if ends_when_abandoned => return LeaseOutcome::Abandoned,
        }
    }
}

/// Gives the readers an answer that somebody else asked for.
///
/// # Errors
/// Where they have left.
pub async fn serve_found(context: &RequestContext, found: Found, writer: &Writer) -> Result<(), Abandoned> {
    let Found { entry, served, .. } = found;
    let dialect = context.cache_request.dialect;
    let (status, entry) = (entry.status, Arc::unwrap_or_clone(entry));
    let (headers, body) = response::stored_parts(&context.route, dialect, entry, served, SystemTime::now());
    let head = Head { status, headers, shareable: Shareable::Open, source: Source::Meanwhile };
    writer.head(head);
    writer.chunk(body).await
}
