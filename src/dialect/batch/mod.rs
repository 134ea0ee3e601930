//! Batches: requests with several inputs, each with an entry of its own, and the answers to them.
//!
//! Embeddings are the batches that sidecache knows by itself: OpenAI's `/v1/embeddings`, Ollama's `/api/embed`
//! and `/api/embeddings`. A route names the lists of any other with `batch` and `batch_answer`. An answer may
//! have millions of numbers, so nothing here parses them.

mod answers;
mod inputs;
mod layout;
mod lists;
mod measure;
mod scan;
mod shape;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    answers::Answers,
    inputs::{Inputs, Unshared},
    layout::AnswersError,
    shape::{BatchLists, Shape},
};
use super::{
    answer::{Answer, Document, JudgeOptions, StreamEnd},
    api::{Api, has, has_text},
};
use crate::{http::sse, json::Json, reason::Reason};

pub(super) struct Embedding;

impl Api for Embedding {
    fn fits(&self, body: &Json<'_>, model_elsewhere: bool) -> bool {
        (has(body, "input") || has(body, "prompt")) && (model_elsewhere || has_text(body, "model"))
    }

    fn text(&self) -> &'static [&'static str] {
        &["/input", "/input/*", "/prompt"]
    }

    fn document(&self, document: &Document<'_>, options: &JudgeOptions<'_>) -> Answer {
        match Answers::read(&Shape::Vectors, document.text, options.ask) {
            Ok(vectors) => Answer::new(Ok(()), vectors.model, vectors.usage),
            Err(fault) => Answer::not_stored(Shape::Vectors.reason(fault)),
        }
    }

    fn ends_with(&self, _event: &sse::Event, _end: Option<&StreamEnd>) -> bool {
        false
    }

    fn stream(&self, _events: &[sse::Event], _rules: &JudgeOptions<'_>) -> Answer {
        Answer::not_stored(Reason::Invalid)
    }
}
