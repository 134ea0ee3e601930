//! The in-process store: bounded by bytes; entries that were not used for a long time go first.
//!
//! Entries are spread over shards by their digests, each under a lock of its own that is held for a moment.
//! They are packed, one piece of memory an entry, so that the bound is one of memory.

mod shard;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

pub(crate) use self::shard::Dropped;
use self::shard::{Digest, Shard, StoredEntry, cost};
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
pub(crate) const SHARDS: usize = 64;

/// So many used entries are passed over while room is made for another one, so that nobody waits long for it.
const MAX_SPARED: usize = 16;

/// The bits of a position that count the slots of a shard.
const SLOT_BITS: u32 = 32;

/// Slots that a walk reads while it holds a lock.
const WALKED_AT_ONCE: usize = 32;

/// The in-process store.
#[derive(Clone, Debug)]
pub struct MemoryStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shards: [Mutex<Shard>; SHARDS],
    /// Locked while it is decided which of two entries stays, so that both are seen.
    placing: [Mutex<()>; SHARDS],
    max_bytes: u64,
    bytes: AtomicU64,
    clock: MicrosClock,
    invalidations: InvalidationLog,
}

/// An entry as a walk sees it.
#[derive(Debug)]
pub(crate) struct WalkedEntry {
    pub(crate) key: Key,
    pub(crate) packed: PackedEntry,
    pub(crate) hits: u64,
    /// Where it is in the order of the walk: its shard, then its slot.
    pub(crate) position: u64,
}

impl WalkedEntry {
    /// The bytes that it takes in the store.
    pub(crate) fn size(&self) -> u64 {
        cost(&self.packed)
    }
}

impl MemoryStore {
    /// A store of at most `max_bytes`, the cost of holding entries included.
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self(Arc::new(Inner {
            shards: std::array::from_fn(|_| Mutex::default()),
            placing: std::array::from_fn(|_| Mutex::default()),
            max_bytes,
            bytes: AtomicU64::new(0),
            clock: MicrosClock::new(Instant::now()),
            invalidations: InvalidationLog::standalone(),
        }))
    }

    /// What was invalidated.
    pub(crate) fn invalidations(&self) -> &InvalidationLog {
        &self.0.invalidations
    }

    /// The entry under `key`, invalidated or not: that counts as a hit, and as a use.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        let now = self.0.now();
        let packed = self.0.shard(key.digest()).lock().hit(key.digest(), now)?.packed.clone();
        packed.unpack().map(Arc::new)
    }

    /// As [`Self::get`], without counting.
    pub(crate) fn peek(&self, key: &Key) -> Option<Arc<Entry>> {
        self.packed(key)?.unpack().map(Arc::new)
    }

    /// Stores `entry` under `key` for `life`. An entry that was there before is gone in any case, even if the
    /// new one is larger than the whole store and is not stored.
    pub(crate) fn put(&self, key: &Key, entry: &Entry, life: Duration) {
        let packed = entry.pack();
        if cost(&packed) > self.0.max_bytes || life.is_zero() {
            self.remove(key);
            return;
        }
        let now = self.0.now();
        let stored = StoredEntry::new(packed, key.kind(), now.saturating_add(micros(life)));
        self.0.change(self.0.shard(key.digest()), |shard| {
            shard.expire(now);
            shard.put(key.digest(), stored, now);
        });
        for looked_at in 0.. {
            let is_full = self.0.bytes.load(Ordering::Relaxed) > self.0.max_bytes;
            if !is_full || !self.0.advance(key.digest(), looked_at < MAX_SPARED, now) {
                break;
            }
        }
    }

    /// Stores `entry` for `life` under `key`. If another entry is there that is not invalidated, `place`
    /// decides: instead of it, beside it, or nowhere. Returns where the entry is.
    pub(crate) fn put_in_place(
        &self,
        key: &Key,
        entry: &Entry,
        life: Duration,
        place: impl Fn(&Entry) -> Placement,
    ) -> Placement {
        let _placing = self.0.placing[shard_of(key.digest())].lock();
        let other = self.peek(key).filter(|other| !other.is_invalidated(key, self.invalidations()));
        let place = other.map_or(Placement::Instead, |other| place(&other));
        match place {
            Placement::Instead => self.put(key, entry, life),
            Placement::Beside => self.put(&key.beside(entry.form), entry, life),
            Placement::Nowhere => {}
        }
        place
    }

    /// Removes the entry under `key`; whether there was one.
    pub(crate) fn remove(&self, key: &Key) -> bool {
        self.0.change(self.0.shard(key.digest()), |shard| shard.remove(key.digest()))
    }

    /// As [`Self::peek`], as the store has it.
    pub(crate) fn packed(&self, key: &Key) -> Option<PackedEntry> {
        let now = self.0.now();
        self.0.shard(key.digest()).lock().peek(key.digest(), now).map(|entry| entry.packed.clone())
    }

    /// Every entry under its key of `namespace` from a position on, in the order of positions. The walk sees all entries that are there from
    /// its beginning to its end, holds no lock between its steps, and may take as long as the caller likes.
    pub(crate) fn walk(&self, namespace: Namespace, from: u64) -> impl Iterator<Item = WalkedEntry> + '_ {
        let begin = (from >> SLOT_BITS) as usize;
        let walk = move |(number, shard)| ShardWalk {
            shard,
            number,
            namespace,
            at: if number == begin { (from & !(u64::MAX << SLOT_BITS)) as usize } else { 0 },
        };
        self.0.shards.iter().enumerate().skip(begin).flat_map(walk).flatten()
    }

    /// The number of entries.
    pub(crate) fn entries(&self) -> u64 {
        self.0.expire();
        self.0.shards.iter().map(|shard| shard.lock().len() as u64).sum()
    }

    /// How many entries have gone by themselves so far.
    pub(crate) fn dropped(&self) -> Dropped {
        self.0.shards.iter().map(|shard| shard.lock().dropped()).fold(Dropped::default(), |all, own| {
            Dropped { evicted: all.evicted + own.evicted, expired: all.expired + own.expired }
        })
    }

    /// The bytes that they take.
    /// The most bytes that entries may take.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.0.max_bytes
    }

    pub(crate) fn bytes(&self) -> u64 {
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
        let result = change(&mut shard);
        // Wraps round if it is less than before.
        self.bytes.fetch_add(shard.bytes().wrapping_sub(before), Ordering::Relaxed);
        result
    }

    fn expire(&self) {
        let now = self.now();
        for shard in &self.shards {
            while !self.change(shard, |shard| shard.expire(now)) {}
        }
    }

    /// Makes room by one step, in the shard whose queue has the earliest head, without regard to the entry
    /// under `digest`; whether there was another entry.
    fn advance(&self, digest: &Digest, may_spare: bool, now: u64) -> bool {
        let heads = self.shards.iter().filter_map(|shard| Some((shard.lock().head_placed(digest)?, shard)));
        let Some((_, shard)) = heads.min_by_key(|(placed, _)| *placed) else { return false };
        self.change(shard, |shard| shard.advance(digest, may_spare, now));
        true
    }
}

/// By the last byte: the first ones choose the place within the shard.
fn shard_of(digest: &Digest) -> usize {
    usize::from(digest[31]) % SHARDS
}

struct ShardWalk<'a> {
    shard: &'a Mutex<Shard>,
    number: usize,
    namespace: Namespace,
    at: usize,
}

impl Iterator for ShardWalk<'_> {
    type Item = Vec<WalkedEntry>;

    fn next(&mut self) -> Option<Vec<WalkedEntry>> {
        let first = (self.number as u64) << SLOT_BITS;
        let walked = |(slot, digest, stored): (usize, &Digest, &StoredEntry)| WalkedEntry {
            key: Key::new(self.namespace, stored.kind, blake3::Hash::from_bytes(*digest)),
            packed: stored.packed.clone(),
            hits: u64::from(stored.hits),
            position: first + slot as u64,
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
        assert_eq!(store.dropped(), Dropped { evicted: 1000 - store.entries(), expired: 0 });
    }

    #[test]
    fn an_entry_used_all_the_time_does_not_protect_others() {
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
    fn an_entry_larger_than_the_store_is_not_stored() {
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
            // An invalidation of one concerns both.
            store.invalidations().invalidate(&Invalidation::new(&[Target::Key(*key(1).digest())]));
            let is_invalidated = |key: Key| {
                store.get(&key).is_none_or(|entry| entry.is_invalidated(&key, store.invalidations()))
            };
            assert!(is_invalidated(key(1)) && is_invalidated(key(1).beside(0)));
            store.put_in_place(&key(1), &entry(300), life, |_| panic!("the other one is invalidated"));
        }
    }

    #[test]
    fn an_expired_entry_is_gone() {
        let store = MemoryStore::new(10_000);
        store.put(&key(1), &entry(100), Duration::ZERO);
        assert!(store.get(&key(1)).is_none());
    }
}
