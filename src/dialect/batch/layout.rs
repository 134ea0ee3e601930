//! Where an answer has what belongs to each input, and why it is not accepted.

use std::ops::Range;

use super::measure::Measure;

/// A part of a text, and what goes into its place.
pub(super) type Replacement = (Range<usize>, Vec<u8>);

/// Why an answer has no part for each input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswersError {
    /// The answer reports an error.
    #[error("an error")]
    Error,
    /// The answer has no list, or vectors that are not alike, or something in their place that is not numbers.
    #[error("no answers of one kind")]
    Unread,
    /// The answer has another number of elements: this one.
    #[error("{0} elements")]
    Count(usize),
    /// The numbers of the vectors are not those of the inputs, each once.
    #[error("vectors whose `index` does not tell which input each is for")]
    Order,
}

/// How an answer writes a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Objects with an `index` and an `embedding` (OpenAI's `data`).
    Objects,
    /// Elements in the order of the inputs (Ollama's `embeddings`, and what a route names).
    Plain,
    /// A single vector (`embedding` of Ollama's older interface).
    Single,
}

/// What belongs to one input.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) span: Range<usize>,
    /// Where its `index` is written.
    pub(super) index: Option<Range<usize>>,
    /// Its vector, if it has one.
    pub(super) vector: Option<Range<usize>>,
}

/// A list with an element for each input.
#[derive(Clone, Debug)]
pub(super) struct List {
    /// Which of the shape's lists it is.
    pub(super) number: usize,
    pub(super) layout: Layout,
    /// Where it is, with its brackets, or the one vector.
    pub(super) span: Range<usize>,
    /// In the order of the inputs.
    pub(super) items: Vec<Item>,
    /// How its vectors are written, and how long each is; `None` if it has none.
    pub(super) measure: Option<Measure>,
}

impl List {
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.number, self.layout, self.measure) == (other.number, other.layout, other.measure)
    }
}
