//! Asks the store, and decides whether the entry that it has answers the request.

pub(crate) mod batch;
pub(crate) mod hit;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::time::timeout;

use crate::{
    cache::{
        entry::Entry,
        key::Key,
        policy::{self, Freshness},
        status::{CacheReport, Forward},
    },
    dialect::{self, Ask, BY_HAND, Rendered},
    proxy::{
        cached::{Fallback, Found, Lookup, Miss, seconds},
        context::RequestContext,
        plan::FillPlan,
        revalidate::{self, variants},
    },
    store::{Looked, Store, outcome},
    telemetry::{
        log::events::Operation,
        stats::{LookupResult, StoreCall},
    },
    time::unix_millis,
};

/// Asks the store for the entry under `key`, or for the variant of it that the request selects: the plan's key becomes
/// that variant's.
pub(crate) async fn lookup(plan: &mut FillPlan, key: Key) -> Lookup {
    let started = Instant::now();
    let store = &plan.context.exchange.live.shared.store;
    let takes_lease = matches!(store, Store::Redis(_)) && plan.may_lead();
    let found = match &mut plan.revalidation {
        Some(revalidation) => Box::pin(variants::find(store, revalidation, plan.store_budget)).await,
        None if takes_lease => {
            let request = &plan.context.cache_request;
            let form = request.ask.upstream_form.id;
            let looked = store.get_or_lease(&key, form, || request.target_ids()).await;
            looked.map(|Looked { entry, lease }| {
                plan.early_lease = lease;
                (key, entry)
            })
        }
        None => store.get(&key).await.map(|entry| (key, entry)),
    };
    let mut took = started.elapsed();
    plan.store_budget = plan.store_budget.saturating_sub(took);
    let outcome = outcome(&found);
    let failed = found.is_err();
    let lookup = match found {
        Ok((key, entry)) => {
            let varies =
                plan.revalidation.as_ref().is_some_and(|revalidation| !revalidation.varies_on.is_empty());
            let nothing = if varies { Forward::VaryMiss } else { Forward::UriMiss };
            let mut lookup = entry.map_or(nothing.into(), |entry| judge(plan, &key, entry));
            if let Lookup::Miss(Miss { kept: Some(kept), .. }) = &lookup {
                let beside = Box::pin(beside(plan, plan.ask(), &key, kept)).await;
                lookup = beside.unwrap_or(lookup);
                let waited = started.elapsed();
                plan.store_budget = plan.store_budget.saturating_sub(waited - took);
                took = waited;
            }
            plan.key = Some(key);
            lookup
        }
        Err(_) => Forward::Miss.into(),
    };
    let RequestContext { route, exchange, .. } = &*plan.context;
    let shared = plan.shared();
    let stats = shared.stats.here();
    let result = match &lookup {
        Lookup::Hit(Found { served: Rendered::AsStored, .. }) => LookupResult::Hit,
        Lookup::Hit(_) => LookupResult::Form,
        Lookup::Stale(_) => LookupResult::Stale,
        Lookup::Miss(_) if failed => LookupResult::Error,
        Lookup::Miss(_) => LookupResult::Miss,
    };
    // A miss that the answer to another question may turn into a hit is counted once that is known.
    if !matches!(&lookup, Lookup::Miss(miss) if plan.takes_similar(miss)) {
        stats.lookup(route.kind, result);
    }
    stats.store_call(StoreCall::Get, outcome, took);
    if result == LookupResult::Error {
        stats.errors.increment();
    }
    let hit = result.is_hit();
    exchange.log_step(Operation::CacheLookup { hit }, took, !failed);
    lookup
}

/// What the store has under the key of another question, for a request that may have its answer.
#[derive(Debug)]
pub(crate) enum Stored {
    /// An answer that the request can have.
    Fits(Box<Found>),
    /// One that it cannot have, or the store could not be asked.
    Unfit,
    Gone,
}

/// Looks for the answer to another question, which is under `key`.
pub(crate) async fn other(plan: &FillPlan, key: &Key) -> Stored {
    let started = Instant::now();
    let found = timeout(plan.store_budget, plan.shared().store.get(key)).await;
    let Ok(found) = found else { return Stored::Unfit };
    plan.shared().stats.here().store_call(StoreCall::Get, outcome(&found), started.elapsed());
    let Ok(found) = found else { return Stored::Unfit };
    let Some(entry) = found else { return Stored::Gone };
    match judge(plan, key, entry) {
        Lookup::Hit(found) => Stored::Fits(found.into()),
        Lookup::Miss(Miss { kept: Some(kept), .. }) => match beside(plan, plan.ask(), key, &kept).await {
            Some(Lookup::Hit(found)) => Stored::Fits(found.into()),
            _ => Stored::Unfit,
        },
        Lookup::Stale(_) | Lookup::Miss(_) => Stored::Unfit,
    }
}

/// Whether `entry` answers the request.
pub(crate) fn judge(plan: &FillPlan, key: &Key, entry: Arc<Entry>) -> Lookup {
    judge_as(plan, plan.ask(), key, entry)
}

/// Whether `entry`, or the entry beside it, answers the request in the form that the upstream is asked for. Each reader
/// of a flight edits that form for its own client.
pub(crate) async fn find_for_readers(plan: &FillPlan, key: &Key, entry: Arc<Entry>) -> Lookup {
    let ask = plan.ask();
    let ask = Ask { form: ask.upstream_form, ..ask };
    let lookup = judge_as(plan, ask, key, entry);
    match &lookup {
        Lookup::Miss(Miss { kept: Some(kept), .. }) => {
            Box::pin(beside(plan, ask, key, kept)).await.unwrap_or(lookup)
        }
        _ => lookup,
    }
}

/// The entry beside `kept`, if it is of use to the request. `kept` is fresh, but in a form that the request cannot use.
async fn beside(plan: &FillPlan, ask: Ask, key: &Key, kept: &Entry) -> Option<Lookup> {
    let beside = key.beside(ask.upstream_form.id);
    let found = timeout(plan.store_budget, plan.shared().store.get(&beside)).await.ok()?.ok()??;
    // An entry that an operator has put replaces all that was there before.
    if kept.form == BY_HAND && found.stored_at <= kept.stored_at {
        return None;
    }
    match judge_as(plan, ask, key, found) {
        Lookup::Miss(miss) if miss.fallback.is_none() => None,
        lookup => Some(lookup),
    }
}

fn judge_as(plan: &FillPlan, ask: Ask, key: &Key, entry: Arc<Entry>) -> Lookup {
    if plan.revalidation.is_some() {
        return revalidate::judge(plan, key, entry);
    }
    let RequestContext { route, cache_request, .. } = &*plan.context;
    if !plan.context.may_read(entry.with_credentials) {
        return Forward::Miss.into();
    }
    let now = unix_millis(SystemTime::now());
    let freshness = policy::freshness(entry.stored_at, entry.ttl, now, &cache_request.directives);
    if freshness == Freshness::TooOld {
        return Forward::Request.into();
    }
    let framing = route.framing(&entry.headers);
    let served = dialect::serve(cache_request.dialect, entry.form, framing, &entry.body, &ask);
    let report = |age: Duration, ttl| CacheReport::hit(route.kind, key.clone(), age.as_secs(), ttl);
    match (freshness, served) {
        (Freshness::Fresh { age, left }, Some(served)) => {
            Lookup::Hit(Found { report: report(age, seconds(left)), entry, served })
        }
        (Freshness::Fresh { .. }, None) => {
            Lookup::Miss(Miss { forward: Forward::Miss, kept: Some(entry), fallback: None, stored: None })
        }
        (Freshness::Stale { age, over }, Some(served)) => {
            let (refreshed, of_use) = (entry.stale_while_revalidate, entry.life().saturating_sub(entry.ttl));
            let found = Found { report: report(age, -seconds(over)).stale(), entry, served };
            if over < refreshed {
                return Lookup::Stale(found);
            }
            let fallback = (over < of_use).then_some(Fallback { found, for_errors: true });
            Lookup::Miss(Miss { forward: Forward::Stale, kept: None, fallback, stored: None })
        }
        (Freshness::Stale { .. } | Freshness::TooOld, _) => Forward::Stale.into(),
    }
}
