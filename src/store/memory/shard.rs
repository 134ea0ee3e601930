//! A part of the in-process store: entries by digest, in a queue, and in the order of their ends. Pure.
//!
//! It is written by hand for a bound of memory to the byte, with expiry, lookups that count as no hit, hit
//! counts and walks. moka was tried: it spent some 400 bytes an entry, where `OVERHEAD` is 256 for
//! everything, and its removals stalled hits of a store of a million entries for 50 ms. quick_cache has no
//! time to live.
//!
//! A put entry goes to the end of the queue, and the entry at its head is evicted first. If that one was used
//! meanwhile, it goes to the end instead (the CLOCK algorithm). So a hit changes nothing but the entry's own
//! slot; a strict order of use would change four places in memory, and in a large store none of them is in
//! the processor's cache.
//!
//! Times are microseconds since a moment that the store chooses.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    hash::{BuildHasher, RandomState},
    num::NonZeroU32,
};

use crate::cache::{
    entry::codec::PackedEntry,
    hash_table::{HashTable, Item},
    key::KeyId,
    route::kind::Kind,
};

/// The digest in an entry's key.
pub(super) type Digest = [u8; 32];

/// So many expired entries are removed at once, so that nobody waits long for it.
const ENDS_AT_ONCE: usize = 64;

/// No slot.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
pub(super) struct StoredEntry {
    pub(super) packed: PackedEntry,
    pub(super) kind: Kind,
    /// When the entry expires.
    pub(super) ends: u64,
    pub(super) hits: u32,
    /// Whether it was used since it was last put at the end of the queue.
    is_used: bool,
}

impl StoredEntry {
    pub(super) const fn new(packed: PackedEntry, kind: Kind, ends: u64) -> Self {
        Self { packed, kind, ends, hits: 0, is_used: false }
    }
}

/// What a request reads: a line of the processor's cache.
#[derive(Debug)]
#[repr(align(64))]
struct Slot {
    digest: Digest,
    /// `None` if the slot is free.
    entry: Option<StoredEntry>,
}

/// A slot's links in the queue.
#[derive(Debug)]
struct Link {
    /// When it was put at the end of the queue.
    placed: u64,
    newer: u32,
    /// In a free slot, the next free one.
    older: u32,
}

/// A cell of the hash table: which slot an entry is in.
#[derive(Debug)]
struct SlotRef {
    /// The hash of the entry's digest.
    hash: u32,
    /// The slot's number plus one.
    slot: NonZeroU32,
}

impl SlotRef {
    const fn new(hash: u32, slot: u32) -> Self {
        Self { hash, slot: NonZeroU32::MIN.saturating_add(slot) }
    }

    /// Whether the entry there has this digest, whose hash is `hash`.
    fn points_to(&self, digest: &Digest, hash: u32, slots: &[Slot]) -> bool {
        self.hash == hash && slots[self.slot() as usize].digest == *digest
    }

    const fn slot(&self) -> u32 {
        self.slot.get() - 1
    }
}

impl Item for SlotRef {
    fn hash(&self) -> u32 {
        self.hash
    }
}

#[derive(Debug)]
pub(super) struct Shard {
    refs: HashTable<SlotRef>,
    /// With a random key: clients can choose digests, but not these hashes.
    hasher: RandomState,
    slots: Vec<Slot>,
    /// One for each slot.
    links: Vec<Link>,
    free: u32,
    newest: u32,
    oldest: u32,
    /// When the entry of which slot expires. If the slot has another end by now, that entry has gone before.
    ends: BinaryHeap<Reverse<(u64, u32)>>,
    bytes: u64,
    dropped: Dropped,
}

/// How many entries have gone by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// To make room.
    pub(crate) evicted: u64,
    /// At the end of their lives.
    pub(crate) expired: u64,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            refs: HashTable::default(),
            hasher: RandomState::new(),
            slots: Vec::new(),
            links: Vec::new(),
            free: NONE,
            newest: NONE,
            oldest: NONE,
            ends: BinaryHeap::new(),
            bytes: 0,
            dropped: Dropped::default(),
        }
    }
}

/// What an entry costs besides its own bytes: its slot, its cells in the table and among the ends, and what
/// is lost between allocations. (A process with 300,000 answers of 1.1 KB grew by 1,530 bytes for each.)
const OVERHEAD: u64 = 256;

/// The bytes that holding `packed` takes.
pub(super) fn cost(packed: &PackedEntry) -> u64 {
    packed.len() as u64 + OVERHEAD
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.refs.len()
    }

    pub(super) const fn dropped(&self) -> Dropped {
        self.dropped
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The entry for a request: that counts as a hit, and as a use.
    pub(super) fn hit(&mut self, digest: &Digest, now: u64) -> Option<&StoredEntry> {
        let slot = self.find(digest, now)?;
        let entry = self.slots[slot as usize].entry.as_mut()?;
        entry.is_used = true;
        entry.hits = entry.hits.saturating_add(1);
        Some(entry)
    }

    /// As [`Self::hit`], without counting.
    pub(super) fn peek(&self, digest: &Digest, now: u64) -> Option<&StoredEntry> {
        self.slots[self.find(digest, now)? as usize].entry.as_ref()
    }

    /// Stores an entry; it replaces the one under `digest`.
    pub(super) fn put(&mut self, digest: &Digest, entry: StoredEntry, now: u64) {
        self.remove(digest);
        if self.ends.len() > 2 * self.refs.len() + ENDS_AT_ONCE {
            self.drop_stale_ends();
        }
        let slot = self.free_slot();
        self.bytes += cost(&entry.packed);
        self.ends.push(Reverse((entry.ends, slot)));
        self.slots[slot as usize] = Slot { digest: *digest, entry: Some(entry) };
        self.link_newest(slot, now);
        self.refs.insert(SlotRef::new(self.hash(digest), slot));
    }

    /// Removes the entry under `digest`; whether there was one.
    pub(super) fn remove(&mut self, digest: &Digest) -> bool {
        let hash = self.hash(digest);
        let Self { refs, slots, .. } = self;
        let Some(removed) = refs.remove(hash, |slot_ref| slot_ref.points_to(digest, hash, slots)) else {
            return false;
        };
        let slot = removed.slot();
        self.unlink(slot);
        let entry = self.slots[slot as usize].entry.take();
        self.bytes -= entry.map_or(0, |entry| cost(&entry.packed));
        self.links[slot as usize].older = self.free;
        self.free = slot;
        true
    }

    /// When the entry at the head of the queue was put there, without regard to the one under `but`. Of
    /// several shards, the one with the earliest head advances, whatever is used in it.
    pub(super) fn head_placed(&self, but: &Digest) -> Option<u64> {
        let is_but = self.slots.get(self.oldest as usize)?.digest == *but;
        let head = &self.links[self.oldest as usize];
        let head = if is_but { self.links.get(head.newer as usize)? } else { head };
        Some(head.placed)
    }

    /// Evicts the entry at the head of the queue. If it is the one under `but`, or was used and may be
    /// spared, it goes to the end instead.
    pub(super) fn advance(&mut self, but: &Digest, may_spare: bool, now: u64) {
        let head = self.oldest;
        let Some(slot) = self.slots.get_mut(head as usize) else { return };
        let is_used = slot.entry.as_mut().is_some_and(|entry| std::mem::take(&mut entry.is_used));
        let digest = slot.digest;
        if digest == *but || (is_used && may_spare) {
            self.unlink(head);
            self.link_newest(head, now);
        } else {
            self.remove(&digest);
            self.dropped.evicted += 1;
        }
    }

    /// Removes entries that have expired; whether all of them.
    pub(super) fn expire(&mut self, now: u64) -> bool {
        for _ in 0..ENDS_AT_ONCE {
            let Some(Reverse((ends, slot))) =
                self.ends.peek().copied().filter(|Reverse((ends, _))| *ends <= now)
            else {
                return true;
            };
            self.ends.pop();
            let Slot { digest, entry, .. } = &self.slots[slot as usize];
            if entry.as_ref().is_some_and(|entry| entry.ends == ends) {
                let digest = *digest;
                self.remove(&digest);
                self.dropped.expired += 1;
            }
        }
        false
    }

    /// The entries in slots of `range`, each with the number of its slot; `None` beyond the last slot.
    pub(super) fn slots(
        &self,
        range: std::ops::Range<usize>,
    ) -> Option<impl Iterator<Item = (usize, &Digest, &StoredEntry)>> {
        let slots =
            self.slots.get(range.start..range.end.min(self.slots.len())).filter(|slots| !slots.is_empty());
        let numbered = slots?.iter().zip(range.start..);
        Some(numbered.filter_map(|(slot, number)| Some((number, &slot.digest, slot.entry.as_ref()?))))
    }

    fn find(&self, digest: &Digest, now: u64) -> Option<u32> {
        let hash = self.hash(digest);
        let slot = self.refs.find(hash, |slot_ref| slot_ref.points_to(digest, hash, &self.slots))?.slot();
        let entry = self.slots[slot as usize].entry.as_ref()?;
        (now < entry.ends).then_some(slot)
    }

    fn hash(&self, digest: &Digest) -> u32 {
        self.hasher.hash_one(KeyId::from(*digest)) as u32
    }

    fn free_slot(&mut self) -> u32 {
        if self.free == NONE {
            self.slots.push(Slot { digest: [0; 32], entry: None });
            self.links.push(Link { placed: 0, newer: NONE, older: NONE });
            return u32::try_from(self.slots.len() - 1).unwrap_or(NONE);
        }
        let slot = self.free;
        self.free = self.links[slot as usize].older;
        slot
    }

    fn link_newest(&mut self, slot: u32, now: u64) {
        let former = std::mem::replace(&mut self.newest, slot);
        self.links[slot as usize] = Link { placed: now, newer: NONE, older: former };
        match self.links.get_mut(former as usize) {
            Some(former) => former.newer = slot,
            None => self.oldest = slot,
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Link { newer, older, .. } = self.links[slot as usize];
        match self.links.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        match self.links.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn drop_stale_ends(&mut self) {
        let live = self.slots.iter().zip(0..);
        self.ends = live.filter_map(|(slot, at)| Some(Reverse((slot.entry.as_ref()?.ends, at)))).collect();
    }
}

#[cfg(test)]
mod tests;
