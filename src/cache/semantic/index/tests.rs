//! The index against one that keeps a plain list.

use proptest::prelude::*;

use super::*;

/// Few texts, so that questions meet: some differ in a number, which is a guard.
const TEXTS: [&str; 4] = ["send it today", "send 5 of it", "send 6 of it", "do not send it"];

/// The keys of the nearest questions, and that of a nearer one that a guard refused.
type Keys = (Vec<Box<str>>, Option<(Box<str>, Guard)>);

#[derive(Clone, Debug)]
enum Step {
    Insert { key: u8, partition: u8, text: usize, vector: [i8; 3], caller: Option<u64>, lasts: u64 },
    Remove(u8),
    AskedBy(u8, u64),
    Separate(u8, u8),
    Wait(u64),
    Search { own: u8, partition: u8, text: usize, vector: [i8; 3], needs_two_callers: bool },
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let vector =
        || proptest::array::uniform3(-2i8..3).prop_filter("a direction", |vector| *vector != [0, 0, 0]);
    prop_oneof![
        6 => (0u8..12, 0u8..2, 0usize..4, vector(), proptest::option::of(0u64..3), 0u64..9).prop_map(
            |(key, partition, text, vector, caller, lasts)| Step::Insert { key, partition, text, vector, caller, lasts }
        ),
        1 => (0u8..12).prop_map(Step::Remove),
        3 => (0u8..12, 0u64..3).prop_map(|(key, caller)| Step::AskedBy(key, caller)),
        1 => (0u8..12, 0u8..12).prop_map(|(one, other)| Step::Separate(one, other)),
        1 => (1u64..4).prop_map(Step::Wait),
        6 => (0u8..12, 0u8..2, 0usize..4, vector(), any::<bool>()).prop_map(
            |(own, partition, text, vector, needs_two_callers)| Step::Search { own, partition, text, vector, needs_two_callers }
        ),
        1 => Just(Step::Clear),
    ]
}

fn key(number: u8) -> Box<str> {
    // Each key belongs to one partition.
    format!("key {number}").into()
}

fn vector(components: [i8; 3]) -> Vector {
    Vector::new(&components.map(f32::from)).expect("a direction")
}

fn record(number: u8, partition: u8, text: usize, components: [i8; 3], expires_at: u64) -> Record {
    Record {
        key: key(number),
        partition: Partition([partition; 32]),
        vector: vector(components),
        signature: Signature::new(TEXTS[text]),
        answer: AnswerSketch { text: [number; 16], facts: [0; 16], vector: None },
        expires_at,
        callers: Vec::new(),
    }
}

/// What the index must do, as a list.
#[derive(Default)]
struct Naive {
    records: Vec<Record>,
    separated: Vec<(Box<str>, Box<str>)>,
}

impl Naive {
    fn insert(&mut self, mut record: Record, now: u64, max_entries: usize) -> bool {
        self.records.retain(|other| other.expires_at > now);
        if let Some(position) = self.records.iter().position(|other| other.key == record.key) {
            for caller in self.records.remove(position).callers {
                if record.callers.len() < 2 && !record.callers.contains(&caller) {
                    record.callers.push(caller);
                }
            }
        }
        let is_added = record.expires_at > now && self.records.len() < max_entries;
        if is_added {
            self.records.push(record);
        }
        is_added
    }

    fn is_separate(&self, one: &str, other: &str) -> bool {
        self.separated.iter().any(|(a, b)| (&**a, &**b) == (one, other) || (&**b, &**a) == (one, other))
    }

    fn nearest(&self, search: &Search<'_>) -> Keys {
        let mut all: Vec<_> = self.records.iter().collect();
        all.retain(|record| record.partition == search.partition && record.expires_at > search.now);
        all.retain(|record| *record.key != *search.own_key && !self.is_separate(search.own_key, &record.key));
        all.retain(|record| !search.needs_two_callers || record.callers.len() == 2);
        let similarity = |record: &Record| record.vector.similarity(search.vector);
        all.sort_by(|a, b| similarity(b).total_cmp(&similarity(a)).then_with(|| a.key.cmp(&b.key)));
        let refused = all
            .first()
            .and_then(|first| Some((first.key.clone(), search.signature.conflict(&first.signature)?)));
        all.retain(|record| search.signature.conflict(&record.signature).is_none());
        (all.iter().take(3).map(|record| record.key.clone()).collect(), refused)
    }
}

proptest! {
    #[test]
    fn it_does_what_a_list_does(max_entries in 0usize..10, steps in proptest::collection::vec(step(), 1..80)) {
        let index = Index::new(max_entries);
        let mut naive = Naive::default();
        let mut now = 1;
        for step in steps {
            match step {
                Step::Insert { key, partition, text, vector, caller, lasts } => {
                    let mut record = record(key, partition, text, vector, now + lasts);
                    record.callers.extend(caller.map(CallerId));
                    prop_assert_eq!(index.insert(record.clone(), now), naive.insert(record, now, max_entries));
                }
                Step::Remove(number) => {
                    index.remove(&key(number));
                    naive.records.retain(|record| record.key != key(number));
                }
                Step::AskedBy(number, caller) => {
                    let found = naive.records.iter_mut().find(|record| record.key == key(number));
                    let note = |record: &mut Record| {
                        let is_news = record.callers.len() < 2 && !record.callers.contains(&CallerId(caller));
                        record.callers.extend(is_news.then_some(CallerId(caller)));
                        is_news
                    };
                    prop_assert_eq!(index.asked_by(&key(number), CallerId(caller)), found.is_some_and(note));
                }
                Step::Separate(one, other) => {
                    index.separate(&key(one), &key(other));
                    naive.separated.push((key(one), key(other)));
                }
                Step::Wait(time) => now += time,
                Step::Search { own, partition, text, vector: components, needs_two_callers } => {
                    let (vector, own_key) = (vector(components), key(own));
                    let signature = Signature::new(TEXTS[text]);
                    let search = Search {
                        partition: Partition([partition; 32]),
                        vector: &vector,
                        signature: &signature,
                        own_key: &own_key,
                        needs_two_callers,
                        now,
                    };
                    let found = index.nearest(&search);
                    let keys: Vec<_> = found.neighbours.iter().map(|found| found.key.clone()).collect();
                    let refused = found.refused.map(|(found, guard)| (found.key, guard));
                    prop_assert_eq!((keys, refused), naive.nearest(&search));
                }
                Step::Clear => {
                    index.clear();
                    naive.records.clear();
                }
            }
            prop_assert_eq!(index.entries(), naive.records.len());
            let mut partitions: Vec<_> = naive.records.iter().map(|record| record.partition.0).collect();
            partitions.sort_unstable();
            partitions.dedup();
            prop_assert_eq!(index.partitions(), partitions.len());
            prop_assert_eq!(index.has(Partition([0; 32])), partitions.contains(&[0; 32]));
            let mut keys: Vec<_> = index.records().into_iter().map(|record| record.key).collect();
            let mut expected: Vec<_> = naive.records.iter().map(|record| record.key.clone()).collect();
            keys.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(keys, expected);
        }
    }
}

#[test]
fn what_has_expired_makes_room_in_every_partition() {
    let index = Index::new(2);
    assert!(index.insert(record(1, 1, 0, [1, 0, 0], 10), 0));
    assert!(index.insert(record(2, 2, 0, [1, 0, 0], 20), 0));
    assert!(!index.insert(record(3, 3, 0, [1, 0, 0], 30), 9));
    assert!(index.insert(record(3, 3, 0, [1, 0, 0], 30), 10));
    assert!(!index.has(Partition([1; 32])) && index.has(Partition([3; 32])));
}

#[test]
fn searches_run_beside_each_other_and_beside_changes() {
    let index = Index::new(1_000);
    std::thread::scope(|scope| {
        for thread in 0u8..4 {
            let index = &index;
            scope.spawn(move || {
                for round in 0u8..200 {
                    let number = round.wrapping_mul(4).wrapping_add(thread);
                    index.insert(record(number, 0, 0, [1, 2, 1], 10), 0);
                    let (vector, signature) = (vector([1, 2, 1]), Signature::new(TEXTS[0]));
                    let search = Search {
                        partition: Partition([0; 32]),
                        vector: &vector,
                        signature: &signature,
                        own_key: "",
                        needs_two_callers: false,
                        now: 0,
                    };
                    assert!(index.nearest(&search).neighbours.iter().all(|found| found.similarity > 0.99));
                }
            });
        }
    });
    assert_eq!(index.entries(), 256);
}
