//! A question that may be answered by meaning.

use super::guards::Signature;

/// Everything in a request's key but the last user's text. Only questions of one partition share answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Partition(pub(crate) [u8; 32]);

/// Who asked, where that matters: under a `shared` scope, a neighbour counts only if two callers asked it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallerId(pub(crate) u64);

/// A question.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) partition: Partition,
    /// The last user's text, normalized as for the key.
    pub(crate) text: String,
    pub(crate) signature: Signature,
    /// `None` except under a `shared` scope.
    pub(crate) caller: Option<CallerId>,
}

/// Why a request takes no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ineligible {
    /// The dialect does not know the question's text, or it is in several pieces.
    NoText,
    ToolResults,
    Media,
    Conversation,
    TooShort,
    TooLong,
    Temperature,
}
