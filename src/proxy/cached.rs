//! What a lookup found for a request.

use std::{sync::Arc, time::Duration};

use crate::{
    cache::{
        entry::Entry,
        status::{CacheReport, Forward},
    },
    dialect::Rendered,
};

/// What a lookup found for a request.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The answer, fresh.
    Hit(Found),
    /// The answer, stale; it is served, and a refresh runs.
    Stale(Found),
    /// Nothing that answers the request.
    Miss(Miss),
}

/// A lookup without an answer, and what it found all the same.
#[derive(Debug)]
pub(crate) struct Miss {
    /// Why there is no answer.
    pub(crate) forward: Forward,
    /// A fresh entry, in a form that the request cannot use.
    pub(crate) kept: Option<Arc<Entry>>,
    /// A stale answer, for use if the upstream fails.
    pub(crate) fallback: Option<Fallback>,
    /// With `mode = "rfc9111"`: the response that the upstream may confirm.
    pub(crate) stored: Option<Arc<Entry>>,
}

impl From<Forward> for Lookup {
    fn from(forward: Forward) -> Self {
        Self::Miss(Miss { forward, kept: None, fallback: None, stored: None })
    }
}

/// Whole seconds, saturating.
pub(crate) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// A stored answer, and the form in which it is served.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The stored answer.
    pub(crate) entry: Arc<Entry>,
    /// The form that was asked for.
    pub(crate) served: Rendered,
    /// What `Cache-Status` says of it.
    pub(crate) report: CacheReport,
}

/// A stale answer, for use if the upstream fails.
#[derive(Clone, Debug)]
pub(crate) struct Fallback {
    /// The answer.
    pub(crate) found: Found,
    /// Whether an error status of the upstream counts as a failure, or only that it gives no answer.
    pub(crate) for_errors: bool,
}
