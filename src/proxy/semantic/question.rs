//! The question of a request that missed.

use bytes::Bytes;
use http::request::Parts;

use crate::{
    cache::semantic::question::{CallerId, Ineligible, Question},
    proxy::context::RequestContext,
    request::semantic::{self, Asked},
};

/// The question that the client asks with `parts` and a body that says `body`; `parts` must be as they were when the request was
/// classified.
///
/// # Errors
/// Why the request takes no part.
pub(crate) fn question(
    context: &RequestContext,
    parts: &Parts,
    body: &Bytes,
) -> Result<Question, Ineligible> {
    let RequestContext { route, cache_request, exchange } = context;
    let classify_context = &exchange.live.classify_context;
    let peer = exchange.caller.peer.address;
    Asked { route, cache_request, classify_context, parts, body, peer }.question()
}

/// Who asks, where an answer counts only once two callers have asked for it.
pub(super) fn caller(context: &RequestContext) -> Option<CallerId> {
    let RequestContext { route, cache_request, exchange } = context;
    semantic::caller(route, cache_request, exchange.caller.peer.address)
}
