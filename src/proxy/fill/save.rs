//! Makes the entry of a whole answer, and stores it.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use http::HeaderMap;

use crate::{
    cache::{
        entry::{Entry, RequestLabel},
        invalidation::{Dependencies, Target, TargetId, Version, tags},
        policy::{self, Freshness, Lifetime},
        request_directives::RequestDirectives,
        rfc9111::Times,
    },
    dialect::{self, Answer, Placement, StoredAnswer, TakenOut},
    proxy::{
        coalesce::head::Head,
        context::RequestContext,
        plan::FillPlan,
        response,
        revalidate::{received, variants},
    },
    reason::Reason,
    store::outcome,
    telemetry::{
        log::events::Operation,
        stats::{Limit, StoreCall},
    },
    time::unix_millis,
};

/// How long an entry is of use, and the version of the invalidation log that its fill began with.
#[derive(Clone, Copy, Debug)]
pub(super) struct SaveAs {
    pub(super) life: Lifetime,
    pub(super) began: Option<Version>,
}

/// The entry of a whole answer.
///
/// # Errors
/// The reason, if something that the answer depends on was invalidated since its fill began.
pub(super) fn entry(
    plan: &FillPlan,
    head: &Head,
    body: Bytes,
    answer: Answer,
    as_of: SaveAs,
) -> Result<Entry, Reason> {
    let SaveAs { life, began } = as_of;
    let RequestContext { route, exchange, cache_request } = &*plan.context;
    let headers = response::headers_to_store(route, &head.headers);
    let (body, slots) = match answer.for_others {
        Some(TakenOut { body, slots }) => (body, slots),
        None => (body, Vec::new()),
    };
    let entry = Entry {
        slots,
        request: RequestLabel::new(&exchange.path, route.label()),
        stored_at: unix_millis(SystemTime::now()),
        ttl: life.ttl,
        stale_while_revalidate: life.stale_while_revalidate,
        stale_if_error: life.stale_if_error,
        form: cache_request.ask.upstream_form.id,
        with_credentials: cache_request.credentials.is_some(),
        model: answer.model.or_else(|| cache_request.model.clone()),
        usage: answer.usage,
        ..Entry::new(head.status, headers, body)
    };
    depending(plan, entry, &head.headers, answer.tags, began)
}

/// Adds to `entry` what it depends on: by its request, by its headers, and `in_body`.
///
/// # Errors
/// [`Reason::Retired`] if one of these was invalidated since `began`, [`Reason::Settling`] if one still settles.
fn depending(
    plan: &FillPlan,
    entry: Entry,
    headers: &HeaderMap,
    in_body: Vec<String>,
    began: Option<Version>,
) -> Result<Entry, Reason> {
    let cache_request = &plan.context.cache_request;
    let (began, key) = began.zip(plan.key.as_ref()).ok_or(Reason::StoreUnavailable)?;
    let tags = tags::collect(&cache_request.targets, headers, in_body)?;
    let by_tag: Vec<_> = tags.iter().cloned().map(Target::Tag).collect();
    let target_ids: Vec<_> =
        cache_request.target_ids().into_iter().chain(TargetId::from_targets(&by_tag)).collect();
    let dependencies = Dependencies { key, target_ids: &target_ids };
    if plan.shared().settling.concerns(&dependencies) {
        return Err(Reason::Settling);
    }
    if plan.shared().store.invalidations().is_invalidated(began, dependencies) {
        return Err(Reason::Retired);
    }
    Ok(Entry { began, target_ids, tags, ..entry })
}

/// Where `entry`, asked for at `asked` (Unix milliseconds), goes if `stored` is there already.
fn place(plan: &FillPlan, entry: &Entry, stored: &Entry, asked: u64) -> Placement {
    let now = unix_millis(SystemTime::now());
    let freshness = policy::freshness(stored.stored_at, stored.ttl, now, &RequestDirectives::default());
    if !matches!(freshness, Freshness::Fresh { .. }) || !plan.context.may_read(stored.with_credentials) {
        return Placement::Instead;
    }
    let RequestContext { route, cache_request, .. } = &*plan.context;
    let [old, new] = [stored, entry].map(|entry| StoredAnswer {
        form: entry.form,
        framing: route.framing(&entry.headers),
        body: &entry.body,
    });
    match dialect::place(cache_request.dialect, &old, &new) {
        // The stored answer was there when this request came, and did not serve it: it is replaced.
        Placement::Nowhere if stored.stored_at < asked => Placement::Instead,
        place => place,
    }
}

/// A stored entry that is to be stored again.
///
/// # Errors
/// The reason, if something that it depends on was invalidated.
pub(super) fn again(plan: &FillPlan, entry: Entry, began: Option<Version>) -> Result<Entry, Reason> {
    let (headers, told) = (entry.headers.clone(), entry.tags.clone());
    depending(plan, entry, &headers, told, began)
}

/// Stores an entry whose response came at `times`.
///
/// # Errors
/// The reason, if another form of the answer stays or the store fails.
pub(super) async fn store(plan: &FillPlan, entry: Entry, times: Times) -> Result<(), Reason> {
    let (started, life) = (Instant::now(), entry.life());
    let FillPlan { context, revalidation, wanted, .. } = plan;
    let RequestContext { cache_request, exchange, .. } = &**context;
    let (live, shared) = (plan.live(), plan.shared());
    let Some(key) = &plan.key else { return Err(Reason::TtlZero) };
    let store = &shared.store;
    let stored = match (revalidation, wanted) {
        (None, None) if cache_request.dialect.has_forms() => {
            let entry = Arc::new(entry);
            let place = |stored: &Entry| place(plan, &entry, stored, times.asked);
            match store.put_in_place(key, &entry, life, place).await {
                Ok(Placement::Nowhere) if entry.is_invalidated(key, store.invalidations()) => {
                    return Err(Reason::Retired);
                }
                Ok(Placement::Nowhere) => return Err(Reason::OtherFormKept),
                placed => placed.map(|_| ()),
            }
        }
        (None, None) => store.put(key, Arc::new(entry), life).await,
        (Some(revalidation), _) => {
            let life = received::kept_for(plan, &entry, times);
            Box::pin(variants::put(store, revalidation, entry, life)).await
        }
        (None, Some(wanted)) => {
            let count = |reason: &Reason| {
                if *reason == Reason::TooLarge {
                    shared.stats.limited(Limit::MaxEntry);
                }
            };
            let entries = wanted.entries(&entry, live.config.store.max_entry).inspect_err(count)?;
            let put = |(key, entry)| (key, Arc::new(entry), life);
            store.put_many(entries.into_iter().map(put).collect()).await
        }
    };
    let took = started.elapsed();
    exchange.log_step(Operation::CacheStore, took, stored.is_ok());
    shared.stats.here().store_call(StoreCall::Put, outcome(&stored), took);
    stored.map_err(|_| {
        shared.stats.here().errors.increment();
        Reason::StoreUnavailable
    })
}
