//! OpenAI Chat Completions (platform.openai.com/docs/api-reference/chat).

#[cfg(test)]
mod properties;
mod rules;
mod stream;
#[cfg(test)]
mod tests;
mod whole;

use super::{
    Answer, Rules, Shape,
    choices::{self, Choice, Choices},
    has, has_text, openai, sse, text_of,
};
use crate::{json::Json, policy::Reason};

pub(super) struct OpenAiChat;

impl Shape for OpenAiChat {
    fn fits(&self, body: &Json<'_>) -> bool {
        has_text(body, "model") && matches!(body.get("messages"), Some(Json::Array(_)))
            // Azure names the model in the path.
            || matches!(body.get("messages"), Some(Json::Array(items)) if !items.is_empty() && !has(body, "model"))
    }

    fn text(&self) -> &'static [&'static str] {
        &["/messages/*/content", "/messages/*/content/*/text"]
    }

    fn sets_limit(&self, body: &Json<'_>) -> bool {
        has(body, "max_tokens") || has(body, "max_completion_tokens")
    }

    fn whole(&self, json: &Json<'_>, rules: &Rules<'_>) -> Answer {
        if has(json, "error") {
            return Answer::not_stored(Reason::ErrorEvent);
        }
        let choices: Vec<Choice> =
            json.get("choices").map_or(&[][..], Json::items).iter().map(whole_choice).collect();
        Answer::new(choices::judge(choices.iter(), rules), text_of(json, "model"), choices::usage(json))
    }

    fn stream(&self, events: &[sse::Event], rules: &Rules<'_>) -> Answer {
        openai_stream(events, rules, |choice, element| {
            let Some(delta) = element.get("delta") else { return };
            read_message(choice, delta);
        })
    }

    fn to_stream(&self, whole: &Json<'_>, with_usage: bool) -> Option<Vec<u8>> {
        stream::to_stream(whole, with_usage)
    }

    fn to_whole(&self, events: &[sse::Event]) -> Option<Vec<u8>> {
        whole::to_whole(events)
    }

    fn with_usage(&self, events: &[sse::Event], with_usage: bool) -> Option<Vec<u8>> {
        openai::usage::with_usage(events, with_usage)
    }
}

fn whole_choice(element: &Json<'_>) -> Choice {
    let mut choice = Choice { finish: text_of(element, "finish_reason"), ..Choice::default() };
    if let Some(message) = element.get("message") {
        read_message(&mut choice, message);
    }
    choice
}

/// Reads a message, or a part of one.
fn read_message(choice: &mut Choice, message: &Json<'_>) {
    let parts = message.get("content").map_or(&[][..], Json::items);
    choice.says |= has_text(message, "content")
        || has_text(message, "refusal")
        || has(message, "audio")
        || parts.iter().any(|part| has_text(part, "text"));
    for (place, call) in message.get("tool_calls").map_or(&[][..], Json::items).iter().enumerate() {
        let index = call.get("index").and_then(Json::as_u64).unwrap_or(place as u64);
        let arguments = choice.tools.entry(index).or_default();
        let part = call.get("function").and_then(|function| function.get("arguments")).and_then(Json::as_str);
        arguments.push_str(part.unwrap_or_default());
    }
    // The form before tool calls, one at most; deprecated, and still in use.
    if let Some(call) = message.get("function_call").filter(|call| !call.is_null()) {
        let part = call.get("arguments").and_then(Json::as_str);
        choice.tools.entry(u64::MAX).or_default().push_str(part.unwrap_or_default());
    }
}

/// Judges a stream of chunks with choices that ends with `[DONE]`; `read` reads one element of `choices`.
pub(super) fn openai_stream(
    events: &[sse::Event],
    rules: &Rules<'_>,
    read: impl Fn(&mut Choice, &Json<'_>),
) -> Answer {
    let (mut choices, mut model, mut usage) = (Choices::default(), None, None);
    for event in events {
        if event.data == "[DONE]" {
            return Answer::new(choices.judge(rules), model, usage);
        }
        let Ok(chunk) = Json::parse(event.data.as_bytes()) else {
            return Answer::not_stored(Reason::Invalid);
        };
        if event.name == "error" || has(&chunk, "error") {
            return Answer { model, usage, ..Answer::not_stored(Reason::ErrorEvent) };
        }
        for element in chunk.get("choices").map_or(&[][..], Json::items) {
            let choice = choices.of(element);
            read(choice, element);
            if let Some(finish) = text_of(element, "finish_reason") {
                choice.finish = Some(finish);
            }
        }
        model = text_of(&chunk, "model").filter(|name| !name.is_empty()).or(model);
        usage = choices::usage(&chunk).or(usage);
    }
    Answer { model, usage, ..Answer::not_stored(Reason::NoProperEnd) }
}
