//! Batches: requests with several inputs, each with an entry of its own, and the answers to them.
//!
//! The APIs that sidecache knows by itself are descriptions (`apis.rs`): vectors of OpenAI, Ollama, Text Embeddings
//! Inference, Cohere and Gemini, moderations, and what ranks or scores documents. A route names the lists of any other
//! with `batch` and `batch_answer`. An answer may have millions of numbers, so nothing here parses them, and no number is
//! printed again.

mod answers;
mod apis;
mod costs;
mod inputs;
mod items;
mod layout;
mod measure;
mod ranking;
mod requests;
mod scan;
mod shape;
#[cfg(test)]
mod tests;

pub(super) use self::apis::{
    COHERE_EMBED, EMBEDDING, GEMINI_BATCH_EMBED, GEMINI_EMBED, MODERATION, RERANK, SCORE, TEI_EMBED,
    TEI_EMBED_SPARSE, TEI_RERANK,
};
pub(crate) use self::{
    answers::Answers,
    apis::BatchApi,
    inputs::{Division, Inputs, Unshared},
    layout::AnswersError,
    shape::{BatchLists, Shape},
};
use super::{
    answer::{Answer, Document, JudgeOptions, StreamEnd},
    api::Api,
    ask::Ranks,
};
use crate::{http::sse, json::Json, reason::Reason};

/// An API with several inputs.
pub(super) struct Batched(pub(super) &'static BatchApi);

impl Api for Batched {
    fn fits(&self, body: &Json<'_>, model_elsewhere: bool) -> bool {
        self.0.fits(body, model_elsewhere)
    }

    fn text(&self) -> &'static [&'static str] {
        self.0.text
    }

    fn batch_api(&self) -> Option<&'static BatchApi> {
        Some(self.0)
    }

    fn ranks(&self, body: &Json<'_>) -> Ranks {
        if self.0.is_of_scores() { self.0.ranks(body) } else { Ranks::default() }
    }

    fn document(&self, document: &Document<'_>, options: &JudgeOptions<'_>) -> Answer {
        let shape = Shape::Api(self.0);
        let read = match options.ask.inputs {
            0 if self.0.is_of_scores() => Answers::ranked(&shape, document.text, options.ask.ranks),
            _ => Answers::read(&shape, document.text, options.ask)
                .map(|answers| (answers.model, answers.usage)),
        };
        match read {
            Ok((model, usage)) => Answer::new(Ok(()), model, usage),
            Err(fault) => Answer::not_stored(shape.reason(fault)),
        }
    }

    fn ends_with(&self, _event: &sse::Event, _end: Option<&StreamEnd>) -> bool {
        false
    }

    fn stream(&self, _events: &[sse::Event], _rules: &JudgeOptions<'_>) -> Answer {
        Answer::not_stored(Reason::Invalid)
    }
}
