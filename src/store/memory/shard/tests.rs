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

/// What a shard does, in the plainest way: entries in their queue, and those that were used since they came
/// there.
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
    fn it_does_what_the_model_does(steps in proptest::collection::vec(step(), 0..400)) {
        let mut shard = Shard::default();
        let mut model = Model::default();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Put { n, len, life } => {
                    let packed = packed(len);
                    let len = packed.len();
                    shard.put(&digest(n), StoredEntry::new(packed, Kind::Query, now + life), now);
                    model.remove(n);
                    model.0.push((n, len, now + life, 0));
                }
                Step::Hit(n) => {
                    let hit = shard.hit(&digest(n), now).map(|entry| (entry.packed.len(), entry.ends, entry.hits));
                    let known = model.fresh(n, now);
                    if let Some(at) = known {
                        model.0[at].3 += 1;
                        model.1.insert(n);
                    }
                    let known = known.map(|at| model.0[at]);
                    prop_assert_eq!(hit, known.map(|(_, len, ends, hits)| (len, ends, hits)));
                }
                Step::Peek(n) => {
                    let seen = shard.peek(&digest(n), now).map(|entry| entry.hits);
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
            let mut all: Vec<_> = shard.slots(0..usize::MAX).into_iter().flatten().map(|(_, digest, _)| *digest).collect();
            let mut known: Vec<_> = model.0.iter().map(|(n, ..)| digest(*n)).collect();
            all.sort_unstable();
            known.sort_unstable();
            prop_assert_eq!(all, known);
        }
    }
}

#[test]
fn a_slot_is_a_line_of_the_cache() {
    assert_eq!((size_of::<Slot>(), size_of::<Option<SlotRef>>()), (64, 8));
}

#[test]
fn the_entry_that_room_is_made_for_stays() {
    let mut shard = Shard::default();
    for n in 0..3 {
        shard.put(&digest(n), StoredEntry::new(packed(0), Kind::Query, 10), 0);
    }
    while shard.head_placed(&digest(0)).is_some() {
        shard.advance(&digest(0), false, 1);
        assert!(shard.peek(&digest(0), 2).is_some());
    }
    assert_eq!(shard.len(), 1, "no other is left");
}

#[test]
fn an_entry_that_is_replaced_often_leaves_no_trace() {
    let mut shard = Shard::default();
    for now in 0..10_000 {
        let entry = StoredEntry::new(packed(0), Kind::Query, 1 << 40);
        shard.put(&digest((now % 3) as u8), entry, now);
    }
    assert!(shard.ends.len() <= 2 * 3 + ENDS_AT_ONCE + 1, "{}", shard.ends.len());
    assert_eq!(shard.slots.len(), 3);
}
