//! The simulated store: which answers are there, and until when. Pure.
//!
//! It has the bound of the in-process store, and evicts as that one does (`store/memory/shard.rs`): a stored answer goes
//! to the end of a queue, and the one at its head is evicted first, unless it was used meanwhile. A strict order of use
//! was tried: on a real run of 20,000 requests its hit rate was two points too low. What has expired makes room at the
//! next write to its shard; with one shard for all, the hit rate of a small store was more than half a point too high.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::store::SHARDS;

/// No answer.
const NONE: u32 = u32::MAX;

/// So many used answers are passed over while room is made for another one.
const MAX_SPARED: usize = 16;

/// A time before all others: nothing was ever stored.
const NEVER: i64 = i64::MIN;

/// An answer's place.
#[derive(Clone, Copy, Debug)]
struct Place {
    shard: u8,
    is_stored: bool,
    /// Whether it was used since it was last put at the end of the queue.
    is_used: bool,
    /// When the answer was whole.
    since: i64,
    ends: i64,
    size: u64,
    newer: u32,
    older: u32,
}

#[derive(Debug)]
pub(super) struct Store {
    places: Vec<Place>,
    max_bytes: u64,
    newest: u32,
    oldest: u32,
    /// For each shard, when which answer expires. If it has another end by now, it was stored again.
    ends: [BinaryHeap<Reverse<(i64, u32)>>; SHARDS],
    bytes: u64,
    /// The most bytes that it had.
    pub(super) peak: u64,
}

impl Store {
    /// A store for answers in these shards, whose numbers count from 0.
    pub(super) fn new(shards: impl Iterator<Item = u8>, max_bytes: Option<u64>) -> Self {
        let nothing = |shard| Place {
            shard,
            is_stored: false,
            is_used: false,
            since: NEVER,
            ends: NEVER,
            size: 0,
            newer: NONE,
            older: NONE,
        };
        Self {
            places: shards.map(nothing).collect(),
            max_bytes: max_bytes.unwrap_or(u64::MAX),
            newest: NONE,
            oldest: NONE,
            ends: std::array::from_fn(|_| BinaryHeap::new()),
            bytes: 0,
            peak: 0,
        }
    }

    /// Whether no answer with this number was ever stored.
    pub(super) fn is_new(&self, number: u32) -> bool {
        self.places[number as usize].since == NEVER
    }

    /// Since when the answer with this number is there, if it is there at the time `now`: that counts as a use.
    pub(super) fn look(&mut self, number: u32, now: i64) -> Option<i64> {
        let place = &mut self.places[number as usize];
        if !place.is_stored || now >= place.ends {
            return None;
        }
        place.is_used = true;
        Some(place.since)
    }

    /// Stores an answer of `size` bytes at the time `since`, for `life` microseconds.
    pub(super) fn put(&mut self, number: u32, size: u64, since: i64, life: i64) {
        let shard = usize::from(self.places[number as usize].shard);
        self.expire(shard, since);
        self.remove(number);
        self.places[number as usize].since = since;
        if life == 0 || size > self.max_bytes {
            return;
        }
        let ends = since.saturating_add(life);
        let place = &mut self.places[number as usize];
        *place = Place { is_stored: true, is_used: false, ends, size, ..*place };
        self.ends[shard].push(Reverse((ends, number)));
        self.bytes += size;
        for looked_at in 0.. {
            if self.bytes <= self.max_bytes {
                break;
            }
            self.advance(looked_at < MAX_SPARED);
        }
        self.link_newest(number);
        self.peak = self.peak.max(self.bytes);
    }

    /// Evicts the answer at the head of the queue. If it was used and may be spared, it goes to the end instead.
    fn advance(&mut self, may_spare: bool) {
        let head = self.oldest;
        let is_used = std::mem::take(&mut self.places[head as usize].is_used);
        if is_used && may_spare {
            self.unlink(head);
            self.link_newest(head);
        } else {
            self.remove(head);
        }
    }

    fn expire(&mut self, shard: usize, now: i64) {
        while let Some(&Reverse((ends, number))) = self.ends[shard].peek() {
            if ends > now {
                break;
            }
            self.ends[shard].pop();
            if self.places[number as usize].ends == ends {
                self.remove(number);
            }
        }
    }

    fn remove(&mut self, number: u32) {
        let place = &mut self.places[number as usize];
        if std::mem::take(&mut place.is_stored) {
            self.bytes -= place.size;
            self.unlink(number);
        }
    }

    fn link_newest(&mut self, number: u32) {
        let former = std::mem::replace(&mut self.newest, number);
        let place = &mut self.places[number as usize];
        (place.newer, place.older) = (NONE, former);
        match self.places.get_mut(former as usize) {
            Some(former) => former.newer = number,
            None => self.oldest = number,
        }
    }

    fn unlink(&mut self, number: u32) {
        let Place { newer, older, .. } = self.places[number as usize];
        match self.places.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        match self.places.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: i64 = i64::MAX;

    #[test]
    fn what_was_not_used_goes_first() {
        let mut store = Store::new([0; 4].into_iter(), Some(100));
        store.put(0, 40, 0, LONG);
        store.put(1, 40, 1, LONG);
        assert_eq!(store.look(0, 2), Some(0));
        store.put(2, 40, 3, LONG);
        assert_eq!([0, 1, 2].map(|number| store.look(number, 4)), [Some(0), None, Some(3)]);
        // What is larger than the store takes nothing away, but what it replaces is gone.
        store.put(2, 101, 5, LONG);
        assert_eq!((store.look(0, 6), store.look(2, 6)), (Some(0), None));
        assert!(store.is_new(3) && !store.is_new(1) && store.peak == 80);
    }

    #[test]
    fn not_all_used_answers_are_spared() {
        let count = 2 * MAX_SPARED as u32;
        let mut store = Store::new((0..=count).map(|_| 0), Some(u64::from(count)));
        for number in 0..count {
            store.put(number, 1, 0, LONG);
            store.look(number, 0);
        }
        store.put(count, 1, 1, LONG);
        let gone: Vec<_> = (0..count).filter(|number| store.look(*number, 2).is_none()).collect();
        assert_eq!(gone, [MAX_SPARED as u32]);
    }

    #[test]
    fn what_has_ended_is_gone_and_makes_room() {
        let mut store = Store::new([0; 2].into_iter(), None);
        store.put(0, 1, 100, 50);
        for (now, found) in [(100, Some(100)), (149, Some(100)), (150, None)] {
            assert_eq!(store.look(0, now), found, "{now}");
        }
        store.put(1, 1, 150, 50);
        assert_eq!((store.bytes, store.peak), (1, 1));
        store.put(1, 1, 160, 0);
        assert_eq!((store.look(1, 160), store.bytes), (None, 0));
    }
    #[test]
    fn what_has_ended_in_another_shard_takes_room() {
        let mut store = Store::new([0, 1, 0].into_iter(), None);
        store.put(0, 10, 0, 5);
        store.put(1, 10, 7, LONG);
        assert_eq!((store.look(0, 7), store.bytes), (None, 20));
        store.put(2, 10, 8, LONG);
        assert_eq!(store.bytes, 20);
    }
}
