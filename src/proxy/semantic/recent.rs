//! The last hits by meaning, for operators.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::status::SimilarHit;

/// How many are kept.
const MAX_RECENT: usize = 20;

#[derive(Debug, Default)]
pub(crate) struct RecentHits(Mutex<VecDeque<SimilarHit>>);

impl RecentHits {
    pub(crate) fn add(&self, hit: SimilarHit) {
        let mut hits = self.0.lock();
        hits.truncate(MAX_RECENT - 1);
        hits.push_front(hit);
    }

    /// Takes out the hits that served `original` to `asked`: somebody reported them.
    pub(crate) fn forget(&self, asked: &str, original: &str) {
        self.0.lock().retain(|hit| !(&*hit.asked == asked && &*hit.original == original));
    }

    /// The latest first.
    pub(crate) fn latest(&self) -> Vec<SimilarHit> {
        self.0.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(asked: &str, original: &str) -> SimilarHit {
        let (asked, original) = (asked.into(), original.into());
        SimilarHit { at: 0, route: "ask".into(), asked, original, similarity: 0.97 }
    }

    #[test]
    fn the_latest_come_first_and_only_some_are_kept() {
        let recent = RecentHits::default();
        (0..3 * MAX_RECENT).for_each(|number| recent.add(hit(&number.to_string(), "x")));
        let expected: Vec<_> =
            (2 * MAX_RECENT..3 * MAX_RECENT).rev().map(|number| hit(&number.to_string(), "x")).collect();
        assert_eq!(recent.latest(), expected);
    }

    #[test]
    fn what_was_reported_is_shown_no_more() {
        let recent = RecentHits::default();
        for (asked, original) in [("a", "x"), ("ba", "x"), ("a", "y"), ("a", "x")] {
            recent.add(hit(asked, original));
        }
        recent.forget("a", "x");
        assert_eq!(recent.latest(), [hit("a", "y"), hit("ba", "x")]);
        recent.forget("z", "x");
        assert_eq!(recent.latest().len(), 2);
    }
}
