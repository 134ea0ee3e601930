//! The shape of a RAG service: a text under `query`, `question` or `message`; an `answer` with its `sources`.

use super::{Answer, Rules, Shape, choices, has, sse, text_of};
use crate::{json::Json, policy::Reason};

pub(super) struct Rag;

const QUESTIONS: [&str; 3] = ["query", "question", "message"];

impl Shape for Rag {
    fn fits(&self, body: &Json<'_>) -> bool {
        QUESTIONS.iter().any(|name| body.get(name).and_then(Json::as_str).is_some())
    }

    fn text(&self) -> &'static [&'static str] {
        &["/query", "/question", "/message"]
    }

    fn tags(&self) -> &'static [&'static str] {
        &["/sources/*/document_id", "/sources/*/doc_id", "/sources/*/id"]
    }

    fn whole(&self, json: &Json<'_>, _rules: &Rules<'_>) -> Answer {
        let verdict = match json {
            _ if has(json, "error") => Err(Reason::ErrorEvent),
            Json::Object(members) if members.is_empty() => Err(Reason::Empty),
            Json::Object(_) => match json.get("answer") {
                Some(Json::Null) => Err(Reason::Empty),
                Some(Json::String(text)) if text.trim().is_empty() => Err(Reason::Empty),
                _ => Ok(()),
            },
            _ => Err(Reason::Invalid),
        };
        Answer::new(verdict, text_of(json, "model"), choices::usage(json))
    }

    fn stream(&self, events: &[sse::Event], rules: &Rules<'_>) -> Answer {
        let (mut model, mut usage, mut says) = (None, None, false);
        for event in events {
            let json = Json::parse(event.data.as_bytes()).ok();
            if is_error(event, json.as_ref()) {
                return Answer { model, usage, ..Answer::not_stored(Reason::ErrorEvent) };
            }
            if let Some(json) = &json {
                model = text_of(json, "model").or(model);
                usage = choices::usage(json).or(usage);
            }
            if is_end(event, json.as_ref(), rules.stream_end) {
                return Answer::new(if says { Ok(()) } else { Err(Reason::Empty) }, model, usage);
            }
            says |= !event.data.is_empty();
        }
        Answer { model, usage, ..Answer::not_stored(Reason::NoProperEnd) }
    }
}

pub(super) fn is_error(event: &sse::Event, json: Option<&Json<'_>>) -> bool {
    event.name == "error"
        || json.is_some_and(|json| {
            has(json, "error") || json.get("type").and_then(Json::as_str) == Some("error")
        })
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
