//! The search through one partition.

use std::cmp::Ordering;

use super::{CALLERS, NEIGHBOURS, Nearest, Neighbour, Record, Search, separated::SeparatedPairs};
use crate::cache::semantic::guards::Guard;

/// A record and how near it is.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    record: &'a Record,
    similarity: f32,
}

impl Candidate<'_> {
    /// The nearer one first; of two that are equally near, always the same one.
    fn compare(&self, other: &Self) -> Ordering {
        other.similarity.total_cmp(&self.similarity).then_with(|| self.record.key.cmp(&other.record.key))
    }

    fn is_nearer_than(&self, other: Option<&Self>) -> bool {
        other.is_none_or(|other| self.compare(other).is_lt())
    }

    fn neighbour(&self) -> Neighbour {
        Neighbour {
            key: self.record.key.clone(),
            similarity: self.similarity,
            answer: self.record.answer.clone(),
        }
    }
}

/// Guards come before the distance: what they refuse does not count, however near it is. They are looked at only for records that
/// would count otherwise, since they cost more than the distance.
pub(super) fn nearest(records: &[Record], separated: &SeparatedPairs, search: &Search<'_>) -> Nearest {
    let mut counting: Vec<Candidate<'_>> = Vec::with_capacity(NEIGHBOURS + 1);
    let mut refused: Option<(Candidate<'_>, Guard)> = None;
    for record in records {
        let candidate = Candidate { record, similarity: record.vector.similarity(search.vector) };
        let would_count = candidate.is_nearer_than(counting.get(NEIGHBOURS - 1)) && may_count(record, search);
        if !would_count || separated.contains(search.own_key, &record.key) {
            continue;
        }
        if let Some(guard) = search.signature.conflict(&record.signature) {
            if candidate.is_nearer_than(refused.as_ref().map(|(candidate, _)| candidate)) {
                refused = Some((candidate, guard));
            }
            continue;
        }
        let position = counting.partition_point(|other| other.compare(&candidate).is_lt());
        counting.insert(position, candidate);
        counting.truncate(NEIGHBOURS);
    }
    let refused = refused.filter(|(refused, _)| refused.is_nearer_than(counting.first()));
    Nearest {
        neighbours: counting.iter().map(Candidate::neighbour).collect(),
        refused: refused.map(|(candidate, guard)| (candidate.neighbour(), guard)),
    }
}

fn may_count(record: &Record, search: &Search<'_>) -> bool {
    record.expires_at > search.now
        && *record.key != *search.own_key
        && (!search.needs_two_callers || record.callers.len() >= CALLERS)
        // Of another embedder.
        && record.vector.dimension() == search.vector.dimension()
}
