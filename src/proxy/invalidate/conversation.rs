//! Conversations: a turn that goes to the upstream changes them.

use std::time::Duration;

use crate::{
    cache::invalidation::{Target, Version},
    proxy::{context::RequestContext, invalidate::invalidate},
};

/// Invalidates, before a turn goes to the upstream, the cached `GET` of its conversations. Returns the place in the order
/// of invalidations from which on its own answer depends on what is invalidated; `None` where that is not known. The
/// store is not waited for longer than `store_budget`: other replicas then learn of it later.
pub(crate) async fn begin(context: &RequestContext, store_budget: Duration) -> Option<Version> {
    let store = &context.shared().store;
    let views = views(context);
    if views.is_empty() {
        return store.now();
    }
    match store.invalidate_within(&views, store_budget).await {
        Ok(point) => Some(point),
        Err(_) => {
            context.shared().stats.errors.increment();
            None
        }
    }
}

/// Invalidates, once the turn is over, what was seen of its conversations meanwhile.
pub(crate) async fn end(context: &RequestContext) {
    invalidate(context.shared(), &views(context)).await;
}

fn views(context: &RequestContext) -> Vec<Target> {
    context.cache_request.conversations.iter().cloned().map(Target::ConversationView).collect()
}
