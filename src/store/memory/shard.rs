//! A part of the in-process store: entries by digest, and in the order of their ends. Pure.
//!
//! They also stand in a line. What is put stands at its end, and what is at its head goes first, unless it was used since:
//! then it goes to the end instead (the CLOCK algorithm). So a use changes nothing but the entry's own place in memory,
//! where a strict order of use would have changed four, of which in a large store no cache of the processor's has one.
//!
//! Times are microseconds since a moment of the store's choice.

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

/// What names an entry here.
pub(super) type Digest = [u8; 32];

/// Entries that end are let go of in such numbers at once, so that nobody waits long for it.
const ENDS_AT_ONCE: usize = 64;

/// No slot.
const NONE: u32 = u32::MAX;

/// An entry as the store holds it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) packed: PackedEntry,
    pub(super) kind: Kind,
    /// When it ends.
    pub(super) ends: u64,
    /// How often it was found.
    pub(super) hits: u32,
    /// Whether it was used since it came to its place in the line.
    is_used: bool,
}

impl Held {
    pub(super) const fn new(packed: PackedEntry, kind: Kind, ends: u64) -> Self {
        Self { packed, kind, ends, hits: 0, is_used: false }
    }
}

/// What a request looks at: a line of the processor's cache.
#[derive(Debug)]
#[repr(align(64))]
struct Slot {
    digest: Digest,
    /// `None` where the slot is free.
    held: Option<Held>,
}

/// A slot's place in the line.
#[derive(Debug)]
struct Link {
    /// When it came there.
    placed: u64,
    newer: u32,
    /// Of a free slot, the next free one.
    older: u32,
}

/// Which slot an entry is in.
#[derive(Debug)]
struct Place {
    /// Of its digest.
    hash: u32,
    /// One higher than it is.
    slot: NonZeroU32,
}

impl Place {
    const fn new(hash: u32, slot: u32) -> Self {
        Self { hash, slot: NonZeroU32::MIN.saturating_add(slot) }
    }

    /// Whether it is that of the entry with this digest, whose hash is `hash`.
    fn is_of(&self, digest: &Digest, hash: u32, slots: &[Slot]) -> bool {
        self.hash == hash && slots[self.slot() as usize].digest == *digest
    }

    const fn slot(&self) -> u32 {
        self.slot.get() - 1
    }
}

impl Item for Place {
    fn hash(&self) -> u32 {
        self.hash
    }
}

/// The entries of one part.
#[derive(Debug)]
pub(super) struct Shard {
    places: HashTable<Place>,
    /// With a key of its own: digests can be chosen, these hashes cannot.
    hasher: RandomState,
    slots: Vec<Slot>,
    /// One for each slot.
    links: Vec<Link>,
    free: u32,
    newest: u32,
    oldest: u32,
    /// When which slot's entry ends. Where the slot has another end by now, that entry has gone before.
    ends: BinaryHeap<Reverse<(u64, u32)>>,
    bytes: u64,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            places: HashTable::default(),
            hasher: RandomState::new(),
            slots: Vec::new(),
            links: Vec::new(),
            free: NONE,
            newest: NONE,
            oldest: NONE,
            ends: BinaryHeap::new(),
            bytes: 0,
        }
    }
}

/// What an entry costs besides its own bytes: its slot, its places in the table and among the ends, and what is lost
/// between allocations. (A process with 300,000 answers of 1.1 KB grew by 1,530 bytes for each.)
const OVERHEAD: u64 = 256;

/// The bytes that holding `packed` takes.
pub(super) fn cost(packed: &PackedEntry) -> u64 {
    packed.len() as u64 + OVERHEAD
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is held for a request, which counts and is a use.
    pub(super) fn hit(&mut self, digest: &Digest, now: u64) -> Option<&Held> {
        let slot = self.find(digest, now)?;
        let held = self.slots[slot as usize].held.as_mut()?;
        held.is_used = true;
        held.hits = held.hits.saturating_add(1);
        Some(held)
    }

    /// The same for whoever looks on.
    pub(super) fn peek(&self, digest: &Digest, now: u64) -> Option<&Held> {
        self.slots[self.find(digest, now)? as usize].held.as_ref()
    }

    /// Holds an entry in the place of what it had under `digest`.
    pub(super) fn put(&mut self, digest: &Digest, held: Held, now: u64) {
        self.remove(digest);
        if self.ends.len() > 2 * self.places.len() + ENDS_AT_ONCE {
            self.forget_old_ends();
        }
        let slot = self.free_slot();
        self.bytes += cost(&held.packed);
        self.ends.push(Reverse((held.ends, slot)));
        self.slots[slot as usize] = Slot { digest: *digest, held: Some(held) };
        self.link_newest(slot, now);
        self.places.insert(Place::new(self.hash(digest), slot));
    }

    /// Whether there was an entry.
    pub(super) fn remove(&mut self, digest: &Digest) -> bool {
        let hash = self.hash(digest);
        let Self { places, slots, .. } = self;
        let Some(place) = places.remove(hash, |place| place.is_of(digest, hash, slots)) else { return false };
        let slot = place.slot();
        self.unlink(slot);
        let held = self.slots[slot as usize].held.take();
        self.bytes -= held.map_or(0, |held| cost(&held.packed));
        self.links[slot as usize].older = self.free;
        self.free = slot;
        true
    }

    /// When the entry at the head of the line came to its place, the one under `but` left aside: so that of several
    /// lines the one goes on that is furthest behind, whatever is used in it.
    pub(super) fn head_placed(&self, but: &Digest) -> Option<u64> {
        let is_but = self.slots.get(self.oldest as usize)?.digest == *but;
        let head = &self.links[self.oldest as usize];
        let head = if is_but { self.links.get(head.newer as usize)? } else { head };
        Some(head.placed)
    }

    /// Lets the entry go that is at the head of the line; where it is the one under `but`, or was used and may be spared,
    /// it goes to the end instead.
    pub(super) fn advance(&mut self, but: &Digest, may_spare: bool, now: u64) {
        let head = self.oldest;
        let Some(slot) = self.slots.get_mut(head as usize) else { return };
        let is_used = slot.held.as_mut().is_some_and(|held| std::mem::take(&mut held.is_used));
        let digest = slot.digest;
        if digest == *but || (is_used && may_spare) {
            self.unlink(head);
            self.link_newest(head, now);
        } else {
            self.remove(&digest);
        }
    }

    /// Lets go of entries that have ended; whether of all of them.
    pub(super) fn expire(&mut self, now: u64) -> bool {
        for _ in 0..ENDS_AT_ONCE {
            let Some(Reverse((ends, slot))) =
                self.ends.peek().copied().filter(|Reverse((ends, _))| *ends <= now)
            else {
                return true;
            };
            self.ends.pop();
            let Slot { digest, held, .. } = &self.slots[slot as usize];
            if held.as_ref().is_some_and(|held| held.ends == ends) {
                let digest = *digest;
                self.remove(&digest);
            }
        }
        false
    }

    /// The entries in slots of `range`; `None` beyond the last slot.
    pub(super) fn slots(
        &self,
        range: std::ops::Range<usize>,
    ) -> Option<impl Iterator<Item = (&Digest, &Held)>> {
        let slots =
            self.slots.get(range.start..range.end.min(self.slots.len())).filter(|slots| !slots.is_empty());
        Some(slots?.iter().filter_map(|slot| Some((&slot.digest, slot.held.as_ref()?))))
    }

    fn find(&self, digest: &Digest, now: u64) -> Option<u32> {
        let hash = self.hash(digest);
        let slot = self.places.find(hash, |place| place.is_of(digest, hash, &self.slots))?.slot();
        let held = self.slots[slot as usize].held.as_ref()?;
        (now < held.ends).then_some(slot)
    }

    fn hash(&self, digest: &Digest) -> u32 {
        self.hasher.hash_one(KeyId::from(*digest)) as u32
    }

    fn free_slot(&mut self) -> u32 {
        if self.free == NONE {
            self.slots.push(Slot { digest: [0; 32], held: None });
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

    fn forget_old_ends(&mut self) {
        let live = self.slots.iter().zip(0..);
        self.ends = live.filter_map(|(slot, at)| Some(Reverse((slot.held.as_ref()?.ends, at)))).collect();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::{HeaderMap, StatusCode};
    use proptest::prelude::*;

    use super::*;
    use crate::cache::entry::Entry;

    fn digest(n: u8) -> Digest {
        *blake3::hash(&[n]).as_bytes()
    }

    fn packed(len: usize) -> PackedEntry {
        Entry::new(StatusCode::OK, HeaderMap::new(), vec![0; len].into()).pack()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put { n: u8, len: usize, life: u64 },
        Hit(u8),
        Peek(u8),
        Remove(u8),
        Advance { may_spare: bool },
        Expire,
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..20u8, 0..50usize, 1..40u64).prop_map(|(n, len, life)| Step::Put { n, len, life }),
            3 => (0..20u8).prop_map(Step::Hit),
            1 => (0..20u8).prop_map(Step::Peek),
            1 => (0..20u8).prop_map(Step::Remove),
            2 => any::<bool>().prop_map(|may_spare| Step::Advance { may_spare }),
            1 => Just(Step::Expire),
            1 => (0..20u64).prop_map(Step::Wait),
        ]
    }

    /// What a shard does, in the plainest way: entries in their line, and those that were used since they came there.
    #[derive(Default)]
    struct Model(Vec<(u8, usize, u64, u32)>, BTreeSet<u8>);

    impl Model {
        fn at(&self, n: u8) -> Option<usize> {
            self.0.iter().position(|(own, ..)| *own == n)
        }

        fn fresh(&self, n: u8, now: u64) -> Option<usize> {
            self.at(n).filter(|at| now < self.0[*at].2)
        }

        fn remove(&mut self, n: u8) -> bool {
            self.1.remove(&n);
            self.at(n).map(|at| self.0.remove(at)).is_some()
        }

        fn advance(&mut self, may_spare: bool) {
            let Some((n, ..)) = self.0.first().copied() else { return };
            if self.1.remove(&n) && may_spare {
                self.0.rotate_left(1);
            } else {
                self.remove(n);
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_what_the_model_is(steps in proptest::collection::vec(step(), 0..400)) {
            let (mut shard, mut model, mut now) = (Shard::default(), Model::default(), 0);
            for step in steps {
                match step {
                    Step::Put { n, len, life } => {
                        let packed = packed(len);
                        let len = packed.len();
                        shard.put(&digest(n), Held::new(packed, Kind::Query, now + life), now);
                        model.remove(n);
                        model.0.push((n, len, now + life, 0));
                    }
                    Step::Hit(n) => {
                        let hit = shard.hit(&digest(n), now).map(|held| (held.packed.len(), held.ends, held.hits));
                        let known = model.fresh(n, now);
                        if let Some(at) = known {
                            model.0[at].3 += 1;
                            model.1.insert(n);
                        }
                        let known = known.map(|at| model.0[at]);
                        prop_assert_eq!(hit, known.map(|(_, len, ends, hits)| (len, ends, hits)));
                    }
                    Step::Peek(n) => {
                        let seen = shard.peek(&digest(n), now).map(|held| held.hits);
                        prop_assert_eq!(seen, model.fresh(n, now).map(|at| model.0[at].3));
                    }
                    Step::Remove(n) => prop_assert_eq!(shard.remove(&digest(n)), model.remove(n)),
                    Step::Advance { may_spare } => {
                        shard.advance(&digest(u8::MAX), may_spare, now);
                        model.advance(may_spare);
                    }
                    Step::Expire => {
                        while !shard.expire(now) {}
                        let ended: Vec<_> = model.0.iter().filter(|(_, _, ends, _)| *ends <= now).map(|(n, ..)| *n).collect();
                        for n in ended {
                            model.remove(n);
                        }
                    }
                    Step::Wait(time) => now += time,
                }
                let bytes: u64 = model.0.iter().map(|(_, len, ..)| *len as u64 + OVERHEAD).sum();
                prop_assert_eq!((shard.len(), shard.bytes()), (model.0.len(), bytes));
                let mut all: Vec<_> = shard.slots(0..usize::MAX).into_iter().flatten().map(|(digest, _)| *digest).collect();
                let mut known: Vec<_> = model.0.iter().map(|(n, ..)| digest(*n)).collect();
                all.sort_unstable();
                known.sort_unstable();
                prop_assert_eq!(all, known);
            }
        }
    }

    #[test]
    fn what_a_hit_looks_at_is_a_line_of_the_cache() {
        assert_eq!((size_of::<Slot>(), size_of::<Option<Place>>()), (64, 8));
    }

    #[test]
    fn the_one_that_room_is_made_for_stays() {
        let mut shard = Shard::default();
        for n in 0..3 {
            shard.put(&digest(n), Held::new(packed(0), Kind::Query, 10), 0);
        }
        while shard.head_placed(&digest(0)).is_some() {
            shard.advance(&digest(0), false, 1);
            assert!(shard.peek(&digest(0), 2).is_some());
        }
        assert_eq!(shard.len(), 1, "it is all there is");
    }

    #[test]
    fn what_is_replaced_often_leaves_no_trace() {
        let mut shard = Shard::default();
        for now in 0..10_000 {
            let held = Held::new(packed(0), Kind::Query, 1 << 40);
            shard.put(&digest((now % 3) as u8), held, now);
        }
        assert!(shard.ends.len() <= 2 * 3 + ENDS_AT_ONCE + 1, "{}", shard.ends.len());
        assert_eq!(shard.slots.len(), 3);
    }
}
