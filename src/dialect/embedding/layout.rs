//! Where an answer has its vectors, and what is wrong where it has none.

use std::{fmt, ops::Range};

/// Something written in a text, and what is to stand there instead.
pub(super) type Edit = (Range<usize>, Vec<u8>);

/// Why an answer is not one vector for each input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VectorsError {
    /// It tells of an error.
    Error,
    /// It has no vectors, or what is no vector of numbers, or vectors that are not alike.
    Unread,
    /// It has this many vectors.
    Count(usize),
    /// The vectors' numbers are not those of the inputs, each once.
    Order,
}

impl fmt::Display for VectorsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error => f.write_str("an error"),
            Self::Unread => f.write_str("no vectors of one kind"),
            Self::Count(count) => write!(f, "{count} vectors"),
            Self::Order => f.write_str("vectors whose `index` does not tell which input each is for"),
        }
    }
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
    /// Where its number is written.
    pub(super) index: Option<Range<usize>>,
    /// Where the vector itself is.
    pub(super) vector: Range<usize>,
}
