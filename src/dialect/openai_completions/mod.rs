//! OpenAI Completions (platform.openai.com/docs/api-reference/completions).

mod form;
#[cfg(test)]
mod tests;

use super::{
    Answer, Rules, Shape,
    choices::{self, Choice},
    has, has_text, openai,
    openai_chat::openai_stream,
    sse, text_of,
};
use crate::{json::Json, policy::Reason};

pub(super) struct OpenAiCompletions;

impl Shape for OpenAiCompletions {
    fn fits(&self, body: &Json<'_>) -> bool {
        has(body, "prompt")
    }

    fn text(&self) -> &'static [&'static str] {
        &["/prompt", "/prompt/*"]
    }

    /// A completion has a limit of 16 tokens where the request names none, so every limit is the request's own
    /// only if it says so.
    fn sets_limit(&self, body: &Json<'_>) -> bool {
        has(body, "max_tokens")
    }

    fn whole(&self, json: &Json<'_>, rules: &Rules<'_>) -> Answer {
        if has(json, "error") {
            return Answer::not_stored(Reason::ErrorEvent);
        }
        let elements = json.get("choices").map_or(&[][..], Json::items);
        let choices: Vec<Choice> = elements
            .iter()
            .map(|element| Choice {
                finish: text_of(element, "finish_reason"),
                says: has_text(element, "text"),
                ..Choice::default()
            })
            .collect();
        Answer::new(choices::judge(choices.iter(), rules), text_of(json, "model"), choices::usage(json))
    }

    fn stream(&self, events: &[sse::Event], rules: &Rules<'_>) -> Answer {
        openai_stream(events, rules, |choice, element| choice.says |= has_text(element, "text"))
    }

    fn to_stream(&self, whole: &Json<'_>, with_usage: bool) -> Option<Vec<u8>> {
        form::to_stream(whole, with_usage)
    }

    fn to_whole(&self, events: &[sse::Event]) -> Option<Vec<u8>> {
        form::to_whole(events)
    }

    fn with_usage(&self, events: &[sse::Event], with_usage: bool) -> Option<Vec<u8>> {
        openai::usage::with_usage(events, with_usage)
    }
}
