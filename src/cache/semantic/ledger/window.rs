//! The labels that count: not too old, and not too many.

use std::collections::{HashMap, VecDeque};

use super::Label;
use crate::cache::semantic::question::Partition;

/// How long a label counts, in milliseconds: 30 days.
const MAX_AGE: u64 = 30 * 24 * 60 * 60 * 1_000;

pub(super) const MAX_LABELS: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Window {
    /// In the order in which they came.
    labels: VecDeque<Label>,
    /// How many of each partition could be hits.
    agreeing: HashMap<Partition, usize>,
}

impl Window {
    pub(super) fn push(&mut self, label: Label) {
        if label.near.agrees() {
            *self.agreeing.entry(label.partition).or_default() += 1;
        }
        self.labels.push_back(label);
        if self.labels.len() > MAX_LABELS {
            self.pop();
        }
    }

    /// Drops what is too old; whether there was something.
    pub(super) fn expire(&mut self, now: u64) -> bool {
        let before = self.labels.len();
        while self.labels.front().is_some_and(|label| label.at.saturating_add(MAX_AGE) < now) {
            self.pop();
        }
        self.labels.len() < before
    }

    fn pop(&mut self) {
        let Some(label) = self.labels.pop_front() else { return };
        if !label.near.agrees() {
            return;
        }
        if let Some(count) = self.agreeing.get_mut(&label.partition) {
            *count -= 1;
            if *count == 0 {
                self.agreeing.remove(&label.partition);
            }
        }
    }

    /// How many labels of a partition could be hits.
    pub(super) fn agreeing(&self, partition: Partition) -> usize {
        self.agreeing.get(&partition).copied().unwrap_or(0)
    }

    /// The same of all partitions.
    pub(super) fn agreeing_in_all(&self) -> usize {
        self.agreeing.values().sum()
    }

    pub(super) fn labels(&self) -> impl ExactSizeIterator<Item = &Label> {
        self.labels.iter()
    }
}
