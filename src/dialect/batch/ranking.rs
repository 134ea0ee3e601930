//! Results that have scores: in which order a service writes them, and whether they are the results that were asked for.
//!
//! Scores are compared as doubles, which is what services compute them in at most, and never printed again.

use std::{cmp::Ordering, collections::HashSet};

use super::{
    answers::number,
    layout::{AnswersError, Item, List},
    shape::Ties,
};
use crate::dialect::ask::Ranks;

/// Whether the highest score comes first, and so on.
pub(super) fn is_sorted(items: &[Item]) -> bool {
    items.is_sorted_by(|one, next| one.score >= next.score)
}

/// The numbers of the inputs in the order in which their results are written; `scores` are in the order of the inputs.
pub(super) fn order(scores: impl Iterator<Item = Option<f64>>, ties: Ties) -> Vec<usize> {
    let mut order: Vec<_> = scores.enumerate().collect();
    order.sort_by(|(one, own), (other, others)| {
        let by_score = others.partial_cmp(own).unwrap_or(Ordering::Equal);
        by_score.then(match ties {
            Ties::FirstFirst => one.cmp(other),
            Ties::LastFirst => other.cmp(one),
        })
    });
    order.into_iter().map(|(input, _)| input).collect()
}

/// # Errors
/// The answer has not the results that were asked for, each with the index of another document.
pub(super) fn check(text: &[u8], lists: &[List], ranks: Ranks) -> Result<(), AnswersError> {
    let items = || lists.iter().flat_map(|list| &list.items);
    if items().count() != ranks.results {
        return Err(AnswersError::Count(items().count()));
    }
    let mut known = HashSet::with_capacity(ranks.results);
    let is_new = |item: &Item| {
        let index = item.index.as_ref().and_then(|span| number(text, span));
        index.is_some_and(|index| index < ranks.documents && known.insert(index))
    };
    if items().all(is_new) { Ok(()) } else { Err(AnswersError::Order) }
}
