//! What is known of a running answer besides its bytes: its head, who may share it, and how it ended.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use crate::{
    dialect::{OwnId, Slot},
    proxy::error::ProxyError,
    reason::Reason,
};

/// The head of an answer, as the readers of its flight get it.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    /// Without the headers of the connection.
    pub(crate) headers: HeaderMap,
    /// Who may read the answer besides the request that asked for it.
    pub(crate) shareable: Shareable,
    pub(crate) source: AnswerSource,
    /// The ids of conversations that are not in the key of the request that asked for it.
    pub(crate) own_ids: Vec<OwnId>,
}

/// Where an answer comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AnswerSource {
    Upstream,
    /// The store: the answer came between the request's lookup and its call of the upstream.
    StoredMeanwhile {
        /// The places in the body that each reader fills.
        slots: Vec<Slot>,
    },
    /// The store; the upstream confirmed the entry.
    Revalidated {
        /// The entry's age, in seconds.
        age: u64,
        /// How long the entry is fresh yet, in seconds; negative if it is stale.
        ttl: i64,
    },
}

/// Who may read an answer besides the request that asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shareable {
    /// Everybody who joins.
    Open,
    /// Everybody who joins, once the whole answer was judged: until then it may be a failure, or meant for
    /// one client.
    Judged,
    /// Nobody: the followers ask for themselves, at once.
    Released,
    /// Nobody: the upstream failed, and one of the followers may try again for all.
    Failed,
}

/// What became of an answer that came whole: for how long it was stored, or why it was not.
pub(crate) type Outcome = Result<StoredFor, Reason>;

/// For how long an answer was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoredFor {
    /// As long as its route says.
    Usual,
    /// A short time only, for this reason.
    Short(Reason),
}

/// Why an answer was not stored, or for a short time only.
pub(crate) fn outcome_reason(outcome: Outcome) -> Option<Reason> {
    match outcome {
        Ok(StoredFor::Usual) => None,
        Ok(StoredFor::Short(reason)) | Err(reason) => Some(reason),
    }
}

/// How an answer ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The answer came whole.
    Complete(Outcome),
    /// The answer did not come, or was cut off.
    Failed(Arc<ProxyError>),
}
