//! Which of several routes covers a request, where the routes have conditions on its body. Pure.

use std::sync::Arc;

use http::request::Parts;

use super::{
    CacheRequest, ClassifyContext, body::RawBody, classify, dispatch::PassThroughReason, head::RequestHead,
};
use crate::{cache::route::Route, json::condition::Condition};

/// The first condition of `route`'s `when` that does not hold for a request with this head, on whatever route. None holds
/// for a body that is no JSON.
pub(crate) fn unmet<'r>(route: &'r Route, head: &RequestHead, body: &RawBody<'_>) -> Option<&'r Condition> {
    if route.when.is_empty() {
        return None;
    }
    let json = if head.is_json && !body.is_encoded { body.json().as_ref().ok() } else { None };
    route.when.iter().find(|condition| !json.is_some_and(|json| condition.holds(json)))
}

/// The route that covers a request, and what the request asks for there.
pub(crate) type Covered = (Arc<Route>, Box<CacheRequest>);

/// The route that covers a request without caching its answer, if there is one, and why the request is passed through.
pub(crate) type Uncovered = (Option<Arc<Route>>, PassThroughReason);

/// The first of `routes` that covers a request by its body too, from `head`'s route on, and what the request asks for
/// there. However many routes are tried, the body is parsed once.
///
/// # Errors
/// If no route covers it.
pub(crate) fn cover(
    head: Arc<RequestHead>,
    routes: &[Arc<Route>],
    parts: &Parts,
    body: &RawBody<'_>,
    classify_context: &ClassifyContext,
) -> Result<Covered, Uncovered> {
    let route = match head.route.when.is_empty() {
        true => None,
        false => Some(choose(&head, routes, parts, body, classify_context)?),
    };
    let head = match route {
        Some(route) if !Arc::ptr_eq(route, &head.route) => head.on_other_route(route, parts),
        _ => head,
    };
    let route = Arc::clone(&head.route);
    match classify(&head, parts, body, classify_context) {
        Ok(cache_request) => Ok((route, cache_request)),
        Err(why) => Err((Some(route), why)),
    }
}

/// The first of `routes`, from `head`'s route on, whose conditions hold for the body.
///
/// # Errors
/// If the conditions of no route hold.
fn choose<'r>(
    head: &RequestHead,
    routes: &'r [Arc<Route>],
    parts: &Parts,
    body: &RawBody<'_>,
    classify_context: &ClassifyContext,
) -> Result<&'r Arc<Route>, Uncovered> {
    let choices = &classify_context.choices;
    let id = head.reads_json(body).then(|| {
        let body_id = body.id(&classify_context.parse_cache);
        choices.id(body_id, &head.route, &parts.method, parts.uri.path())
    });
    if let Some(route) = id.and_then(|id| choices.recall(id)).and_then(|at| routes.get(at)) {
        return Ok(route);
    }
    let (at, route) = candidates(head, routes, parts)
        .find(|(_, route)| unmet(route, head, body).is_none())
        .ok_or((None, PassThroughReason::Unmet))?;
    if let Some(id) = id {
        choices.remember(id, at);
    }
    Ok(route)
}

/// The routes that cover a request by its method and path, from `head`'s route on, each with its place in `routes`.
pub(crate) fn candidates<'r>(
    head: &RequestHead,
    routes: &'r [Arc<Route>],
    parts: &Parts,
) -> impl Iterator<Item = (usize, &'r Arc<Route>)> {
    let from_first = routes.iter().enumerate().skip_while(|(_, route)| !Arc::ptr_eq(route, &head.route));
    from_first.filter(|(_, route)| route.pattern.matches(&parts.method, parts.uri.path()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        cache::{
            identity::Identities,
            invalidation::resource::Resources,
            route::{Scope, kind::Kind},
        },
        request::{Choices, parse_cache::ParseCache},
    };

    fn context() -> ClassifyContext {
        ClassifyContext {
            namespace: "ns".into(),
            epoch: None,
            encryption: None,
            host_counts: false,
            log_questions: false,
            resources: Resources::default(),
            parse_cache: ParseCache::for_store(0),
            choices: Choices::default(),
            identities: Arc::new(Identities::unverified(|| 0)),
        }
    }

    fn routes() -> Vec<Arc<Route>> {
        let route = |name: &str, pattern, when: &[&str], cache| {
            let route = Route::new(pattern, Kind::Query, Duration::from_secs(60), Scope::Credential);
            let when = when.iter().map(|condition| condition.parse().expect("a condition")).collect();
            Arc::new(Route { name: name.to_owned(), when, cache, ..route.expect("a route") })
        };
        vec![
            route("a", "POST /ask", &["/mode = \"a\""], true),
            route("off", "* /**", &["/mode = \"off\""], false),
            route("b", "* /**", &["/mode = \"b\"", "!/reset"], true),
            route("rest", "POST /ask", &[], true),
        ]
    }

    proptest! {
        /// A request that comes again, wherever and however it is sent, is covered as if it came for the first time.
        #[test]
        fn what_is_chosen_once_is_chosen_again(
            asked in proptest::collection::vec((0..4_usize, any::<bool>(), 0..2_usize, 0..2_usize, 0..3_usize), 1..40),
        ) {
            let (warm, routes) = (context(), routes());
            for (mode, reset, method, path, media) in asked {
                let mode = ["a", "b", "off", "c"][mode];
                let body = format!(r#"{{"query":"q","mode":"{mode}","reset":{}}}"#, if reset { "1" } else { "null" });
                let request = Request::builder()
                    .method(["POST", "PUT"][method])
                    .uri(["/ask", "/tell"][path])
                    .header("content-type", ["application/json", "text/plain", "application/json; a=b"][media]);
                let (parts, ()) = request.body(()).expect("a request").into_parts();
                let Some(first) = routes.iter().find(|route| {
                    route.pattern.matches(&parts.method, parts.uri.path())
                }) else { continue };
                let covered = |context: &ClassifyContext| {
                    let head = Arc::new(RequestHead::new(first, &parts));
                    let covered = cover(head, &routes, &parts, &RawBody::new(body.as_bytes()), context);
                    covered.map(|(route, request)| (route.name.clone(), request.key.map(|key| key.name()))).map_err(
                        |(route, why)| (route.map(|route| route.name.clone()), why),
                    )
                };
                prop_assert_eq!(covered(&warm), covered(&context()));
            }
        }
    }
}
