//! The stored questions, by partition, and the search for the nearest ones.

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
pub(crate) struct Record {
    /// [`crate::cache::key::Key::local`] of its entry.
    pub(crate) key: Box<str>,
    /// The number of its route's ledger: the digest of the route's name.
    pub(crate) partition: Partition,
    pub(crate) vector: Vector,
    pub(crate) signature: Signature,
    pub(crate) answer: AnswerSketch,
    /// When its entry ends, in milliseconds since the Unix epoch.
    pub(crate) expires_at: u64,
    /// The callers that asked it, as far as that matters: two at most.
    pub(crate) callers: Vec<CallerId>,
}

/// A stored question near another one.
#[derive(Clone, Debug)]
pub(crate) struct Neighbour {
    pub(crate) key: Box<str>,
    pub(crate) similarity: f32,
    pub(crate) answer: AnswerSketch,
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nearest {
    /// The nearest ones that count, at most [`NEIGHBOURS`], the nearest first.
    pub(crate) neighbours: Vec<Neighbour>,
    /// The nearest one that a guard refused, if it is nearer than all that count.
    pub(crate) refused: Option<(Neighbour, Guard)>,
}

/// What is searched for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search<'a> {
    pub(crate) partition: Partition,
    pub(crate) vector: &'a Vector,
    pub(crate) signature: &'a Signature,
    /// The key of the question itself, which is no neighbour.
    pub(crate) own_key: &'a str,
    /// Whether a neighbour counts only if two callers asked it.
    pub(crate) needs_two_callers: bool,
    /// In milliseconds since the Unix epoch.
    pub(crate) now: u64,
}

/// The index of one process. Its methods take `&self`: searches run beside each other.
#[derive(Debug)]
pub(crate) struct Index {}

impl Index {
    pub(crate) fn new(_max_entries: usize) -> Self {
        unimplemented!()
    }

    /// Adds a record, or replaces the one with its key; whether there was room. What has expired makes room.
    pub(crate) fn insert(&self, _record: Record, _now: u64) -> bool {
        unimplemented!()
    }

    pub(crate) fn remove(&self, _key: &str) {
        unimplemented!()
    }

    /// Notes that `caller` asked the question under `key`; whether that is new.
    pub(crate) fn asked_by(&self, _key: &str, _caller: CallerId) -> bool {
        unimplemented!()
    }

    /// Notes that the answers of these two questions may not stand in for each other. Kept for as long as the process runs,
    /// bounded.
    pub(crate) fn separate(&self, _asked: &str, _original: &str) {
        unimplemented!()
    }

    pub(crate) fn is_separate(&self, _asked: &str, _original: &str) -> bool {
        unimplemented!()
    }

    pub(crate) fn clear(&self) {
        unimplemented!()
    }

    pub(crate) fn has(&self, _partition: Partition) -> bool {
        unimplemented!()
    }

    pub(crate) fn nearest(&self, _search: &Search<'_>) -> Nearest {
        unimplemented!()
    }

    pub(crate) fn len(&self) -> usize {
        unimplemented!()
    }

    pub(crate) fn partitions(&self) -> usize {
        unimplemented!()
    }

    /// All records, for the state file.
    pub(crate) fn records(&self) -> Vec<Record> {
        unimplemented!()
    }
}
