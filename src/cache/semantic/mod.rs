//! Hits by meaning: which stored question is near enough to share its answer, and how sure that is.
//!
//! Pure: texts, vectors and the time are arguments. `docs/MEANING.md` says what operators see of it.

pub(crate) mod answer;
pub(crate) mod event;
pub(crate) mod guards;
pub(crate) mod index;
pub(crate) mod ledger;
pub(crate) mod question;
pub(crate) mod vector;

/// How a route takes part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SemanticRoute {
    /// Requests with a higher temperature take no part.
    pub(crate) max_temperature: f64,
}
