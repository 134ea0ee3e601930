//! RAG services: a question under `query`, `question` or `message`, and an `answer` with its `sources`. No
//! two of them are alike, so failures, ends and answers are found by the words that such services use.

use super::{
    answer::{Answer, JudgeOptions, Refusal, StreamEnd},
    answer_text::has_more_than_text,
    api::{Api, has, is_filled, text_of},
    ends, failure,
    question::{self, NoQuestion},
    usage::read_any_usage,
};
use crate::{http::sse, json::Json, reason::Reason};

pub(super) struct Rag;

const QUESTIONS: [&str; 3] = ["query", "question", "message"];

impl Api for Rag {
    fn fits(&self, body: &Json<'_>, _model_elsewhere: bool) -> bool {
        QUESTIONS.iter().any(|name| body.get(name).and_then(Json::as_str).is_some())
    }

    fn text(&self) -> &'static [&'static str] {
        &["/query", "/question", "/message"]
    }

    fn question(&self, body: &Json<'_>) -> Result<String, NoQuestion> {
        question::only_text(body, &QUESTIONS)
    }

    fn answer_text(&self, answer: &Json<'_>) -> Option<String> {
        failure::answer_text(answer).filter(|_| !calls_tool(answer) && !has_more_than_text(answer))
    }

    /// The words in their order, whatever the events are.
    fn streamed_text(&self, events: &[sse::Event]) -> Option<String> {
        let mut text = String::new();
        for event in events {
            let Some(json) = event_json(event) else { continue };
            if calls_tool(&json) || has_more_than_text(&json) {
                return None;
            }
            if failure::says_word(event, Some(&json)) {
                failure::add_words(&json, &mut text);
            }
        }
        Some(text)
    }

    fn tags(&self) -> &'static [&'static str] {
        &["/sources/*/document_id", "/sources/*/doc_id", "/sources/*/id"]
    }

    fn whole(&self, json: &Json<'_>, options: &JudgeOptions<'_>) -> Answer {
        Answer::new(judge(json, options), text_of(json, "model"), read_any_usage(json))
    }

    /// The service may pass the limit on to its model.
    fn sets_limit(&self, body: &Json<'_>) -> bool {
        has(body, "max_tokens")
    }

    fn ends_with(&self, event: &sse::Event, end: Option<&StreamEnd>) -> bool {
        is_end(event, event_json(event).as_ref(), end)
    }

    fn stream(&self, events: &[sse::Event], options: &JudgeOptions<'_>) -> Answer {
        let mut model = None;
        let mut usage = None;
        let mut says = false;
        let mut calls = false;
        let mut ended = Ok(());
        for event in events {
            let json = event_json(event);
            if failure::in_event(event, json.as_ref()) {
                return Answer { model, usage, ..Answer::not_stored(Reason::ErrorEvent) };
            }
            if let Some(json) = &json {
                ended = ended.and_then(|()| judge_ends(json, options));
                model = text_of(json, "model").or(model);
                usage = read_any_usage(json).or(usage);
                calls |= calls_tool(json);
            }
            let is_end = is_end(event, json.as_ref(), options.stream_end);
            // An event without JSON that ends the stream says nothing else.
            says |= !(is_end && json.is_none()) && failure::says_word(event, json.as_ref());
            if is_end {
                let verdict = judge_content(says, calls, options);
                return Answer::new(ended.and(verdict), model, usage);
            }
        }
        if options.stream_end == Some(&StreamEnd::Eof) {
            let verdict = judge_content(says, calls, options);
            return Answer { end_seen: false, ..Answer::new(ended.and(verdict), model, usage) };
        }
        Answer { model, usage, ..Answer::not_stored(Reason::NoProperEnd) }
    }
}

/// Judges a stream that has ended by whether it says anything, and whether it calls tools.
fn judge_content(says: bool, calls: bool, options: &JudgeOptions<'_>) -> Result<(), Refusal> {
    match (says, calls && !options.cache_tool_calls) {
        (_, true) => Err(Reason::ToolCalls.into()),
        (true, false) => Ok(()),
        (false, false) => Err(Reason::Empty.into()),
    }
}

fn judge(json: &Json<'_>, options: &JudgeOptions<'_>) -> Result<(), Refusal> {
    if !json.is_object() {
        return Err(Reason::Invalid.into());
    }
    if failure::in_answer(json) {
        return Err(Reason::AnswerError.into());
    }
    judge_ends(json, options)?;
    if calls_tool(json) && !options.cache_tool_calls {
        return Err(Reason::ToolCalls.into());
    }
    if failure::answers(json) {
        return Ok(());
    }
    // What services send in place of an answer.
    let says_why = has(json, "detail") || has(json, "message");
    Err(if says_why { Reason::AnswerError } else { Reason::Empty }.into())
}

/// Judges the words that the answers of vendors end with: a service may pass on what its model says.
fn judge_ends(json: &Json<'_>, options: &JudgeOptions<'_>) -> Result<(), Refusal> {
    let parts = json.get("choices").map_or(&[][..], Json::items);
    for part in parts.iter().chain([json]) {
        for (name, ends) in [
            ("finish_reason", &ends::OPENAI),
            ("stop_reason", &ends::ANTHROPIC),
            ("done_reason", &ends::OLLAMA),
        ] {
            if let Some(word) = part.get(name).and_then(Json::as_str) {
                ends.judge(word, options)?;
            }
        }
    }
    Ok(())
}

/// The data of an event, if that is JSON.
pub(super) fn event_json(event: &sse::Event) -> Option<Json<'_>> {
    Json::parse(event.data.as_bytes()).ok()
}

/// Whether an answer, or an event of one, calls a tool as some vendor's API does.
pub(super) fn calls_tool(json: &Json<'_>) -> bool {
    let kind = json.get("type").and_then(Json::as_str);
    is_filled(json.get("tool_calls"))
        || has(json, "function_call")
        || matches!(kind, Some("tool_call" | "tool_calls" | "tool_use" | "function_call"))
}

/// Whether the stream properly ends with this event; `end` is what the route says of it.
fn is_end(event: &sse::Event, json: Option<&Json<'_>>, end: Option<&StreamEnd>) -> bool {
    if ends_by_route(event, json, end) {
        return true;
    }
    if matches!(end, Some(StreamEnd::Event(_) | StreamEnd::Eof)) {
        return false;
    }
    let kind = json.and_then(|json| json.get("type")).and_then(Json::as_str);
    event.data == "[DONE]"
        || matches!(event.name.as_str(), "done" | "end")
        || json.and_then(|json| json.get("done")).and_then(Json::as_bool) == Some(true)
        || matches!(kind, Some("done" | "end" | "complete"))
}

/// Whether the route says that this event ends the stream.
pub(super) fn ends_by_route(event: &sse::Event, json: Option<&Json<'_>>, end: Option<&StreamEnd>) -> bool {
    match end {
        Some(StreamEnd::Named(named)) => {
            let kind = json.and_then(|json| json.get("type")).and_then(Json::as_str);
            event.data == *named || event.name == *named || kind == Some(named)
        }
        Some(StreamEnd::Event(condition)) => condition.holds_in_event(&event.name, json),
        Some(StreamEnd::Eof) | None => false,
    }
}
