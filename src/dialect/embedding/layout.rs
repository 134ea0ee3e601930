//! Where an answer has its vectors, and why it is not accepted.

use std::ops::Range;

/// A part of a text, and what goes into its place.
pub(super) type Replacement = (Range<usize>, Vec<u8>);

/// Why an answer is not one vector for each input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VectorsError {
    /// The answer reports an error.
    #[error("an error")]
    Error,
    /// The answer has no vectors, or vectors that are not alike, or something in their place that is not
    /// numbers.
    #[error("no vectors of one kind")]
    Unread,
    /// The answer has another number of vectors: this one.
    #[error("{0} vectors")]
    Count(usize),
    /// The numbers of the vectors are not those of the inputs, each once.
    #[error("vectors whose `index` does not tell which input each is for")]
    Order,
}

/// Where an answer has its vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// `data`, objects with an `index` and an `embedding` (OpenAI).
    Objects,
    /// `embeddings` (Ollama).
    Plain,
    /// `embedding`, a single one (Ollama's older interface).
    Single,
}

/// A vector, or the object that holds it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) span: Range<usize>,
    /// Where its `index` is written.
    pub(super) index: Option<Range<usize>>,
    pub(super) vector: Range<usize>,
}
