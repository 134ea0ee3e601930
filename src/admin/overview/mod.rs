//! `GET /overview`: all that the page shows besides charts, from the counters that `/metrics` has.

mod advice;

use serde_json::{Map, Value, json};

use self::advice::advice;
use super::history::quantile_millis;
use crate::{
    cache::{route::kind::Kind, status::CacheStatus},
    proxy::{Proxy, semantic::status::SimilarHit, state::Live},
    reason::Reason,
    telemetry::stats::{
        Stats,
        labels::{CACHES, STATUSES, cache_place, kinds, status_place},
        sums::{FROM_STORE, FROM_UPSTREAM},
    },
};

pub(super) async fn overview(proxy: &Proxy, live: &Live) -> Value {
    let stats = &proxy.shared.stats;
    let mut overview = json!({
        "health": proxy.health.report(live).await,
        "commit": option_env!("SIDECACHE_COMMIT").unwrap_or_default(),
        "listen": live.config.listen.to_string(),
        "reload_failed": stats.reload_failed(),
        "requests": stats.ended(),
        "in_flight": stats.in_flight(),
        "times": times(stats, None),
        "kinds": Kind::ALL.map(|kind| of_kind(stats, kind)),
        "routes": routes(stats),
        "not_stored": reasons(stats, Stats::not_stored),
        "bypassed": reasons(stats, Stats::bypassed),
    });
    if let Some(semantic) = &live.semantic {
        overview["similar_hits"] = semantic.recent.latest().iter().map(SimilarHit::section).collect();
    }
    overview
}

/// How long hits and misses took.
fn times(stats: &Stats, kind: Option<Kind>) -> Value {
    let section = |answers: &[CacheStatus]| {
        let totals = stats.times(kind, answers);
        json!({
            "count": totals.count(),
            "p50_ms": quantile_millis(&totals, 0.5),
            "p99_ms": quantile_millis(&totals, 0.99),
        })
    };
    json!({"hits": section(&FROM_STORE), "misses": section(&FROM_UPSTREAM)})
}

fn of_kind(stats: &Stats, kind: Kind) -> Value {
    json!({
        "kind": kind.as_str(),
        "hits": stats.hits(kind),
        "misses": stats.misses(kind),
        "times": times(stats, Some(kind)),
    })
}

/// The routes that had requests, with how these were answered.
fn routes(stats: &Stats) -> Vec<Value> {
    let names = stats.routes.all();
    let sections = names.iter().enumerate().map(|(number, name)| {
        let count = |cache: usize, status: usize| stats.requests(number, cache, status);
        let answered = |cache: usize| (0..STATUSES.len()).map(|status| count(cache, status)).sum::<u64>();
        let caches: Map<String, Value> =
            CACHES.iter().enumerate().map(|(cache, word)| ((*word).to_owned(), answered(cache).into())).collect();
        let all: u64 = (0..CACHES.len()).map(answered).sum();
        let failed: u64 = (0..CACHES.len()).map(|cache| count(cache, status_place(500))).sum();
        let hits: u64 = FROM_STORE.into_iter().map(|status| answered(cache_place(Some(status)))).sum();
        let section = json!({
            "route": name.route, "kind": name.kind, "requests": all, "hits": hits, "failed": failed, "cache": caches,
        });
        (all, section)
    });
    sections.filter(|(all, _)| *all > 0).map(|(_, section)| section).collect()
}

/// The reasons that were given, with how often, and with what to do.
fn reasons(stats: &Stats, count: fn(&Stats, usize, Reason) -> u64) -> Vec<Value> {
    let counted = Reason::ALL.iter().map(|reason| {
        let all: u64 = kinds().map(|(place, _)| count(stats, place, *reason)).sum();
        (*reason, all)
    });
    let mut given: Vec<_> = counted.filter(|(_, count)| *count > 0).collect();
    given.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let section = |(reason, count): (Reason, u64)| {
        let advice = advice(reason);
        json!({"reason": reason.as_str(), "count": count, "means": advice.means, "do": advice.to_do})
    };
    given.into_iter().map(section).collect()
}
