//! How a fill ends: with a whole answer, which is stored or not, or without one.

use std::sync::Arc;

use crate::{
    cache::{entry::Entry, rfc9111::Times},
    proxy::{coalesce::head::StoredFor, error::ProxyError, upstream::body::UpstreamBody},
    reason::Reason,
};

/// Why there is no whole answer.
pub(super) enum Stop {
    /// It failed.
    Failed(ProxyError),
    /// Nobody reads it any more, and it is not worth finishing.
    Abandoned,
}

impl Stop {
    /// As in the call's span.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Failed(error) => error.kind.name(),
            Self::Abandoned => "abandoned",
        }
    }
}

impl From<Stop> for Arc<ProxyError> {
    fn from(stop: Stop) -> Self {
        Self::new(match stop {
            Stop::Failed(error) => error,
            // A reader that joined just now must not take a partial answer for a complete one.
            Stop::Abandoned => ProxyError::internal("everybody had left the answer"),
        })
    }
}

impl From<ProxyError> for Stop {
    fn from(error: ProxyError) -> Self {
        Self::Failed(error)
    }
}

/// What becomes of an answer that has come whole.
pub(super) enum FillOutcome {
    /// It is to be stored.
    Save(Box<Storable>),
    /// It is not stored, for this reason.
    NotSaved(Reason),
    /// It came from the store: another request, or another replica, has stored it.
    FromStore,
}

/// An entry that is to be stored, and the times of the response that it comes from.
pub(super) struct Storable {
    pub(super) entry: Entry,
    pub(super) times: Times,
    pub(super) stored: StoredFor,
}

impl FillOutcome {
    pub(super) fn from_entry(entry: Result<Entry, Reason>, times: Times, stored: StoredFor) -> Self {
        match entry {
            Ok(entry) => Self::Save(Box::new(Storable { entry, times, stored })),
            Err(reason) => Self::NotSaved(reason),
        }
    }
}

/// An answer that has come whole.
pub(super) struct Whole {
    pub(super) outcome: FillOutcome,
    /// The body, where more of it may come behind the answer's end.
    pub(super) rest: Option<UpstreamBody>,
}

impl From<FillOutcome> for Whole {
    fn from(outcome: FillOutcome) -> Self {
        Self { outcome, rest: None }
    }
}
