//! The shape of a RAG service: a text under `query`, `question` or `message`; an `answer` with its `sources`.

use super::{Answer, Rules, Shape, choices, failure, has, is_filled, sse, text_of};
use crate::{json::Json, policy::Reason};

pub(super) struct Rag;

const QUESTIONS: [&str; 3] = ["query", "question", "message"];

impl Shape for Rag {
    fn fits(&self, body: &Json<'_>, _model_elsewhere: bool) -> bool {
        QUESTIONS.iter().any(|name| body.get(name).and_then(Json::as_str).is_some())
    }

    fn text(&self) -> &'static [&'static str] {
        &["/query", "/question", "/message"]
    }

    fn tags(&self) -> &'static [&'static str] {
        &["/sources/*/document_id", "/sources/*/doc_id", "/sources/*/id"]
    }

    fn whole(&self, json: &Json<'_>, rules: &Rules<'_>) -> Answer {
        let verdict = if !json.is_object() {
            Err(Reason::Invalid)
        } else if failure::in_answer(json) {
            Err(Reason::AnswerError)
        } else if calls_tool(json) && !rules.cache_tool_calls {
            Err(Reason::ToolCalls)
        } else if failure::answers(json) {
            Ok(())
        } else if has(json, "detail") || has(json, "message") {
            // What services say in place of an answer.
            Err(Reason::AnswerError)
        } else {
            Err(Reason::Empty)
        };
        Answer::new(verdict.map_err(Into::into), text_of(json, "model"), choices::usage(json))
    }

    fn ends_with(&self, event: &sse::Event, named: Option<&str>) -> bool {
        is_end(event, event_json(event).as_ref(), named)
    }

    fn stream(&self, events: &[sse::Event], rules: &Rules<'_>) -> Answer {
        let (mut model, mut usage) = (None, None);
        let (mut says, mut calls) = (false, false);
        for event in events {
            let json = event_json(event);
            if failure::in_event(event, json.as_ref()) {
                return Answer { model, usage, ..Answer::not_stored(Reason::ErrorEvent) };
            }
            if let Some(json) = &json {
                model = text_of(json, "model").or(model);
                usage = choices::usage(json).or(usage);
                calls |= calls_tool(json);
            }
            let is_end = is_end(event, json.as_ref(), rules.stream_end);
            // An event without JSON that ends the stream is its end alone.
            says |= !(is_end && json.is_none()) && failure::says_word(event, json.as_ref());
            if is_end {
                let verdict = match (says, calls && !rules.cache_tool_calls) {
                    (_, true) => Err(Reason::ToolCalls.into()),
                    (true, false) => Ok(()),
                    (false, false) => Err(Reason::Empty.into()),
                };
                return Answer::new(verdict, model, usage);
            }
        }
        Answer { model, usage, ..Answer::not_stored(Reason::NoProperEnd) }
    }
}

/// The JSON that is an event's data, where it is JSON.
pub(super) fn event_json(event: &sse::Event) -> Option<Json<'_>> {
    Json::parse(event.data.as_bytes()).ok()
}

/// Whether an answer, or an event of one, calls a tool in a way that another dialect has.
fn calls_tool(json: &Json<'_>) -> bool {
    let kind = json.get("type").and_then(Json::as_str);
    is_filled(json.get("tool_calls"))
        || has(json, "function_call")
        || matches!(kind, Some("tool_call" | "tool_calls" | "tool_use" | "function_call"))
}

/// Whether the stream properly ends with this event; `named` is the route's own name for the end.
fn is_end(event: &sse::Event, json: Option<&Json<'_>>, named: Option<&str>) -> bool {
    let kind = json.and_then(|json| json.get("type")).and_then(Json::as_str);
    ends_as_named(event, json, named)
        || event.data == "[DONE]"
        || matches!(event.name.as_str(), "done" | "end")
        || json.and_then(|json| json.get("done")).and_then(Json::as_bool) == Some(true)
        || matches!(kind, Some("done" | "end" | "complete"))
}

/// Whether the event's data, name or `type` is what the route names as the end.
pub(super) fn ends_as_named(event: &sse::Event, json: Option<&Json<'_>>, named: Option<&str>) -> bool {
    let kind = json.and_then(|json| json.get("type")).and_then(Json::as_str);
    named.is_some_and(|named| event.data == named || event.name == named || kind == Some(named))
}
