//! Conversations: a turn that goes upstream changes them, so cached views of them are invalidated before and
//! after it.

use std::time::{Duration, Instant};

use crate::{
    cache::invalidation::{Target, Version},
    proxy::{context::RequestContext, invalidate::invalidate},
    store::outcome,
    telemetry::stats::{InvalidationCause, StoreCall},
};

/// Invalidates the cached `GET`s of a turn's conversations before the turn goes upstream. Returns the
/// position in the invalidation log at which the call of the upstream begins: later invalidations concern its
/// answer. `None` if the store does not know the position. Waits for the store at most `store_budget`; other
/// replicas may then apply the invalidation later.
pub(crate) async fn begin(context: &RequestContext, store_budget: Duration) -> Option<Version> {
    let store = &context.shared().store;
    let views = views(context);
    if views.is_empty() {
        return store.now();
    }
    let started = Instant::now();
    let invalidated = store.invalidate_within(&views, store_budget).await;
    let stats = context.shared().stats.here();
    stats.invalidated(InvalidationCause::Turn, views.len());
    stats.store_call(StoreCall::Invalidate, outcome(&invalidated), started.elapsed());
    if invalidated.is_err() {
        stats.errors.increment();
    }
    invalidated.ok()
}

/// Invalidates the views of the conversations that were cached during the turn.
pub(crate) async fn end(context: &RequestContext) {
    invalidate(context.shared(), &views(context), InvalidationCause::Turn).await;
}

fn views(context: &RequestContext) -> Vec<Target> {
    context.cache_request.conversations.iter().cloned().map(Target::ConversationView).collect()
}
