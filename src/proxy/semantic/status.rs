//! What operators see of hits by meaning.

use crate::{cache::semantic::ledger::LedgerStatus, config::SemanticMode};

/// What `/health`, metrics and the page show.
#[derive(Clone, Debug)]
pub(crate) struct SemanticStatus {
    pub(crate) mode: SemanticMode,
    /// The highest rate of false hits, between 0 and 1.
    pub(crate) limit: f64,
    /// What tells the embedder from another one.
    pub(crate) embedder: Option<String>,
    /// Why vectors are missing at the moment, for operators; `None` if nothing is wrong.
    pub(crate) problem: Option<String>,
    pub(crate) entries: usize,
    pub(crate) max_entries: usize,
    pub(crate) partitions: usize,
    pub(crate) routes: Vec<RouteStatus>,
}

/// Of one route that takes part.
#[derive(Clone, Debug)]
pub(crate) struct RouteStatus {
    pub(crate) route: String,
    pub(crate) ledger: LedgerStatus,
    /// Hits by meaning that were served by this process.
    pub(crate) served: u64,
}
