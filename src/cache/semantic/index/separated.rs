//! Pairs of questions whose answers may not stand in for each other.

use std::collections::{HashSet, VecDeque};

/// How many pairs are kept. Somebody reported each of them.
const MAX_PAIRS: usize = 10_000;

type Pair = (Box<str>, Box<str>);

#[derive(Debug, Default)]
pub(super) struct SeparatedPairs {
    pairs: HashSet<Pair>,
    /// The oldest first.
    order: VecDeque<Pair>,
}

impl SeparatedPairs {
    pub(super) fn add(&mut self, one: &str, other: &str) {
        let pair = pair(one, other);
        if !self.pairs.insert(pair.clone()) {
            return;
        }
        self.order.push_back(pair);
        if self.order.len() > MAX_PAIRS {
            let oldest = self.order.pop_front();
            oldest.map(|oldest| self.pairs.remove(&oldest));
        }
    }

    pub(super) fn contains(&self, one: &str, other: &str) -> bool {
        !self.pairs.is_empty() && self.pairs.contains(&pair(one, other))
    }
}

/// The same in both directions.
fn pair(one: &str, other: &str) -> Pair {
    (one.min(other).into(), one.max(other).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_counts_in_both_directions_and_the_oldest_goes_first() {
        let mut separated = SeparatedPairs::default();
        assert!(!separated.contains("a", "b"));
        for number in 0..=MAX_PAIRS {
            separated.add("asked", &number.to_string());
            // The same once more takes no room.
            separated.add(&number.to_string(), "asked");
        }
        assert!(!separated.contains("asked", "0"));
        assert!(separated.contains("asked", "1") && separated.contains("1", "asked"));
        assert_eq!((separated.pairs.len(), separated.order.len()), (MAX_PAIRS, MAX_PAIRS));
    }
}
