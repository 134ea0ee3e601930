//! Counters since the start, for `/health`.
//!
//! Each thread counts for itself, and a reader adds up: a counter that all write to is a place in memory that the
//! cores take from each other with each request.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crossbeam_utils::CachePadded;
use serde_json::{Map, Value, json};

use thread_local::ThreadLocal;

use crate::{
    cache::{
        price::{Amount, Currency},
        route::kind::Kind,
    },
    telemetry::calls::{AnsweredBy, Calls},
    time::millis,
};

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

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

const LIMITS: [(&str, Limit); 11] = [
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

/// The lookups of one kind.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
}

/// What happened since the start of the process.
#[derive(Debug, Default)]
pub struct Stats {
    threads: ThreadLocal<CachePadded<ThreadStats>>,
    /// What money is counted in, once there are prices.
    currency: OnceLock<Currency>,
}

/// What happened on one thread.
#[derive(Debug, Default)]
pub(crate) struct ThreadStats {
    lookups: [Lookups; Kind::ALL.len()],
    limits: [Counter; LIMITS.len()],
    /// Calls of models, made and saved.
    pub(crate) calls: Calls,
    /// Requests answered from the store after the answer's TTL.
    pub(crate) stale: Counter,
    /// Requests that joined the answer of another one.
    pub(crate) coalesced: Counter,
    /// Requests on cacheable routes for which the store was not asked.
    pub(crate) bypassed: Counter,
    /// Requests that no route covers.
    pub(crate) passed: Counter,
    /// Lookups and writes that failed.
    pub(crate) errors: Counter,
    /// The tokens that hits saved.
    pub(crate) tokens_saved: Counter,
    millis_saved: Counter,
    /// Requests to the upstream that were sent again, over a new connection.
    pub(crate) retried: Counter,
}

impl ThreadStats {
    pub(crate) fn lookups(&self, kind: Kind) -> &Lookups {
        &self.lookups[kind as usize]
    }

    /// Counts time that a hit saved.
    pub(crate) fn saved(&self, time: Duration) {
        self.millis_saved.add(millis(time));
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
        self.threads.iter().map(|thread| counter(thread).get()).sum()
    }

    /// What answers cost that came from there, on all threads.
    fn cost(&self, by: AnsweredBy) -> Amount {
        self.threads.iter().map(|thread| thread.calls.cost(by)).sum()
    }

    /// The counters as members of `/health`'s cache section.
    pub(crate) fn cache_section(&self) -> Map<String, Value> {
        let per_kind = Kind::ALL.map(|kind| {
            let hits = self.sum(|thread| &thread.lookups(kind).hits);
            let misses = self.sum(|thread| &thread.lookups(kind).misses);
            (kind, hits, misses)
        });
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
            "stale": self.sum(|thread| &thread.stale),
            "coalesced": self.sum(|thread| &thread.coalesced),
            "bypassed": self.sum(|thread| &thread.bypassed),
            "passed": self.sum(|thread| &thread.passed),
            "errors": self.sum(|thread| &thread.errors),
            "tokens_saved": self.sum(|thread| &thread.tokens_saved),
            "seconds_saved": self.sum(|thread| &thread.millis_saved) as f64 / 1000.0,
            "kinds": kinds,
        });
        let mut members = match members {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        if let Some(currency) = self.currency.get() {
            members.insert("cost_saved".to_owned(), self.cost(AnsweredBy::Store).units().into());
            members.insert("cost_spent".to_owned(), self.cost(AnsweredBy::Upstream).units().into());
            members.insert("currency".to_owned(), currency.as_str().into());
        }
        members
    }

    /// The counters of limits, by the setting's name.
    pub(crate) fn limits_section(&self) -> Map<String, Value> {
        let count = |limit: Limit| Value::from(self.sum(|thread| &thread.limits[limit as usize]));
        LIMITS.into_iter().map(|(name, limit)| (name.to_owned(), count(limit))).collect()
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
                        (0..1000).for_each(|_| stats.here().lookups(Kind::Query).hits.increment());
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
