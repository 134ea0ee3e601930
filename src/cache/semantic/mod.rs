//! Hits by meaning: which stored question is near enough to share its answer, and how sure that is.
//!
//! Pure: texts, vectors and the time are arguments. `docs/MEANING.md` says what operators see of it.

pub(crate) mod answer;
pub(crate) mod event;
pub(crate) mod guards;
pub(crate) mod index;
pub(crate) mod ledger;
mod nearness;
pub(crate) mod question;
pub(crate) mod state;
pub(crate) mod vector;

/// How a route takes part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SemanticRoute {
    /// Requests with a higher temperature take no part.
    pub(crate) max_temperature: f64,
}

/// A rate, between 0 and 1, as people and logs get it: five digits.
pub(crate) fn rounded_rate(rate: f64) -> f64 {
    (rate * 100_000.0).round() / 100_000.0
}

/// A similarity as people and logs get it: four digits.
pub(crate) fn rounded_similarity(similarity: f32) -> f64 {
    (f64::from(similarity) * 10_000.0).round() / 10_000.0
}
