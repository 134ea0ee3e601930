//! Counters since the start, for `/health`.
//!
//! Each thread counts for itself, and a reader adds up: a counter that all write to is a place in memory that the
//! cores take from each other with each request.

pub(crate) mod counter;
pub(crate) mod histogram;
pub(crate) mod labels;
pub(crate) mod models;
mod names;
pub(crate) mod open;
pub(crate) mod requests;
pub(crate) mod semantic;
pub(crate) mod sums;

use std::{
    array,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value, json};
use thread_local::ThreadLocal;

pub(crate) use self::labels::{
    AuditOutcome, CertificateUse, EmbeddingOutcome, InvalidationCause, LookupResult, PurgeCause, Side,
    StoreCall, StoreOutcome, UpstreamOutcome,
};
use self::{
    counter::Counter,
    histogram::{AGE_BOUNDS, Histogram, REQUEST_BOUNDS, STORE_BOUNDS, Totals},
    labels::{CACHES, KINDS, cache_place, kind_place, status_place},
    models::ModelNames,
    requests::{Requests, RouteNames},
    semantic::SemanticCounters,
};
use crate::{
    cache::{
        price::{Amount, Currency},
        route::{RouteNumber, kind::Kind},
        status::CacheStatus,
    },
    reason::Reason,
    telemetry::calls::{AnsweredBy, Calls},
    time::millis,
};

/// A limit that a request or a client ran into.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// `limits.max_body`
    MaxBody,
    /// `limits.max_connections`
    MaxConnections,
    /// `limits.max_upstream_requests`
    MaxUpstreamRequests,
    /// `limits.header_timeout`
    HeaderTimeout,
    /// `limits.body_timeout`
    BodyTimeout,
    /// `upstream.connect_timeout`
    ConnectTimeout,
    /// `upstream.first_byte_timeout`
    FirstByteTimeout,
    /// `upstream.idle_timeout`
    IdleTimeout,
    /// `store.max_entry`
    MaxEntry,
    /// `coalesce.max_followers`
    MaxFollowers,
    /// `coalesce.max_buffer`
    MaxBuffer,
}

pub(crate) const LIMITS: [(&str, Limit); 11] = [
    ("max_body", Limit::MaxBody),
    ("max_connections", Limit::MaxConnections),
    ("max_upstream_requests", Limit::MaxUpstreamRequests),
    ("header_timeout", Limit::HeaderTimeout),
    ("body_timeout", Limit::BodyTimeout),
    ("connect_timeout", Limit::ConnectTimeout),
    ("first_byte_timeout", Limit::FirstByteTimeout),
    ("idle_timeout", Limit::IdleTimeout),
    ("max_entry", Limit::MaxEntry),
    ("max_followers", Limit::MaxFollowers),
    ("max_buffer", Limit::MaxBuffer),
];

/// Counters by reason.
#[derive(Debug)]
pub(crate) struct ByReason([Counter; Reason::ALL.len()]);

impl Default for ByReason {
    fn default() -> Self {
        Self(array::from_fn(|_| Counter::default()))
    }
}

impl ByReason {
    pub(crate) fn of(&self, reason: Reason) -> &Counter {
        &self.0[reason as usize]
    }

    fn all(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

/// What happened since the start of the process.
#[derive(Debug, Default)]
pub struct Stats {
    threads: ThreadLocal<Box<ThreadStats>>,
    /// The routes, which have a number each.
    pub(crate) routes: RouteNames,
    /// The models that are counted apart, which have a number each.
    pub(crate) models: ModelNames,
    /// Whether the last reload failed.
    reload_failed: AtomicBool,
    /// When the certificates that are shown end, in Unix seconds; 0 if that is not known.
    certificates: [AtomicU64; CertificateUse::ALL.len()],
    /// What money is counted in, once there are prices.
    currency: OnceLock<Currency>,
}

/// What happened on one thread.
#[derive(Debug, Default)]
pub(crate) struct ThreadStats {
    lookups: [[Counter; LookupResult::ALL.len()]; Kind::ALL.len()],
    limits: [Counter; LIMITS.len()],
    /// Calls of models, made and saved.
    pub(crate) calls: Calls,
    /// Requests that joined the answer of another one.
    pub(crate) coalesced: Counter,
    /// Requests for which the store was not asked.
    bypassed: [ByReason; KINDS],
    /// Answers that were not stored.
    not_stored: [ByReason; KINDS],
    /// Lookups and writes that failed.
    pub(crate) errors: Counter,
    /// The tokens that hits saved.
    pub(crate) tokens_saved: Counter,
    millis_saved: Counter,
    /// Requests to the upstream that were sent again, over a new connection.
    pub(crate) retried: Counter,
    /// Requests that have begun.
    begun: Counter,
    /// Requests that have ended.
    ended: Counter,
    requests: Requests,
    durations: [[Histogram; CACHES.len()]; KINDS],
    first_bytes: [[Histogram; CACHES.len()]; KINDS],
    upstream: [[Histogram; UpstreamOutcome::ALL.len()]; KINDS],
    store: [[Histogram; StoreOutcome::ALL.len()]; StoreCall::ALL.len()],
    ages: [Histogram; Kind::ALL.len()],
    invalidated: [Counter; InvalidationCause::ALL.len()],
    /// Entries that an operator's calls removed.
    purged: [Counter; PurgeCause::ALL.len()],
    /// Hits by meaning.
    pub(crate) semantic: SemanticCounters,
    opened: [Counter; Side::ALL.len()],
    closed: [Counter; Side::ALL.len()],
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) route: RouteNumber,
    /// The kind of its route, where one covers it.
    pub(crate) kind: Option<Kind>,
    pub(crate) cache: Option<CacheStatus>,
    /// The status code.
    pub(crate) status: u16,
    pub(crate) duration: Duration,
    /// Until the first byte of the body, or the head where there is no body.
    pub(crate) first_byte: Duration,
    /// The age of a stored answer, in seconds.
    pub(crate) age: Option<u64>,
}

impl ThreadStats {
    pub(crate) fn lookup(&self, kind: Kind, result: LookupResult) {
        self.lookups_that(kind, result).increment();
    }

    pub(crate) fn lookups_that(&self, kind: Kind, result: LookupResult) -> &Counter {
        &self.lookups[kind as usize][result as usize]
    }

    /// Counts time that a hit saved.
    pub(crate) fn saved(&self, time: Duration) {
        self.millis_saved.add(millis(time));
    }

    /// Counts a request for which the store was not asked.
    pub(crate) fn bypass(&self, kind: Option<Kind>, reason: Reason) {
        self.bypassed[kind_place(kind)].of(reason).increment();
    }

    /// Counts an answer that was not stored.
    pub(crate) fn not_stored(&self, kind: Kind, reason: Reason) {
        self.not_stored[kind_place(Some(kind))].of(reason).increment();
    }

    /// Counts a request that has begun.
    pub(crate) fn begin(&self) {
        self.begun.increment();
    }

    /// Counts a request that has ended.
    pub(crate) fn end(&self, end: &Ended) {
        let (kind, cache) = (kind_place(end.kind), cache_place(end.cache));
        self.ended.increment();
        self.requests.count(end.route, cache, status_place(end.status));
        self.durations[kind][cache].observe(&REQUEST_BOUNDS, end.duration);
        self.first_bytes[kind][cache].observe(&REQUEST_BOUNDS, end.first_byte);
        if let (Some(kind), Some(age)) = (end.kind, end.age) {
            self.ages[kind as usize].observe(&AGE_BOUNDS, Duration::from_secs(age));
        }
    }

    /// Counts a call of the upstream.
    pub(crate) fn upstream_call(&self, kind: Option<Kind>, outcome: UpstreamOutcome, took: Duration) {
        self.upstream[kind_place(kind)][outcome as usize].observe(&REQUEST_BOUNDS, took);
    }

    /// Counts a call of the store.
    pub(crate) fn store_call(&self, call: StoreCall, outcome: StoreOutcome, took: Duration) {
        self.store[call as usize][outcome as usize].observe(&STORE_BOUNDS, took);
    }

    /// Counts entries that an operator's call removed.
    pub(crate) fn purged(&self, cause: PurgeCause, entries: u64) {
        self.purged[cause as usize].add(entries);
    }

    pub(crate) fn duration(&self, kind: usize, cache: usize) -> &Histogram {
        &self.durations[kind][cache]
    }

    pub(crate) fn first_byte(&self, kind: usize, cache: usize) -> &Histogram {
        &self.first_bytes[kind][cache]
    }

    pub(crate) fn upstream_took(&self, kind: usize, outcome: UpstreamOutcome) -> &Histogram {
        &self.upstream[kind][outcome as usize]
    }

    pub(crate) fn store_took(&self, call: StoreCall, outcome: StoreOutcome) -> &Histogram {
        &self.store[call as usize][outcome as usize]
    }

    /// Counts targets that were invalidated.
    pub(crate) fn invalidated(&self, cause: InvalidationCause, targets: usize) {
        self.invalidated[cause as usize].add(targets as u64);
    }
}

impl Stats {
    /// The counters of this thread.
    pub(crate) fn here(&self) -> &ThreadStats {
        self.threads.get_or_default()
    }

    /// Counts one request or client that ran into `limit`.
    pub(crate) fn limited(&self, limit: Limit) {
        self.here().limits[limit as usize].increment();
    }

    /// Counts money in `currency` from now on, if there is one.
    ///
    /// # Errors
    /// The currency in which money was counted so far, if that is another one.
    pub(crate) fn count_in(&self, currency: Option<Currency>) -> Result<(), Currency> {
        let Some(currency) = currency else { return Ok(()) };
        let own = *self.currency.get_or_init(|| currency);
        if own == currency { Ok(()) } else { Err(own) }
    }

    /// One counter of all threads.
    pub(crate) fn sum(&self, counter: impl Fn(&ThreadStats) -> &Counter) -> u64 {
        self.sum_of(|thread| counter(thread).get())
    }

    fn sum_of(&self, count: impl Fn(&ThreadStats) -> u64) -> u64 {
        self.threads.iter().map(|thread| count(thread)).sum()
    }

    /// One histogram of all threads.
    pub(crate) fn totals(&self, histogram: impl Fn(&ThreadStats) -> &Histogram) -> Totals {
        let mut totals = Totals::default();
        self.threads.iter().for_each(|thread| histogram(thread).add_to(&mut totals));
        totals
    }

    /// The lookups of a kind that had this result.
    pub(crate) fn lookups(&self, kind: Kind, result: LookupResult) -> u64 {
        self.sum(|thread| thread.lookups_that(kind, result))
    }

    /// The requests of a route, by the places of their labels.
    pub(crate) fn requests(&self, route: usize, cache: usize, status: usize) -> u64 {
        self.sum_of(|thread| thread.requests.get(route, cache, status))
    }

    pub(crate) fn bypassed(&self, kind: usize, reason: Reason) -> u64 {
        self.sum(|thread| thread.bypassed[kind].of(reason))
    }

    pub(crate) fn not_stored(&self, kind: usize, reason: Reason) -> u64 {
        self.sum(|thread| thread.not_stored[kind].of(reason))
    }

    pub(crate) fn ages(&self, kind: Kind) -> Totals {
        self.totals(|thread| &thread.ages[kind as usize])
    }

    pub(crate) fn invalidated(&self, cause: InvalidationCause) -> u64 {
        self.sum(|thread| &thread.invalidated[cause as usize])
    }

    pub(crate) fn purged(&self, cause: PurgeCause) -> u64 {
        self.sum(|thread| &thread.purged[cause as usize])
    }

    pub(crate) fn limited_by(&self, limit: Limit) -> u64 {
        self.sum(|thread| &thread.limits[limit as usize])
    }

    pub(crate) fn seconds_saved(&self) -> f64 {
        self.millis_saved() as f64 / 1000.0
    }

    pub(crate) fn millis_saved(&self) -> u64 {
        self.sum(|thread| &thread.millis_saved)
    }

    pub(crate) fn reload_failed(&self) -> bool {
        self.reload_failed.load(Ordering::Relaxed)
    }

    /// What answers of a model (`None`: of all) cost that came from there, on all threads, in the unit of
    /// [`Self::currency`].
    pub(crate) fn cost(&self, model: Option<usize>, by: AnsweredBy) -> Amount {
        self.threads.iter().map(|thread| thread.calls.cost(model, by)).sum()
    }

    /// What money is counted in; `None` without prices.
    pub(crate) fn currency(&self) -> Option<Currency> {
        self.currency.get().copied()
    }

    /// Notes when a certificate ends.
    pub(crate) fn certificate_expires(&self, of: CertificateUse, end: Option<SystemTime>) {
        let end = end.and_then(|end| end.duration_since(SystemTime::UNIX_EPOCH).ok());
        let seconds = end.map_or(0, |end| end.as_secs());
        self.certificates[of as usize].store(seconds, Ordering::Relaxed);
    }

    /// When a certificate ends, in Unix seconds.
    pub(crate) fn certificate_end(&self, of: CertificateUse) -> Option<u64> {
        Some(self.certificates[of as usize].load(Ordering::Relaxed)).filter(|seconds| *seconds > 0)
    }

    /// Notes whether a reload was successful.
    pub(crate) fn reloaded(&self, success: bool) {
        self.reload_failed.store(!success, Ordering::Relaxed);
    }

    /// The counters as members of `/health`'s cache section.
    pub(crate) fn cache_section(&self) -> Map<String, Value> {
        let per_kind = Kind::ALL.map(|kind| (kind, self.hits(kind), self.misses(kind)));
        let hits = per_kind.iter().map(|(_, hits, _)| hits).sum();
        let misses = per_kind.iter().map(|(_, _, misses)| misses).sum();
        let kinds: Map<String, Value> = per_kind
            .into_iter()
            .map(|(kind, hits, misses)| {
                let section = json!({"hits": hits, "misses": misses, "hit_rate": hit_rate(hits, misses)});
                (kind.as_str().to_owned(), section)
            })
            .collect();
        let members = json!({
            "hits": hits,
            "misses": misses,
            "hit_rate": hit_rate(hits, misses),
            "stale": self.sum_of(|thread| thread.requests.with_cache(cache_place(Some(CacheStatus::Stale)))),
            "similar": self.all_similar(),
            "coalesced": self.sum(|thread| &thread.coalesced),
            "bypassed": self.all_bypassed(),
            "passed": self.all_passed(),
            "errors": self.sum(|thread| &thread.errors),
            "tokens_saved": self.sum(|thread| &thread.tokens_saved),
            "seconds_saved": self.seconds_saved(),
            "kinds": kinds,
        });
        let mut members = match members {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        if let Some(currency) = self.currency.get() {
            members.insert("cost_saved".to_owned(), self.cost(None, AnsweredBy::Store).units().into());
            members.insert("cost_spent".to_owned(), self.cost(None, AnsweredBy::Upstream).units().into());
            members.insert("currency".to_owned(), currency.as_str().into());
        }
        members
    }

    /// The counters of limits, by the setting's name.
    pub(crate) fn limits_section(&self) -> Map<String, Value> {
        LIMITS.into_iter().map(|(name, limit)| (name.to_owned(), self.limited_by(limit).into())).collect()
    }
}

/// The share of hits, as in `85.67%`.
pub(crate) fn hit_rate(hits: u64, misses: u64) -> String {
    let lookups = hits + misses;
    let share = if lookups == 0 { 0.0 } else { hits as f64 * 100.0 / lookups as f64 };
    format!("{share:.2}%")
}

/// A size as redis-cli would show it, as in `15.2M`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, letter)) => format!("{:.1}{letter}", bytes as f64 / unit as f64),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_threads_counted_is_added_up_though_they_have_ended() {
        let stats = Stats::default();
        for _ in 0..2 {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        (0..1000).for_each(|_| stats.here().lookup(Kind::Query, LookupResult::Hit));
                        stats.limited(Limit::MaxBody);
                    });
                }
            });
        }
        let section = stats.cache_section();
        assert_eq!((&section["hits"], &section["kinds"]["query"]["hits"]), (&8000.into(), &8000.into()));
        assert_eq!(stats.limits_section()["max_body"], 8);
    }

    #[test]
    fn rates_and_sizes_read_well() {
        assert_eq!(hit_rate(0, 0), "0.00%");
        assert_eq!(hit_rate(8567, 1433), "85.67%");
        assert_eq!(hit_rate(1, 0), "100.00%");
        assert_eq!(human_bytes(1023), "1023B");
        assert_eq!(human_bytes(15_938_355), "15.2M");
        assert_eq!(human_bytes(3 << 30), "3.0G");
    }
}
