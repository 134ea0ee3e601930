//! JSON and bytes without a dialect: complete answers are stored, if they do not report a failure.

use super::{
    answer::{Answer, Document, JudgeOptions, StreamEnd},
    api::{Api, text_of},
    failure,
    rag::{ends_by_route, event_json},
    usage::{Usage, read_any_usage},
};
use crate::{http::sse, json::Json, reason::Reason};

pub(super) enum Plain {
    /// Some JSON.
    Json,
    /// Any bytes.
    Bytes,
}

impl Api for Plain {
    fn fits(&self, _body: &Json<'_>, _model_elsewhere: bool) -> bool {
        true
    }

    fn text(&self) -> &'static [&'static str] {
        &[]
    }

    fn document(&self, document: &Document<'_>, _rules: &JudgeOptions<'_>) -> Answer {
        let json = match self {
            Self::Json => document.json(),
            Self::Bytes => document.json_of_failure(),
        };
        match (self, json) {
            (Self::Json, None) => Answer::not_stored(Reason::Invalid),
            (Self::Json, Some(json)) if failure::in_document(json) => Answer::not_stored(Reason::AnswerError),
            (Self::Json, Some(json)) if !failure::says_anything(json) => Answer::not_stored(Reason::Empty),
            (Self::Json, Some(json)) => Told::default().and(json).answer(),
            // A `status` or a `code` may be the document's content, unless there is nothing else.
            (Self::Bytes, Some(json)) if failure::is_error_alone(json) => {
                Answer::not_stored(Reason::AnswerError)
            }
            (Self::Bytes, _) => Answer::opaque(),
        }
    }

    fn ends_with(&self, event: &sse::Event, end: Option<&StreamEnd>) -> bool {
        end.is_some() && ends_by_route(event, event_json(event).as_ref(), end)
    }

    /// Only the route knows how such a stream ends.
    fn stream(&self, events: &[sse::Event], options: &JudgeOptions<'_>) -> Answer {
        let mut told = Told::default();
        for event in events {
            let json = event_json(event);
            if failure::in_event(event, json.as_ref()) {
                return Answer::not_stored(Reason::ErrorEvent);
            }
            told = json.iter().fold(told, Told::and);
            if ends_by_route(event, json.as_ref(), options.stream_end) {
                return told.answer();
            }
        }
        match options.stream_end {
            Some(StreamEnd::Eof) if !events.is_empty() => Answer { end_seen: false, ..told.answer() },
            Some(StreamEnd::Eof) => Answer::not_stored(Reason::Empty),
            _ => Answer::not_stored(Reason::NoProperEnd),
        }
    }
}

/// What an answer says of the model call behind it. In a stream, the last words count.
#[derive(Default)]
struct Told {
    model: Option<String>,
    usage: Option<Usage>,
}

impl Told {
    /// With what a document says, or each element of it (Gemini's streams without `alt=sse`). A document without a
    /// usage is no model's answer, and its `model` is its own affair.
    fn and(self, json: &Json<'_>) -> Self {
        if !json.items().is_empty() {
            return json.items().iter().filter(|item| item.is_object()).fold(self, Self::and);
        }
        let model = text_of(json, "model").or_else(|| text_of(json, "modelVersion"));
        // A sum alone may be of anything.
        let is_of_tokens = |usage: &Usage| usage.prompt.or(usage.completion).is_some() || model.is_some();
        match read_any_usage(json).filter(is_of_tokens) {
            Some(usage) => Self { model: model.or(self.model), usage: Some(usage) },
            None => self,
        }
    }

    fn answer(self) -> Answer {
        Answer::new(Ok(()), self.model, self.usage)
    }
}
