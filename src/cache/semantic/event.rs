//! What replicas tell each other, and what a restart reads.

use super::{index::Record, ledger::Label, question::CallerId};

/// Something that happened to the index or to the labels.
#[derive(Clone, Debug)]
pub(crate) enum SemanticEvent {
    Added(Record),
    AskedBy {
        key: Box<str>,
        caller: CallerId,
    },
    Labelled {
        route: Box<str>,
        label: Label,
    },
    /// Somebody reported that `original` is no answer to `asked`.
    Separated {
        asked: Box<str>,
        original: Box<str>,
    },
    /// The route stepped back: labels before this do not count.
    SteppedBack {
        route: Box<str>,
        at: u64,
    },
    /// Vectors of another embedder are worthless.
    Embedder {
        identity: Box<str>,
    },
}
