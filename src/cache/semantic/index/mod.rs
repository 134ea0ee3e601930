//! The stored questions, by partition, and the search for the nearest ones.
//!
//! A search reads every question of its partition: at the sizes that one process keeps, this takes less time than the embedding of the
//! question, finds the nearest ones for certain, and needs no upkeep. (An approximate index would find fewer than it shows.)

mod search;
mod separated;
mod stored;
#[cfg(test)]
mod tests;

use parking_lot::RwLock;

use self::{separated::SeparatedPairs, stored::StoredQuestions};
use super::{
    answer::AnswerSketch,
    guards::{Guard, Signature},
    question::{CallerId, Partition},
    vector::Vector,
};

/// How many neighbours must agree.
pub(crate) const NEIGHBOURS: usize = 3;

/// A stored question. Its key, without the namespace, is that of its entry in the store.
#[derive(Clone, Debug)]
pub struct Record {
    /// [`crate::cache::key::Key::local`] of its entry.
    pub key: Box<str>,
    pub partition: Partition,
    pub vector: Vector,
    pub signature: Signature,
    pub answer: AnswerSketch,
    /// When its entry ends, in milliseconds since the Unix epoch.
    pub expires_at: u64,
    /// The callers that asked it, as far as that matters: two at most.
    pub callers: Vec<CallerId>,
}

/// A stored question near another one.
#[derive(Clone, Debug)]
pub struct Neighbour {
    pub key: Box<str>,
    pub similarity: f32,
    pub answer: AnswerSketch,
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Nearest {
    /// The nearest ones that count, at most [`NEIGHBOURS`], the nearest first.
    pub neighbours: Vec<Neighbour>,
    /// The nearest one that a guard refused, if it is nearer than all that count.
    pub refused: Option<(Neighbour, Guard)>,
}

/// What is searched for.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    pub partition: Partition,
    pub vector: &'a Vector,
    pub signature: &'a Signature,
    /// The key of the question itself, which is no neighbour.
    pub own_key: &'a str,
    /// Whether a neighbour counts only if two callers asked it.
    pub needs_two_callers: bool,
    /// In milliseconds since the Unix epoch.
    pub now: u64,
}

/// The index of one process. Its methods take `&self`: searches run beside each other.
#[derive(Debug)]
pub struct Index {
    questions: RwLock<StoredQuestions>,
    separated: RwLock<SeparatedPairs>,
}

impl Index {
    pub fn new(max_entries: usize) -> Self {
        Self { questions: RwLock::new(StoredQuestions::new(max_entries)), separated: RwLock::default() }
    }

    /// Adds a record, or replaces the one with its key and keeps who asked that one; whether there was room. What has expired
    /// makes room. A record that has expired itself is not added.
    pub fn insert(&self, record: Record, now: u64) -> bool {
        self.questions.write().insert(record, now)
    }

    pub fn remove(&self, key: &str) {
        self.questions.write().remove(key);
    }

    /// Notes that `caller` asked the question under `key`; whether that is new. Two callers are enough: a third one is not noted.
    pub fn asked_by(&self, key: &str, caller: CallerId) -> bool {
        // Nearly always there is nothing to note, and searches need not wait.
        let is_news = self.questions.read().get(key).is_some_and(|record| is_news(record, caller));
        is_news && self.questions.write().asked_by(key, caller)
    }

    /// Notes that the answers of these two questions may not stand in for each other: neither is found any more when the other is
    /// asked. Kept for as long as the process runs; of more than 10,000 pairs, the oldest are dropped.
    pub fn separate(&self, asked: &str, original: &str) {
        self.separated.write().add(asked, original);
    }

    pub fn is_separate(&self, asked: &str, original: &str) -> bool {
        self.separated.read().contains(asked, original)
    }

    /// Removes all records. Separated pairs stay: they are of texts, not of vectors.
    pub fn clear(&self) {
        self.questions.write().clear();
    }

    pub fn has(&self, partition: Partition) -> bool {
        !self.questions.read().of(partition).is_empty()
    }

    pub fn nearest(&self, search: &Search<'_>) -> Nearest {
        let separated = self.separated.read();
        let questions = self.questions.read();
        search::nearest(questions.of(search.partition), &separated, search)
    }

    /// The number of stored questions.
    pub fn entries(&self) -> usize {
        self.questions.read().len()
    }

    pub fn partitions(&self) -> usize {
        self.questions.read().partitions()
    }

    /// All records, for the state file.
    pub fn records(&self) -> Vec<Record> {
        self.questions.read().records().cloned().collect()
    }
}

/// How many callers of a question are noted.
const CALLERS: usize = 2;

fn is_news(record: &Record, caller: CallerId) -> bool {
    record.callers.len() < CALLERS && !record.callers.contains(&caller)
}
