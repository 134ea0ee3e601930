//! Where a batch has its inputs, and where the answer has what belongs to each of them.

use std::sync::Arc;

use super::layout::AnswersError;
use crate::{json::pointer::Pointer, reason::Reason};

/// The lists that a route names with `batch` and `batch_answer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchLists {
    /// The list of inputs in a request's body.
    pub request: Pointer,
    /// The lists in an answer that have one element for each input, in the same order. The first one must be
    /// there.
    pub answers: Arc<[Pointer]>,
}

/// How the answer to a batch is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Vectors, OpenAI's or Ollama's way.
    Vectors,
    /// Lists in these places, with an element for each input.
    Lists(Arc<[Pointer]>),
}

impl Shape {
    /// The shape of the answers on a route that names these lists, or none.
    pub(crate) fn new(lists: Option<&BatchLists>) -> Self {
        lists.map_or(Self::Vectors, |lists| Self::Lists(Arc::clone(&lists.answers)))
    }

    /// Whether an answer may say which input each of its elements is for. Otherwise their order says it.
    pub(crate) const fn may_be_numbered(&self) -> bool {
        matches!(self, Self::Vectors)
    }

    /// Why an answer with this fault is not stored.
    pub(crate) const fn reason(&self, fault: AnswersError) -> Reason {
        match (self, fault) {
            (_, AnswersError::Error) => Reason::AnswerError,
            (Self::Vectors, _) => Reason::UnreadVectors,
            (Self::Lists(_), _) => Reason::UnreadBatch,
        }
    }
}
