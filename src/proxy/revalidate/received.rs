//! What is stored of a response on a route with `mode = "rfc9111"`, and for how long.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::left;
use crate::{
    cache::{
        entry::Entry,
        policy::{self, Lifetime},
        rfc9111::{self, Fields, ResponseDirectives, StaleRules, Times, Vary},
        route::SetCookie,
    },
    proxy::{
        coalesce::head::{AnswerSource, Head, Shareable},
        context::RequestContext,
        plan::FillPlan,
        response,
    },
    reason::Reason,
    time::millis,
};

/// How long a response with this head may be stored under `mode = "rfc9111"`.
///
/// # Errors
/// Why it may not be stored.
pub(crate) fn lifetime_under_rfc9111(
    plan: &FillPlan,
    status: StatusCode,
    headers: &HeaderMap,
    times: Times,
) -> Result<Lifetime, Reason> {
    let directives = ResponseDirectives::from_headers(headers);
    let authorized =
        plan.revalidation.as_ref().is_some_and(|own| own.request.contains_key(header::AUTHORIZATION));
    rfc9111::check_storable(authorized, status, headers, &directives, times)?;
    if policy::is_encoded(headers) {
        return Err(Reason::Encoded);
    }
    if plan.context.route.set_cookie == SetCookie::Skip && headers.contains_key(header::SET_COOKIE) {
        return Err(Reason::SetCookie);
    }
    // RFC 5861, section 4: the stale response is better.
    if policy::is_failure(status) && plan.fallback.as_ref().is_some_and(|stale| stale.for_errors) {
        return Err(Reason::Status);
    }
    Ok(life(plan, status, headers, &directives, times))
}

fn life(
    plan: &FillPlan,
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    times: Times,
) -> Lifetime {
    let RequestContext { route, cache_request, .. } = &*plan.context;
    let configured =
        StaleRules { while_revalidate: route.stale_while_revalidate, if_error: route.stale_if_error };
    let rules = StaleRules::new(directives, configured);
    let ttl = rfc9111::lifetime(status, headers, directives, times).unwrap_or_default();
    let asked = cache_request.directives.ttl.map(|asked| asked + rfc9111::initial_age(headers, times));
    Lifetime {
        ttl: asked.map_or(ttl, |asked| asked.min(ttl)),
        stale_while_revalidate: rules.while_revalidate,
        stale_if_error: rules.if_error,
    }
}

/// Whether followers may read a response with this head: it must be fresh for them too (RFC 9111, section 4), and vary
/// only on headers that their keys tell apart.
pub(crate) fn shareable(plan: &FillPlan, head: &Head, life: Lifetime, times: Times) -> Shareable {
    let Some(revalidation) = &plan.revalidation else { return Shareable::Released };
    let selects = match Vary::from_headers(&head.headers) {
        Vary::Any => false,
        Vary::On(names) => names.iter().all(|name| revalidation.varies_on.contains(name)),
    };
    let reusable = ResponseDirectives::from_headers(&head.headers).no_cache != Fields::All;
    let fresh = life.ttl > rfc9111::initial_age(&head.headers, times);
    if selects && reusable && fresh { Shareable::Open } else { Shareable::Released }
}

/// `entry` with the headers and the times of its response. On a route with a TTL it stays as it is.
pub(crate) fn dated(plan: &FillPlan, entry: Entry, headers: &HeaderMap, times: Times) -> Entry {
    if plan.revalidation.is_none() {
        return entry;
    }
    let mut headers = headers.clone();
    // RFC 9110, section 6.6.1.
    headers.entry(header::DATE).or_insert_with(|| date(times));
    let directives = ResponseDirectives::from_headers(&headers);
    let life = life(plan, entry.status, &headers, &directives, times);
    let age = millis(rfc9111::initial_age(&headers, times));
    // RFC 9111, section 3.5: the response itself may allow clients without credentials.
    let for_all = directives.allow_authorized();
    Entry {
        headers: fields(plan, &headers),
        stored_at: times.came.saturating_sub(age),
        ttl: life.ttl,
        stale_while_revalidate: life.stale_while_revalidate,
        stale_if_error: life.stale_if_error,
        with_credentials: entry.with_credentials && !for_all,
        ..entry
    }
}

fn date(times: Times) -> HeaderValue {
    let came = std::time::UNIX_EPOCH + Duration::from_millis(times.came);
    HeaderValue::try_from(httpdate::fmt_http_date(came)).unwrap_or(HeaderValue::from_static(""))
}

fn fields(plan: &FillPlan, headers: &HeaderMap) -> HeaderMap {
    response::headers_to_store(&plan.context.route, &rfc9111::fields_to_store(headers))
}

/// How long an entry stays in the store from `times` on: while it is fresh or may be served stale, and then for the
/// route's TTL, so that the upstream can confirm it.
pub(crate) fn kept_for(plan: &FillPlan, entry: &Entry, times: Times) -> Duration {
    let age = entry.age(times.came);
    let beyond = entry.ttl.saturating_sub(age).saturating_add(plan.context.route.ttl);
    entry.life().saturating_sub(age).max(beyond)
}

/// A stored response that a 304 has confirmed.
#[derive(Debug)]
pub(crate) struct Revalidated {
    /// The response with its updated headers.
    pub(crate) entry: Entry,
    /// Whether the update is stored. It is not if the 304 names another response.
    pub(crate) updated: bool,
}

/// The stored response, if the upstream has confirmed it with a 304 (RFC 9111, section 4.3.3).
pub(crate) fn revalidated(plan: &FillPlan, head: &Head, times: Times) -> Option<Revalidated> {
    let stored = plan.revalidation.as_ref()?.stored.as_ref()?;
    if head.status != StatusCode::NOT_MODIFIED || plan.context.is_head() {
        return None;
    }
    Some(match freshened(plan, stored, &head.headers, times) {
        Some(entry) => Revalidated { entry, updated: true },
        None => Revalidated { entry: (**stored).clone(), updated: false },
    })
}

/// The stored response, updated by the answer to a `HEAD` (RFC 9111, section 4.3.5). If the answer describes another
/// response, the stored one becomes stale.
pub(crate) fn updated_by_head(plan: &FillPlan, head: &Head, times: Times) -> Option<Entry> {
    let stored = plan.revalidation.as_ref()?.stored.as_ref()?;
    if !plan.context.is_head() || head.status != StatusCode::OK || stored.status != StatusCode::OK {
        return None;
    }
    let same = rfc9111::matches_head(&stored.headers, stored.body.len(), &head.headers);
    let updated = freshened(plan, stored, &head.headers, times).filter(|_| same);
    Some(updated.unwrap_or_else(|| Entry { ttl: Duration::ZERO, ..(**stored).clone() }))
}

fn freshened(plan: &FillPlan, stored: &Arc<Entry>, told: &HeaderMap, times: Times) -> Option<Entry> {
    let mut told = told.clone();
    told.entry(header::DATE).or_insert_with(|| date(times));
    let headers = rfc9111::freshen(&stored.headers, &told)?;
    Some(dated(plan, (**stored).clone(), &headers, times))
}

/// The head of a response that was confirmed.
pub(crate) fn revalidated_head(plan: &FillPlan, entry: &Entry, times: Times) -> Head {
    let (headers, age) = (entry.headers.clone(), entry.age(times.came));
    let source = AnswerSource::Revalidated { age: age.as_secs(), ttl: left(entry, age) };
    let head =
        Head { status: entry.status, headers, shareable: Shareable::Released, source, own_ids: Vec::new() };
    let life = Lifetime { ttl: entry.ttl, ..Lifetime::default() };
    Head { shareable: shareable(plan, &head, life, times), ..head }
}
