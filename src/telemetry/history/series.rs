//! A row of buckets of one length. Pure.

use std::collections::VecDeque;

use super::{Range, reading::Reading};

/// What happened in a time of one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// How many steps after 1970 it begins.
    number: u64,
    change: Reading,
}

/// The buckets of one range, oldest first. A time in which nothing was read has no bucket.
#[derive(Debug)]
pub(super) struct Series {
    range: Range,
    buckets: VecDeque<Bucket>,
}

impl Series {
    pub(super) fn new(range: Range) -> Self {
        Self { range, buckets: VecDeque::new() }
    }

    /// Adds what happened until `now`, which is in milliseconds since 1970.
    pub(super) fn add(&mut self, change: Reading, now: u64) {
        let number = now / self.range.step();
        if let Some(last) = self.buckets.back() {
            // The clock was set back. What is there moves back with it, and stays as long ago as it was.
            let back = last.number.saturating_sub(number);
            self.buckets.iter_mut().for_each(|bucket| bucket.number = bucket.number.saturating_sub(back));
        }
        match self.buckets.back_mut() {
            Some(last) if last.number == number => last.change = last.change + change,
            _ => self.buckets.push_back(Bucket { number, change }),
        }
        let is_past = |bucket: &Bucket| bucket.number + self.range.buckets() <= number;
        while self.buckets.front().is_some_and(is_past) {
            self.buckets.pop_front();
        }
    }

    /// When the first bucket begins, in milliseconds since 1970, and all changes since then, one for each step.
    pub(super) fn all(&self) -> (u64, Vec<Reading>) {
        let (Some(first), Some(last)) = (self.buckets.front(), self.buckets.back()) else {
            return (0, Vec::new());
        };
        let place = |bucket: &Bucket| usize::try_from(bucket.number - first.number).unwrap_or(usize::MAX);
        let mut changes = vec![Reading::default(); place(last) + 1];
        for bucket in &self.buckets {
            if let Some(change) = changes.get_mut(place(bucket)) {
                *change = *change + bucket.change;
            }
        }
        (first.number * self.range.step(), changes)
    }
}
