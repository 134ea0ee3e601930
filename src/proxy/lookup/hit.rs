//! Replies from the store.

use std::{sync::Arc, time::SystemTime};

use http::{StatusCode, header};
use http_body::Body;

use crate::{
    cache::{entry::Entry, status::Forward},
    dialect::{OwnId, Rendered, fill},
    proxy::{
        cached::Found,
        context::RequestContext,
        model_call::ModelCall,
        response::{self, Reply, body::ResponseBody},
    },
};

/// The reply with a stored answer.
pub(crate) fn found(context: &RequestContext, found: Found) -> Reply {
    let Found { entry, served, report } = found;
    let stats = context.shared().stats.here();
    stats.saved(entry.took.saturating_sub(context.exchange.elapsed()));
    let mut entry = Arc::unwrap_or_clone(entry);
    let saved = ModelCall::saved(context, &mut entry);
    let RequestContext { route, cache_request, .. } = context;
    fill_slots(&mut entry, &served, &cache_request.own_ids);
    let mut response = response::from_entry(route, cache_request.dialect, entry, served, SystemTime::now());
    if context.is_head() {
        let len = response.body().size_hint().lower();
        response.headers_mut().insert(header::CONTENT_LENGTH, len.into());
        *response.body_mut() = ResponseBody::empty();
    }
    Reply { response, report: Some(report), saved: Some(saved) }
}

/// Gives `entry` the ids that this hit alone has.
fn fill_slots(entry: &mut Entry, served: &Rendered, own_ids: &[OwnId]) {
    // Another form has its bytes elsewhere, and keeps the null.
    if !entry.slots.is_empty() && matches!(served, Rendered::AsStored) {
        entry.body = fill(&entry.body, &entry.slots, own_ids);
    }
}

/// The reply with a stale answer, in place of the upstream's error. `status` is the status of that error; `None` if the
/// upstream did not answer.
pub(crate) fn instead(context: &RequestContext, mut stale: Found, status: Option<StatusCode>) -> Reply {
    stale.report.forward = Some((Forward::Stale, status));
    found(context, stale)
}
