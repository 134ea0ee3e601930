//! The in-process store: bounded by bytes, least recently used first out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{Expiry, policy::EvictionPolicy, sync::Cache};

use crate::{entry::Entry, generations::Generations, key::Key, route::Kind, stats::Counter};

/// An entry with the time it may stay, and what is told of it.
#[derive(Debug)]
pub(super) struct Held {
    entry: Arc<Entry>,
    life: Duration,
    kind: Kind,
    hits: Counter,
}

impl Held {
    /// It, for whoever looks on.
    pub(super) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// It, for a request: that counts.
    pub(super) fn hit(&self) -> Arc<Entry> {
        self.hits.increment();
        Arc::clone(&self.entry)
    }
}

struct LifeOfEntry;

impl Expiry<[u8; 32], Arc<Held>> for LifeOfEntry {
    fn expire_after_create(&self, _key: &[u8; 32], held: &Arc<Held>, _now: Instant) -> Option<Duration> {
        Some(held.life)
    }

    fn expire_after_update(
        &self,
        _: &[u8; 32],
        held: &Arc<Held>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(held.life)
    }
}

/// The in-process store.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    cache: Cache<[u8; 32], Arc<Held>>,
    generations: Arc<Generations>,
}

impl MemoryStore {
    /// A store of at most `max_bytes`, counted as [`Entry::cost`].
    pub fn new(max_bytes: u64) -> Self {
        let cache = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_, held: &Arc<Held>| u32::try_from(held.entry.cost()).unwrap_or(u32::MAX))
            // A question asked twice in a row must be a hit the second time, however full the store is.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(LifeOfEntry)
            .build();
        Self { cache, generations: Arc::new(Generations::own()) }
    }

    /// What was retired.
    pub fn generations(&self) -> &Generations {
        &self.generations
    }

    /// What is held under `key`.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Held>> {
        self.cache.get(key.digest())
    }

    /// Keeps `entry` under `key` for `life`.
    pub fn put(&self, key: &Key, entry: Arc<Entry>, life: Duration) {
        let held = Held { entry, life, kind: key.kind(), hits: Counter::default() };
        self.cache.insert(*key.digest(), Arc::new(held));
        // Evicts now what is over the bound; left to itself the cache lets writes pile up first.
        self.cache.run_pending_tasks();
    }

    /// Removes the entry under `key`; whether there was one.
    pub fn remove(&self, key: &Key) -> bool {
        self.cache.remove(key.digest()).is_some()
    }

    /// Every entry under its key of `namespace`, with its hits, in no order. It sees what is there from the beginning
    /// to the end, holds nothing up, and takes as long as it is given.
    pub fn walk<'a>(&'a self, namespace: &'a Arc<str>) -> impl Iterator<Item = (Key, Arc<Entry>, u64)> + 'a {
        self.cache.iter().map(|(digest, held)| {
            let key = Key::new(Arc::clone(namespace), held.kind, blake3::Hash::from_bytes(*digest));
            (key, Arc::clone(&held.entry), held.hits.get())
        })
    }

    /// Does what removals left to be done, so that no request has to.
    pub fn settle(&self) {
        self.cache.run_pending_tasks();
    }

    /// The number of entries.
    pub fn entries(&self) -> u64 {
        self.cache.run_pending_tasks();
        self.cache.entry_count()
    }

    /// The bytes they take.
    pub fn bytes(&self) -> u64 {
        self.cache.run_pending_tasks();
        self.cache.weighted_size()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;

    fn key(n: u64) -> Key {
        Key::new("ns".into(), Kind::Query, blake3::hash(&n.to_le_bytes()))
    }

    fn entry(len: usize) -> Arc<Entry> {
        Arc::new(Entry::new(StatusCode::OK, Vec::new(), Bytes::from(vec![0; len])))
    }

    #[test]
    fn is_bounded_by_bytes_and_keeps_the_latest() {
        let store = MemoryStore::new(100_000);
        for n in 0..1000 {
            store.put(&key(n), entry(1000), Duration::from_secs(60));
            assert!(store.bytes() <= 100_000);
            assert!(store.get(&key(n)).is_some(), "the latest is always there");
        }
        assert!(store.get(&key(0)).is_none());
        assert!((60..=75).contains(&store.entries()), "{}", store.entries());
    }

    #[test]
    fn an_entry_larger_than_the_store_is_not_kept() {
        let store = MemoryStore::new(10_000);
        store.put(&key(1), entry(100), Duration::from_secs(60));
        store.put(&key(2), entry(20_000), Duration::from_secs(60));
        assert!(store.get(&key(2)).is_none());
    }

    #[test]
    fn an_expired_entry_is_gone() {
        let store = MemoryStore::new(10_000);
        store.put(&key(1), entry(100), Duration::ZERO);
        assert!(store.get(&key(1)).is_none());
    }
}
