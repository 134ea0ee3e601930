//! Embeddings: OpenAI's `/v1/embeddings`, Ollama's `/api/embed` and `/api/embeddings`. A request has one input or
//! several, and its answer a vector for each.

mod found;
mod inputs;
mod layout;
mod measure;
#[cfg(test)]
mod tests;
mod vectors;

pub use self::{inputs::Inputs, layout::Fault, vectors::Vectors};
use super::{Answer, Document, Rules, Shape, has, has_text};
use crate::{http::sse, json::Json, reason::Reason};

pub(super) struct Embedding;

impl Shape for Embedding {
    fn fits(&self, body: &Json<'_>, model_elsewhere: bool) -> bool {
        (has(body, "input") || has(body, "prompt")) && (model_elsewhere || has_text(body, "model"))
    }

    fn text(&self) -> &'static [&'static str] {
        &["/input", "/input/*", "/prompt"]
    }

    /// Without reading the vectors, of which there may be millions of numbers.
    fn document(&self, document: &Document<'_>, rules: &Rules<'_>) -> Answer {
        match Vectors::read(document.text, rules.ask.inputs, rules.ask.takes_text) {
            Ok(vectors) => Answer::new(Ok(()), vectors.model, vectors.usage),
            Err(Fault::Error) => Answer::not_stored(Reason::AnswerError),
            Err(Fault::Unread | Fault::Count(_) | Fault::Order) => Answer::not_stored(Reason::UnreadVectors),
        }
    }

    /// It has no streams.
    fn ends_with(&self, _event: &sse::Event, _named: Option<&str>) -> bool {
        false
    }

    fn stream(&self, _events: &[sse::Event], _rules: &Rules<'_>) -> Answer {
        Answer::not_stored(Reason::Invalid)
    }
}
