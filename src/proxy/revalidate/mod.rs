//! Routes with `mode = "rfc9111"`: applies the rules of `cache/rfc9111/` to a request's life.
//!
//! [`judge`] says whether a stored response answers, [`make_conditional`] adds the validators to the upstream's request,
//! [`received`] says what is stored of its response, and [`variants`] finds and stores what `Vary` tells apart.

pub(crate) mod received;
pub(crate) mod variants;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{Request, header};

use crate::{
    cache::{
        entry::Entry,
        key::Key,
        rfc9111::{self, ResponseDirectives, Reuse, StaleRules},
        status::{CacheReport, Forward},
    },
    dialect::Rendered,
    proxy::{
        body::RequestBody,
        cached::{Fallback, Found, Lookup, Miss},
        plan::FillPlan,
    },
    time::unix_millis,
};

/// Whether `entry`, found under `key`, answers the request, and how.
pub(crate) fn judge(plan: &FillPlan, key: &Key, entry: Arc<Entry>) -> Lookup {
    if variants::names(&entry).is_some() {
        return Forward::UriMiss.into();
    }
    if !plan.context.may_read(entry.with_credentials) {
        return Forward::Miss.into();
    }
    let (directives, asked) =
        (ResponseDirectives::from_headers(&entry.headers), &plan.context.cache_request.directives);
    let rules = StaleRules { while_revalidate: entry.stale_while_revalidate, if_error: entry.stale_if_error };
    // `stored_at` includes the age that the response had when it came (RFC 9111, section 4.2.3).
    let age = entry.age(unix_millis(SystemTime::now()));
    let reuse = rfc9111::reuse(&directives, rules, asked, age, entry.ttl);
    let report = CacheReport::hit(plan.context.route.kind, key.clone(), age.as_secs(), left(&entry, age));
    let found = |report| Found { report, served: Rendered::AsStored, entry: Arc::clone(&entry) };
    match reuse {
        Reuse::Fresh => Lookup::Hit(found(report)),
        Reuse::Stale { refresh: false } => Lookup::Hit(found(report.stale())),
        Reuse::Stale { refresh: true } => Lookup::Stale(found(report.stale())),
        Reuse::Validate { asked: by_request } => {
            let fallback = rfc9111::fallback(&directives, rules, asked, age, entry.ttl);
            let fallback = match fallback {
                rfc9111::Fallback::No => None,
                _ => Some(Fallback {
                    found: found(report.stale()),
                    for_errors: fallback == rfc9111::Fallback::Error,
                }),
            };
            let forward = if by_request { Forward::Request } else { Forward::Stale };
            Lookup::Miss(Miss { forward, kept: None, fallback, stored: Some(entry) })
        }
    }
}

/// The seconds that an entry of this age is still fresh; negative if it is stale.
fn left(entry: &Entry, age: Duration) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    seconds(entry.ttl.saturating_sub(age)) - seconds(age.saturating_sub(entry.ttl))
}

/// Adds the validators of `stored` to `request`, so that the upstream can confirm it with a 304. Without validators, the
/// client's own conditions go upstream (RFC 9111, section 4.3.2).
pub(crate) fn make_conditional(
    plan: &mut FillPlan,
    request: &mut Request<RequestBody>,
    stored: Option<Arc<Entry>>,
) {
    let Some(revalidation) = &mut plan.revalidation else { return };
    // Only whole responses are stored.
    for name in [header::RANGE, header::IF_RANGE] {
        request.headers_mut().remove(name);
    }
    let headers = stored.as_ref().map(|entry| entry.headers.clone()).unwrap_or_default();
    // The answer to a `HEAD` updates the stored response without validators (section 4.3.5).
    let is_head = *request.method() == http::Method::HEAD;
    let conditions = if is_head { Vec::new() } else { rfc9111::conditions(&headers) };
    if conditions.is_empty() {
        plan.context.cache_request.conditions.add_to(request.headers_mut());
    }
    revalidation.stored = stored.filter(|_| is_head || !conditions.is_empty());
    request.headers_mut().extend(conditions);
}
