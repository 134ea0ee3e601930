//! Embeddings: OpenAI's `/v1/embeddings`, Ollama's `/api/embed` and `/api/embeddings`. A request has one input or
//! several, and its answer a vector for each.

mod found;
mod inputs;
#[cfg(test)]
mod tests;
mod vectors;

pub use self::{
    inputs::Inputs,
    vectors::{Fault, Vectors},
};
use super::{Answer, Document, Rules, Shape, has, sse};
use crate::{json::Json, policy::Reason};

pub(super) struct Embedding;

impl Shape for Embedding {
    fn fits(&self, body: &Json<'_>) -> bool {
        has(body, "input") || has(body, "prompt")
    }

    fn text(&self) -> &'static [&'static str] {
        &["/input", "/input/*", "/prompt"]
    }

    /// Without reading the vectors, of which there may be millions of numbers.
    fn document(&self, document: &Document<'_>, rules: &Rules<'_>) -> Answer {
        match Vectors::read(document.text, rules.ask.inputs) {
            Ok(vectors) => {
                let verdict = if vectors.all_say() { Ok(()) } else { Err(Reason::Empty) };
                Answer::new(verdict, vectors.model, vectors.usage)
            }
            Err(Fault::Error) => Answer::not_stored(Reason::ErrorEvent),
            Err(Fault::Unknown | Fault::Count(_) | Fault::Order) => Answer::not_stored(Reason::Invalid),
        }
    }

    fn stream(&self, _events: &[sse::Event], _rules: &Rules<'_>) -> Answer {
        Answer::not_stored(Reason::Invalid)
    }
}
