//! The in-process store: bounded by bytes; what was not used for a long time goes first.
//!
//! Entries are spread over shards by their digests, each under a lock of its own that is held for a moment. What is
//! held is packed: one piece of memory an entry, so that the bound is one of memory.

mod shard;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use self::shard::{Digest, Held, Shard, cost};
use crate::{
    cache::{
        entry::{Entry, codec::PackedEntry},
        invalidation::InvalidationLog,
        key::{Key, namespace::Namespace},
    },
    dialect::Placement,
    time::{MicrosClock, micros},
};

/// Parts with locks of their own.
const SHARDS: usize = 64;

/// Entries that were used are passed over so often while room is made for another, so that nobody waits long for it.
const MOST_SPARED: usize = 16;

/// Entries that a walk looks at while it holds a lock.
const WALKED_AT_ONCE: usize = 32;

/// The in-process store.
#[derive(Clone, Debug)]
pub struct MemoryStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shards: [Mutex<Shard>; SHARDS],
    /// Held while it is decided which of two entries stays, so that both are seen.
    placing: [Mutex<()>; SHARDS],
    max_bytes: u64,
    bytes: AtomicU64,
    clock: MicrosClock,
    invalidations: InvalidationLog,
}

/// An entry that a walk comes by.
#[derive(Debug)]
pub struct Walked {
    /// Its key.
    pub key: Key,
    /// It.
    pub packed: PackedEntry,
    /// How often it was found.
    pub hits: u64,
}

impl Walked {
    /// The bytes it takes.
    pub fn size(&self) -> u64 {
        cost(&self.packed)
    }
}

impl MemoryStore {
    /// A store of at most `max_bytes`, what it costs to hold an entry included.
    pub fn new(max_bytes: u64) -> Self {
        Self(Arc::new(Inner {
            shards: std::array::from_fn(|_| Mutex::default()),
            placing: std::array::from_fn(|_| Mutex::default()),
            max_bytes,
            bytes: AtomicU64::new(0),
            clock: MicrosClock::new(Instant::now()),
            invalidations: InvalidationLog::standalone(),
        }))
    }

    /// What was retired.
    pub fn invalidations(&self) -> &InvalidationLog {
        &self.0.invalidations
    }

    /// What is held under `key`, for a request: that counts, and is a use of it.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        let now = self.0.now();
        let packed = self.0.shard(key.digest()).lock().hit(key.digest(), now)?.packed.clone();
        packed.unpack().map(Arc::new)
    }

    /// The same for whoever looks on.
    pub fn peek(&self, key: &Key) -> Option<Arc<Entry>> {
        let now = self.0.now();
        let packed = self.0.shard(key.digest()).lock().peek(key.digest(), now)?.packed.clone();
        packed.unpack().map(Arc::new)
    }

    /// Keeps `entry` under `key` for `life`. What was there before is gone in any case, even where `entry` is larger
    /// than the whole store and is not kept.
    pub fn put(&self, key: &Key, entry: &Entry, life: Duration) {
        let packed = entry.pack();
        if cost(&packed) > self.0.max_bytes || life.is_zero() {
            self.remove(key);
            return;
        }
        let now = self.0.now();
        let held = Held::new(packed, key.kind(), now.saturating_add(micros(life)));
        self.0.change(self.0.shard(key.digest()), |shard| {
            shard.expire(now);
            shard.put(key.digest(), held, now);
        });
        for looked_at in 0.. {
            let is_full = self.0.bytes.load(Ordering::Relaxed) > self.0.max_bytes;
            if !is_full || !self.0.advance(key.digest(), looked_at < MOST_SPARED, now) {
                break;
            }
        }
    }

    /// Keeps `entry` for `life` under `key`, or where `place` says, which is asked where another entry is held there, and
    /// is not retired. Tells where.
    pub fn put_in_place(
        &self,
        key: &Key,
        entry: &Entry,
        life: Duration,
        place: impl Fn(&Entry) -> Placement,
    ) -> Placement {
        let _placing = self.0.placing[shard_of(key.digest())].lock();
        let held = self.peek(key).filter(|held| !held.is_invalidated(key, self.invalidations()));
        let place = held.map_or(Placement::Instead, |held| place(&held));
        match place {
            Placement::Instead => self.put(key, entry, life),
            Placement::Beside => self.put(&key.beside(entry.form), entry, life),
            Placement::Nowhere => {}
        }
        place
    }

    /// Removes the entry under `key`; whether there was one.
    pub fn remove(&self, key: &Key) -> bool {
        self.0.change(self.0.shard(key.digest()), |shard| shard.remove(key.digest()))
    }

    /// Every entry under its key of `namespace`, in no order. It sees what is there from the beginning to the end, holds
    /// nothing up, and takes as long as it is given.
    pub fn walk(&self, namespace: Namespace) -> impl Iterator<Item = Walked> + '_ {
        self.0.shards.iter().flat_map(move |shard| Walk { shard, namespace, at: 0 }).flatten()
    }

    /// The number of entries.
    pub fn entries(&self) -> u64 {
        self.0.expire();
        self.0.shards.iter().map(|shard| shard.lock().len() as u64).sum()
    }

    /// The bytes they take.
    pub fn bytes(&self) -> u64 {
        self.0.expire();
        self.0.bytes.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn now(&self) -> u64 {
        self.clock.micros(Instant::now())
    }

    fn shard(&self, digest: &Digest) -> &Mutex<Shard> {
        &self.shards[shard_of(digest)]
    }

    fn change<T>(&self, shard: &Mutex<Shard>, change: impl FnOnce(&mut Shard) -> T) -> T {
        let mut shard = shard.lock();
        let before = shard.bytes();
        let done = change(&mut shard);
        // Wraps round where it is less than before.
        self.bytes.fetch_add(shard.bytes().wrapping_sub(before), Ordering::Relaxed);
        done
    }

    fn expire(&self) {
        let now = self.now();
        for shard in &self.shards {
            while !self.change(shard, |shard| shard.expire(now)) {}
        }
    }

    /// Goes on by one entry towards more room, in the line that is furthest behind, the one under `digest` left aside;
    /// whether there was another one.
    fn advance(&self, digest: &Digest, may_spare: bool, now: u64) -> bool {
        let heads = self.shards.iter().filter_map(|shard| Some((shard.lock().head_placed(digest)?, shard)));
        let Some((_, shard)) = heads.min_by_key(|(placed, _)| *placed) else { return false };
        self.change(shard, |shard| shard.advance(digest, may_spare, now));
        true
    }
}

/// The first bytes choose the place within the shard.
fn shard_of(digest: &Digest) -> usize {
    usize::from(digest[31]) % SHARDS
}

/// A walk through a shard.
struct Walk<'a> {
    shard: &'a Mutex<Shard>,
    namespace: Namespace,
    at: usize,
}

impl Iterator for Walk<'_> {
    type Item = Vec<Walked>;

    fn next(&mut self) -> Option<Vec<Walked>> {
        let walked = |(digest, held): (&Digest, &Held)| Walked {
            key: Key::new(self.namespace, held.kind, blake3::Hash::from_bytes(*digest)),
            packed: held.packed.clone(),
            hits: u64::from(held.hits),
        };
        let range = self.at..self.at + WALKED_AT_ONCE;
        self.at = range.end;
        Some(self.shard.lock().slots(range)?.map(walked).collect())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::cache::{
        invalidation::{Invalidation, Target},
        route::kind::Kind,
    };

    fn key(n: u64) -> Key {
        Key::new("ns".into(), Kind::Query, blake3::hash(&n.to_le_bytes()))
    }

    fn entry(len: usize) -> Arc<Entry> {
        Arc::new(Entry::new(StatusCode::OK, HeaderMap::new(), Bytes::from(vec![0; len])))
    }

    #[test]
    fn is_bounded_by_bytes_and_keeps_the_latest() {
        let store = MemoryStore::new(100_000);
        for n in 0..1000 {
            store.put(&key(n), &entry(1000), Duration::from_secs(60));
            assert!(store.bytes() <= 100_000);
            assert!(store.get(&key(n)).is_some(), "the latest is always there");
            assert!(store.get(&key(0)).is_some(), "and what is used");
        }
        assert!(store.get(&key(1)).is_none());
        assert!((70..=80).contains(&store.entries()), "{}", store.entries());
    }

    #[test]
    fn what_is_used_all_the_time_keeps_no_others_with_it() {
        let store = MemoryStore::new(500_000);
        for n in 0..20_000 {
            store.put(&key(n), &entry(100), Duration::from_secs(60));
            assert!(store.get(&key(0)).is_some(), "it is used");
        }
        let most = store.0.shards.iter().map(|shard| shard.lock().len()).max().expect("shards");
        let even = store.entries() as usize / SHARDS;
        assert!(even > 10 && most < 3 * even, "{most} in one shard, where {even} would be even");
    }

    #[test]
    fn an_entry_larger_than_the_store_is_not_kept() {
        let store = MemoryStore::new(10_000);
        store.put(&key(1), &entry(100), Duration::from_secs(60));
        store.put(&key(2), &entry(20_000), Duration::from_secs(60));
        assert!(store.get(&key(2)).is_none());
    }

    #[test]
    fn an_entry_goes_where_the_one_that_is_there_leaves_it_room() {
        let life = Duration::from_secs(60);
        for (place, here, beside) in [
            (Placement::Instead, 200, None),
            (Placement::Beside, 100, Some(200)),
            (Placement::Nowhere, 100, None),
        ] {
            let store = MemoryStore::new(10_000);
            let began = store.invalidations().last().expect("an order");
            let entry = |len| Entry { began, ..Entry::clone(&entry(len)) };
            let len = |key: &Key| store.get(key).map(|entry| entry.body.len());
            let first = store.put_in_place(&key(1), &entry(100), life, |_| panic!("there is none"));
            assert_eq!((first, len(&key(1))), (Placement::Instead, Some(100)));
            assert_eq!(store.put_in_place(&key(1), &entry(200), life, |_| place), place);
            assert_eq!((len(&key(1)), len(&key(1).beside(0))), (Some(here), beside));
            // Whoever retires one means both.
            store.invalidations().invalidate(&Invalidation::new(&[Target::Key(*key(1).digest())]));
            let is_invalidated = |key: Key| {
                store.get(&key).is_none_or(|entry| entry.is_invalidated(&key, store.invalidations()))
            };
            assert!(is_invalidated(key(1)) && is_invalidated(key(1).beside(0)));
            store.put_in_place(&key(1), &entry(300), life, |_| panic!("it is retired"));
        }
    }

    #[test]
    fn an_expired_entry_is_gone() {
        let store = MemoryStore::new(10_000);
        store.put(&key(1), &entry(100), Duration::ZERO);
        assert!(store.get(&key(1)).is_none());
    }
}
