//! Sums over several counters, for pages that people read.

use std::array;

use super::{
    LookupResult, Stats,
    histogram::Totals,
    labels::{KINDS, cache_place, kind_place, status_place},
};
use crate::{
    cache::{route::kind::Kind, status::CacheStatus},
    telemetry::calls::AnsweredBy,
};

/// What a hit is in the figures: an answer from the store.
pub(crate) const FROM_STORE: [CacheStatus; 3] = [CacheStatus::Hit, CacheStatus::Stale, CacheStatus::Similar];

/// What a miss is in the figures: an answer of the upstream after a lookup.
pub(crate) const FROM_UPSTREAM: [CacheStatus; 2] = [CacheStatus::Miss, CacheStatus::Partial];

impl Stats {
    /// The lookups of a kind that the store answered.
    pub(crate) fn hits(&self, kind: Kind) -> u64 {
        let hits = LookupResult::ALL.iter().filter(|result| result.is_hit());
        hits.map(|result| self.lookups(kind, *result)).sum()
    }

    /// The lookups of a kind that found nothing of use.
    pub(crate) fn misses(&self, kind: Kind) -> u64 {
        self.lookups(kind, LookupResult::Miss)
    }

    /// The lookups that the answer to a question in other words answered. They are among the hits.
    pub(crate) fn all_similar(&self) -> u64 {
        Kind::ALL.into_iter().map(|kind| self.lookups(kind, LookupResult::Similar)).sum()
    }

    /// The covered requests for which the store was not asked.
    pub(crate) fn all_bypassed(&self) -> u64 {
        (0..KINDS).filter(|place| *place != kind_place(None)).map(|place| self.bypassed_at(place)).sum()
    }

    /// The requests that no route covers.
    pub(crate) fn all_passed(&self) -> u64 {
        self.bypassed_at(kind_place(None))
    }

    fn bypassed_at(&self, place: usize) -> u64 {
        self.sum_of(|thread| thread.bypassed[place].all())
    }

    /// The requests that have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.sum(|thread| &thread.ended)
    }

    /// The requests that ended with a 5xx.
    pub(crate) fn failed(&self) -> u64 {
        self.sum_of(|thread| thread.requests.with_status(status_place(500)))
    }

    /// The tokens of all answers that came from there.
    pub(crate) fn tokens(&self, by: AnsweredBy) -> u64 {
        Kind::ALL.into_iter().flat_map(|kind| self.tokens_of(None, kind, by)).sum()
    }

    /// The tokens of a model (`None`: of all), in the order of [`TOKEN_TYPES`](crate::telemetry::calls::TOKEN_TYPES).
    pub(crate) fn tokens_of(&self, model: Option<usize>, kind: Kind, by: AnsweredBy) -> [u64; 3] {
        array::from_fn(|place| self.sum_of(|thread| thread.calls.tokens(model, kind, by)[place]))
    }

    /// How long requests of this kind took (`None`: of all), of those that were answered so.
    pub(crate) fn times(&self, kind: Option<Kind>, answers: &[CacheStatus]) -> Totals {
        let places = (0..KINDS).filter(|place| kind.is_none_or(|kind| *place == kind as usize));
        let each = places.flat_map(|place| {
            answers
                .iter()
                .map(move |answer| self.totals(|thread| thread.duration(place, cache_place(Some(*answer)))))
        });
        each.fold(Totals::default(), |sum, totals| sum + totals)
    }
}
