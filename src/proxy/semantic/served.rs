//! What was served by meaning lately, for reports of wrong hits.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::cache::semantic::{ledger::Nearness, question::Partition};

/// How many hits are remembered.
const MAX_SERVED: usize = 10_000;

/// A hit by meaning: the question that was asked, and the one whose answer was served.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ServedPair {
    /// The key of the question that was asked, without the namespace.
    pub(super) asked: Box<str>,
    /// That of the question whose answer was served.
    pub(super) original: Box<str>,
    /// The route's name.
    pub(super) route: Box<str>,
    pub(super) partition: Partition,
    pub(super) near: Nearness,
}

/// The latest hits by meaning, by the key that was asked. Two halves: once one is full, the older one goes.
#[derive(Debug, Default)]
pub(super) struct ServedPairs(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<Box<str>, ServedPair>,
    old: HashMap<Box<str>, ServedPair>,
}

impl ServedPairs {
    pub(super) fn add(&self, pair: ServedPair) {
        let mut halves = self.0.lock();
        if halves.young.len() >= MAX_SERVED / 2 && !halves.young.contains_key(&pair.asked) {
            halves.old = std::mem::take(&mut halves.young);
        }
        halves.old.remove(&pair.asked);
        halves.young.insert(pair.asked.clone(), pair);
    }

    /// Takes out the hit that was asked under `key`, or all hits that were served with the answer under `key`.
    pub(super) fn take(&self, key: &str) -> Vec<ServedPair> {
        let mut halves = self.0.lock();
        let Halves { young, old } = &mut *halves;
        if let Some(pair) = young.remove(key).or_else(|| old.remove(key)) {
            return vec![pair];
        }
        [young, old]
            .into_iter()
            .flat_map(|half| half.extract_if(|_, pair| &*pair.original == key))
            .map(|(_, pair)| pair)
            .collect()
    }

    /// Takes out the hit that served `original` to `asked`.
    pub(super) fn forget(&self, asked: &str, original: &str) {
        let mut halves = self.0.lock();
        let Halves { young, old } = &mut *halves;
        for half in [young, old] {
            if half.get(asked).is_some_and(|pair| &*pair.original == original) {
                half.remove(asked);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(asked: &str, original: &str) -> ServedPair {
        ServedPair {
            asked: asked.into(),
            original: original.into(),
            route: "ask".into(),
            partition: Partition([1; 32]),
            near: Nearness { similarity: 0.9, disagreement: 0.0 },
        }
    }

    #[test]
    fn a_pair_is_found_by_either_key_once() {
        let served = ServedPairs::default();
        for (asked, original) in [("a", "x"), ("b", "x"), ("c", "y"), ("a", "x")] {
            served.add(pair(asked, original));
        }
        assert_eq!(served.take("a"), [pair("a", "x")]);
        assert_eq!(served.take("a"), []);
        assert_eq!(served.take("x"), [pair("b", "x")]);
        assert_eq!(served.take("z"), []);
        served.forget("c", "x");
        served.forget("c", "y");
        assert_eq!(served.take("y"), []);
    }

    #[test]
    fn the_latest_half_is_remembered_and_no_more_than_all() {
        let served = ServedPairs::default();
        for number in 0..MAX_SERVED * 3 {
            served.add(pair(&number.to_string(), "x"));
        }
        let halves = served.0.lock();
        assert!(halves.young.len() + halves.old.len() <= MAX_SERVED);
        let latest = MAX_SERVED * 3 - MAX_SERVED / 2..MAX_SERVED * 3;
        for number in latest {
            let key = number.to_string();
            assert!(halves.young.contains_key(&*key) || halves.old.contains_key(&*key), "{key}");
        }
    }
}
