//! Which of several routes covers a request, where the routes have conditions on its body. Pure.

use std::sync::Arc;

use http::request::Parts;

use super::{
    CacheRequest, Classified, ClassifyContext, body::RawBody, classify, dispatch::PassThroughReason,
    head::RequestHead,
};
use crate::{cache::route::Route, json::condition::Condition};

/// The first condition of the route's `when` that does not hold. None holds for a body that is no JSON.
pub(crate) fn unmet<'a>(head: &'a RequestHead, body: &RawBody<'_>) -> Option<&'a Condition> {
    let when = &head.route.when;
    if when.is_empty() {
        return None;
    }
    let json = if head.is_json && !head.is_encoded { body.json().as_ref().ok() } else { None };
    when.iter().find(|condition| !json.is_some_and(|json| condition.holds(json)))
}

/// The route that covers a request, and what the request asks for there.
pub(crate) type Covered = (Arc<Route>, Box<CacheRequest>);

/// The route that covers a request without caching its answer, if there is one, and why the request is passed through.
pub(crate) type Uncovered = (Option<Arc<Route>>, PassThroughReason);

/// The first of `routes` that covers a request by its body too, from `head`'s route on, and what the request asks for
/// there.
///
/// # Errors
/// If there is none.
pub(crate) fn cover(
    head: Arc<RequestHead>,
    routes: &[Arc<Route>],
    parts: &Parts,
    body: &[u8],
    classify_context: &ClassifyContext,
) -> Result<Covered, Uncovered> {
    // However many routes are tried, the body is parsed once.
    let body = RawBody::new(body);
    let mut tried = head;
    loop {
        let route = Arc::clone(&tried.route);
        match classify(&tried, parts, &body, classify_context) {
            Classified::Covered(cache_request) => return Ok((route, cache_request)),
            Classified::NotCovered(why) => return Err((Some(route), why)),
            Classified::Unmet => {}
        }
        let next = following(routes, &route, parts).ok_or((None, PassThroughReason::Unmet))?;
        tried = tried.on_other_route(next, parts);
    }
}

/// The next route after `last` that covers a request by its method and path.
pub(crate) fn following<'a>(
    routes: &'a [Arc<Route>],
    last: &Arc<Route>,
    parts: &Parts,
) -> Option<&'a Arc<Route>> {
    let mut rest = routes.iter().skip_while(|route| !Arc::ptr_eq(route, last)).skip(1);
    rest.find(|route| route.pattern.matches(&parts.method, parts.uri.path()))
}
