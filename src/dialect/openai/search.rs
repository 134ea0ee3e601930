//! The search of OpenAI's vector stores (platform.openai.com/docs/api-reference/vector-stores/search).

use crate::{
    dialect::{
        answer::{Answer, JudgeOptions, StreamEnd},
        api::{Api, has_text, is_filled},
        failure,
    },
    http::sse,
    json::Json,
    reason::Reason,
};

pub(in crate::dialect) struct VectorStoreSearch;

impl Api for VectorStoreSearch {
    /// The path names the store.
    fn fits(&self, body: &Json<'_>, _model_elsewhere: bool) -> bool {
        let is_text = |item: &Json<'_>| item.as_str().is_some();
        let queries = body.get("query");
        has_text(body, "query")
            || (is_filled(queries) && queries.is_some_and(|queries| queries.items().iter().all(is_text)))
    }

    fn text(&self) -> &'static [&'static str] {
        &["/query", "/query/*"]
    }

    /// The files that were found.
    fn tags(&self) -> &'static [&'static str] {
        &["/data/*/file_id"]
    }

    fn ends_with(&self, _event: &sse::Event, _end: Option<&StreamEnd>) -> bool {
        false
    }

    fn whole(&self, json: &Json<'_>, _options: &JudgeOptions<'_>) -> Answer {
        let is_page = json.get("object").and_then(Json::as_str) == Some("vector_store.search_results.page");
        let verdict = match json.get("data") {
            _ if failure::in_document(json) => Err(Reason::AnswerError),
            Some(Json::Array(found)) if is_page && found.is_empty() => Err(Reason::Empty),
            Some(Json::Array(_)) if is_page => Ok(()),
            _ => Err(Reason::Invalid),
        };
        Answer::new(verdict.map_err(Into::into), None, None)
    }

    /// It has no streams.
    fn stream(&self, _events: &[sse::Event], _options: &JudgeOptions<'_>) -> Answer {
        Answer::not_stored(Reason::Invalid)
    }
}
