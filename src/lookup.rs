//! Asking the store, and judging what it holds for a request.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::header;

use crate::{
    admit::Inquiry,
    dialect::{self, Served},
    entry::Entry,
    headers,
    key::Key,
    log::events::Operation,
    policy::{self, Freshness},
    question::Question,
    reply::{CacheReport, Forward},
    route::{Route, Scope},
    state::Shared,
    time::unix_millis,
};

/// A stored answer, as far as it is of use to a request.
#[derive(Debug)]
pub enum Lookup {
    /// It is the answer.
    Hit(Arc<Entry>, Served, CacheReport),
    /// There is none, or it is of no use; the entry where it is fresh all the same.
    Miss(Forward, Option<Arc<Entry>>),
}

/// Asks the store for `key`.
pub async fn lookup(question: &Question, key: &Key) -> Lookup {
    let Question { shared, route, inquiry, exchange, .. } = question;
    let started = Instant::now();
    let found = shared.store.get(key).await;
    let failed = found.is_err();
    let lookup = match found {
        Ok(Some(entry)) => judge(shared, route, inquiry, key, entry),
        Ok(None) => Lookup::Miss(Forward::UriMiss, None),
        Err(_) => Lookup::Miss(Forward::Miss, None),
    };
    let counters = shared.stats.of(route.kind);
    let hit = matches!(lookup, Lookup::Hit(..));
    match (hit, failed) {
        (true, _) => counters.hits.increment(),
        (false, true) => shared.stats.errors.increment(),
        (false, false) => counters.misses.increment(),
    }
    exchange.performed(Operation::CacheLookup { hit }, started.elapsed(), !failed);
    lookup
}

/// Whether `entry` answers the request.
pub fn judge(shared: &Shared, route: &Route, inquiry: &Inquiry, key: &Key, entry: Arc<Entry>) -> Lookup {
    if !may_read(shared, route, inquiry, entry.with_credentials) {
        return Lookup::Miss(Forward::Miss, None);
    }
    let now = unix_millis(SystemTime::now());
    let (age, left) = match policy::freshness(entry.stored_at, entry.ttl, now, &inquiry.directives) {
        Freshness::Fresh { age, left } => (age, left),
        Freshness::Stale => return Lookup::Miss(Forward::Stale, None),
        Freshness::TooOld => return Lookup::Miss(Forward::Request, None),
    };
    let media = entry.header(&header::CONTENT_TYPE).and_then(headers::media_type_of).unwrap_or_default();
    match dialect::serve(inquiry.dialect, entry.form, &media, &entry.body, &inquiry.ask) {
        Some(served) => {
            let left = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
            let report = CacheReport::hit(route.kind, key.clone(), age.as_secs(), left);
            Lookup::Hit(entry, served, report)
        }
        None => Lookup::Miss(Forward::Miss, Some(entry)),
    }
}

/// Whether a request may have an answer that was given to one with, or without, credentials: under a shared
/// scope, what somebody with credentials got is for those alone whose own the upstream accepts.
pub fn may_read(shared: &Shared, route: &Route, inquiry: &Inquiry, with_credentials: bool) -> bool {
    let stands = |credentials| shared.standing.holds(&route.name, credentials, Instant::now());
    !with_credentials || route.scope == Scope::Credential || inquiry.credentials.as_ref().is_some_and(stands)
}
