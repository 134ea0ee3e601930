//! OpenAI Chat Completions (platform.openai.com/docs/api-reference/chat).

mod logprobs;
#[cfg(test)]
mod properties;
mod rules;
mod stream;
#[cfg(test)]
mod tests;
mod whole;

use crate::{
    dialect::{
        answer::{Answer, JudgeOptions, StreamEnd},
        answer_text::{has_more_than_text, text_of_chunks, text_of_parts},
        api::{Api, has, has_text, is_filled, text_of},
        choices::{self, Choice, Choices},
        ends,
        failure::{self, says_something},
        openai,
        question::{self, NoQuestion},
        usage::read_usage,
    },
    http::sse,
    json::{Json, Member},
    reason::Reason,
};

pub(in crate::dialect) struct OpenAiChat;

impl Api for OpenAiChat {
    fn fits(&self, body: &Json<'_>, model_elsewhere: bool) -> bool {
        (has_text(body, "model") || (model_elsewhere && !has(body, "model")))
            && is_filled(body.get("messages"))
    }

    fn text(&self) -> &'static [&'static str] {
        &["/messages/*/content", "/messages/*/content/*/text"]
    }

    fn question(&self, body: &Json<'_>) -> Result<String, NoQuestion> {
        question::CHAT.last_text(body)
    }

    fn answer_text(&self, answer: &Json<'_>) -> Option<String> {
        let [choice] = answer.get("choices")?.items() else { return None };
        let message = choice.get("message").filter(|message| !has_more_than_text(message))?;
        text_of_parts(message.get("content")?, &["text"], &["thinking"])
    }

    fn streamed_text(&self, events: &[sse::Event]) -> Option<String> {
        text_of_chunks(events, |choice| {
            let delta = choice.get("delta").filter(|delta| !has_more_than_text(delta))?;
            match delta.get("content") {
                None | Some(Json::Null) => Some(String::new()),
                Some(content) => text_of_parts(content, &["text"], &["thinking"]),
            }
        })
    }

    fn sets_limit(&self, body: &Json<'_>) -> bool {
        has(body, "max_tokens") || has(body, "max_completion_tokens")
    }

    fn can_ask_for_usage(&self) -> bool {
        true
    }

    /// vLLM, SGLang and llama.cpp have members of their own for a schema.
    fn wants_json(&self, body: &Json<'_>) -> bool {
        openai::wants_json(body)
    }

    fn choices(&self, body: &Json<'_>) -> u64 {
        body.get("n").and_then(Json::as_u64).unwrap_or(1)
    }

    fn ends_with(&self, event: &sse::Event, _end: Option<&StreamEnd>) -> bool {
        event.data == openai::DONE
    }

    fn whole(&self, json: &Json<'_>, options: &JudgeOptions<'_>) -> Answer {
        if failure::in_document(json) {
            return Answer::not_stored(Reason::AnswerError);
        }
        let elements = json.get("choices").map_or(&[][..], Json::items).iter();
        let choices: Vec<Choice> = elements.map(|element| whole_choice(element, options)).collect();
        let verdict = choices::judge(choices.iter(), &ends::OPENAI, options);
        Answer::new(verdict, text_of(json, "model"), read_usage(json))
    }

    fn stream(&self, events: &[sse::Event], options: &JudgeOptions<'_>) -> Answer {
        openai_stream(events, options, |choice, element| {
            let Some(delta) = element.get("delta") else { return };
            read_message(choice, delta, options);
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

fn whole_choice(element: &Json<'_>, options: &JudgeOptions<'_>) -> Choice {
    let mut choice = Choice { finish: text_of(element, "finish_reason"), ..Choice::default() };
    if let Some(message) = element.get("message") {
        read_message(&mut choice, message, options);
    }
    choice
}

/// Members of a message that call no tool. Any other one may.
const NO_CALL: [&str; 14] = [
    "role",
    "content",
    "refusal",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "annotations",
    "citations",
    "audio",
    "images",
    "name",
    "prefix",
    // Read by themselves.
    "tool_calls",
    "function_call",
];

/// Reads a message, or a part of one.
fn read_message(choice: &mut Choice, message: &Json<'_>, options: &JudgeOptions<'_>) {
    choice.says |= has_text(message, "refusal") || has(message, "audio") || is_filled(message.get("images"));
    match message.get("content") {
        Some(Json::String(text)) => choice.say(text, options),
        Some(Json::Array(parts)) => {
            for part in parts {
                choice.say(part.get("text").and_then(Json::as_str).unwrap_or_default(), options);
            }
        }
        _ => {}
    }
    let is_unknown = |member: &Member<'_>| !NO_CALL.contains(&&*member.name) && says_something(&member.value);
    choice.may_call |= message.members().iter().any(is_unknown);
    for (place, call) in message.get("tool_calls").map_or(&[][..], Json::items).iter().enumerate() {
        let index = call.get("index").and_then(Json::as_u64).unwrap_or(place as u64);
        let arguments = choice.tools.entry(index).or_default();
        arguments.push_str(arguments_of(call.get("function").unwrap_or(&Json::Null)));
    }
    // The form before tool calls, one at most; deprecated, and still in use.
    if let Some(call) = message.get("function_call").filter(|call| !call.is_null()) {
        choice.tools.entry(u64::MAX).or_default().push_str(arguments_of(call));
    }
}

fn arguments_of<'j>(function: &'j Json<'_>) -> &'j str {
    function.get("arguments").and_then(Json::as_str).unwrap_or_default()
}

/// Judges a stream of chunks with choices; `read` reads one element of `choices`. It ends with `[DONE]`. If
/// the service leaves that out, all choices must have ended, and then the end of the body counts.
pub(in crate::dialect) fn openai_stream(
    events: &[sse::Event],
    options: &JudgeOptions<'_>,
    read: impl Fn(&mut Choice, &Json<'_>),
) -> Answer {
    let mut choices = Choices::default();
    let mut model = None;
    let mut usage = None;
    for event in events {
        if event.data == openai::DONE {
            return Answer::new(choices.judge(&ends::OPENAI, options), model, usage);
        }
        let Ok(chunk) = Json::parse(event.data.as_bytes()) else {
            return Answer::not_stored(Reason::Invalid);
        };
        if failure::in_event(event, Some(&chunk)) {
            return Answer { model, usage, ..Answer::not_stored(Reason::ErrorEvent) };
        }
        for element in chunk.get("choices").map_or(&[][..], Json::items) {
            let choice = choices.for_element(element);
            read(choice, element);
            if let Some(finish) = text_of(element, "finish_reason") {
                choice.finish = Some(finish);
            }
        }
        model = text_of(&chunk, "model").filter(|name| !name.is_empty()).or(model);
        usage = read_usage(&chunk).or(usage);
    }
    if choices.have_ended(options) {
        let answer = Answer::new(choices.judge(&ends::OPENAI, options), model, usage);
        return Answer { end_seen: false, ..answer };
    }
    Answer { model, usage, ..Answer::not_stored(Reason::NoProperEnd) }
}
