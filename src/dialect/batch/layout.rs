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
    /// The numbers of the elements are not those of the inputs, each once, or their scores are not sorted.
    #[error("elements whose `index` does not tell which input each is for")]
    Order,
}

/// How an answer writes a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Objects with an `index` (OpenAI's `data`, and what rerankers say).
    Objects,
    /// Elements in the order of the inputs (Ollama's `embeddings`, and what a route names).
    Plain,
    /// A single element (`embedding` of Ollama's older interface).
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
    /// Its score, if it has one: a finite number.
    pub(super) score: Option<f64>,
}

impl Item {
    /// An item of which nothing but its place is known.
    pub(super) const fn at(span: Range<usize>) -> Self {
        Self { span, index: None, vector: None, score: None }
    }
}

/// A list with an element for each input.
#[derive(Clone, Debug)]
pub(super) struct List {
    /// Which of the shape's lists it is.
    pub(super) number: usize,
    pub(super) layout: Layout,
    /// Where it is, with its brackets, or the one element.
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
