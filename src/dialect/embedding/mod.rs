//! Embeddings: OpenAI's `/v1/embeddings`, Ollama's `/api/embed` and `/api/embeddings`. A request has one
//! input or several, and its answer a vector for each. An answer may have millions of numbers, so nothing
//! here parses them.

mod inputs;
mod layout;
mod measure;
mod scan;
#[cfg(test)]
mod tests;
mod vectors;

pub(crate) use self::{inputs::Inputs, layout::VectorsError, vectors::Vectors};
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
        match Vectors::read(document.text, options.ask.inputs, options.ask.takes_base64) {
            Ok(vectors) => Answer::new(Ok(()), vectors.model, vectors.usage),
            Err(VectorsError::Error) => Answer::not_stored(Reason::AnswerError),
            Err(VectorsError::Unread | VectorsError::Count(_) | VectorsError::Order) => {
                Answer::not_stored(Reason::UnreadVectors)
            }
        }
    }

    fn ends_with(&self, _event: &sse::Event, _end: Option<&StreamEnd>) -> bool {
        false
    }

    fn stream(&self, _events: &[sse::Event], _rules: &JudgeOptions<'_>) -> Answer {
        Answer::not_stored(Reason::Invalid)
    }
}
