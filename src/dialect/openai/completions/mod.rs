//! OpenAI Completions (platform.openai.com/docs/api-reference/completions).

mod form;
#[cfg(test)]
mod tests;

use super::chat::openai_stream;
use crate::{
    dialect::{
        answer::{Answer, JudgeOptions, StreamEnd},
        answer_text::text_of_chunks,
        api::{Api, has, has_text, text_of},
        choices::{self, Choice},
        ends, failure, openai,
        question::NoQuestion,
        usage::read_usage,
    },
    http::sse,
    json::Json,
    reason::Reason,
};

pub(in crate::dialect) struct OpenAiCompletions;

impl Api for OpenAiCompletions {
    fn fits(&self, body: &Json<'_>, model_elsewhere: bool) -> bool {
        has(body, "prompt") && (model_elsewhere || has_text(body, "model"))
    }

    fn text(&self) -> &'static [&'static str] {
        &["/prompt", "/prompt/*"]
    }

    fn question(&self, body: &Json<'_>) -> Result<String, NoQuestion> {
        match body.get("prompt") {
            Some(Json::String(_)) => Ok("/prompt".to_owned()),
            Some(Json::Array(prompts)) if matches!(&prompts[..], [Json::String(_)]) => {
                Ok("/prompt/0".to_owned())
            }
            _ => Err(NoQuestion::NoText),
        }
    }

    fn answer_text(&self, answer: &Json<'_>) -> Option<String> {
        let [choice] = answer.get("choices")?.items() else { return None };
        text_of(choice, "text")
    }

    fn streamed_text(&self, events: &[sse::Event]) -> Option<String> {
        text_of_chunks(events, |choice| text_of(choice, "text"))
    }

    fn can_ask_for_usage(&self) -> bool {
        true
    }

    /// Without `max_tokens`, the limit is 16 tokens, which is not the request's own.
    fn sets_limit(&self, body: &Json<'_>) -> bool {
        has(body, "max_tokens")
    }

    fn wants_json(&self, body: &Json<'_>) -> bool {
        openai::wants_json(body)
    }

    /// `n` for each prompt.
    fn choices(&self, body: &Json<'_>) -> u64 {
        let prompts = match body.get("prompt") {
            Some(Json::Array(items)) if !items.iter().all(|item| matches!(item, Json::Number(_))) => {
                items.len()
            }
            _ => 1,
        };
        body.get("n").and_then(Json::as_u64).unwrap_or(1).saturating_mul(prompts as u64)
    }

    fn ends_with(&self, event: &sse::Event, _end: Option<&StreamEnd>) -> bool {
        event.data == openai::DONE
    }

    fn whole(&self, json: &Json<'_>, options: &JudgeOptions<'_>) -> Answer {
        if failure::in_document(json) {
            return Answer::not_stored(Reason::AnswerError);
        }
        let whole_choice = |element: &Json<'_>| {
            let mut choice = Choice { finish: text_of(element, "finish_reason"), ..Choice::default() };
            read_text(&mut choice, element, options);
            choice
        };
        let elements = json.get("choices").map_or(&[][..], Json::items);
        let choices: Vec<Choice> = elements.iter().map(whole_choice).collect();
        let verdict = choices::judge(choices.iter(), &ends::OPENAI, options);
        Answer::new(verdict, text_of(json, "model"), read_usage(json))
    }

    fn stream(&self, events: &[sse::Event], options: &JudgeOptions<'_>) -> Answer {
        openai_stream(events, options, |choice, element| read_text(choice, element, options))
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

fn read_text(choice: &mut Choice, element: &Json<'_>, options: &JudgeOptions<'_>) {
    choice.say(element.get("text").and_then(Json::as_str).unwrap_or_default(), options);
}
