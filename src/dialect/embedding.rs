//! Embeddings: OpenAI's `/v1/embeddings`, Ollama's `/api/embed` and `/api/embeddings`.

use super::{Answer, Rules, Shape, choices, has, sse, text_of};
use crate::{entry::Usage, json::Json, policy::Reason};

pub(super) struct Embedding;

impl Shape for Embedding {
    fn fits(&self, body: &Json<'_>) -> bool {
        has(body, "input") || has(body, "prompt")
    }

    fn text(&self) -> &'static [&'static str] {
        &["/input", "/input/*", "/prompt"]
    }

    fn whole(&self, json: &Json<'_>, _rules: &Rules<'_>) -> Answer {
        let filled = |name: &str| json.get(name).is_some_and(|vectors| !vectors.items().is_empty());
        let verdict = if has(json, "error") {
            Err(Reason::ErrorEvent)
        } else if ["data", "embeddings", "embedding"].into_iter().any(filled) {
            Ok(())
        } else {
            Err(Reason::Empty)
        };
        let ollama = json.get("prompt_eval_count").and_then(Json::as_u64);
        let usage = choices::usage(json).or_else(|| {
            ollama.map(|count| Usage { prompt: Some(count), completion: None, total: Some(count) })
        });
        Answer::new(verdict, text_of(json, "model"), usage)
    }

    fn stream(&self, _events: &[sse::Event], _rules: &Rules<'_>) -> Answer {
        Answer::not_stored(Reason::Invalid)
    }
}
