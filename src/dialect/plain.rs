//! JSON and bytes without a dialect: complete answers are stored, if they do not report a failure.

use super::{
    answer::{Answer, Document, JudgeOptions, StreamEnd},
    api::Api,
    failure,
    rag::{ends_by_route, event_json},
};
use crate::{http::sse, json::Json, reason::Reason};

pub(super) enum Plain {
    /// Some JSON.
    Json,
    /// Any bytes.
    Bytes,
}

/// Any bytes are parsed only up to this length, in bytes: reports of a failure are short.
const LARGEST_FAILURE: usize = 64 * 1024;

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
            Self::Bytes => document.json_up_to(LARGEST_FAILURE),
        };
        match (self, json) {
            (Self::Json, None) => Answer::not_stored(Reason::Invalid),
            (Self::Json, Some(json)) if failure::in_document(json) => Answer::not_stored(Reason::AnswerError),
            (Self::Json, Some(json)) if !failure::says_anything(json) => Answer::not_stored(Reason::Empty),
            (Self::Json, Some(_)) => Answer::new(Ok(()), None, None),
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
        for event in events {
            let json = event_json(event);
            if failure::in_event(event, json.as_ref()) {
                return Answer::not_stored(Reason::ErrorEvent);
            }
            if ends_by_route(event, json.as_ref(), options.stream_end) {
                return Answer::new(Ok(()), None, None);
            }
        }
        match options.stream_end {
            Some(StreamEnd::Eof) if !events.is_empty() => Answer::opaque(),
            Some(StreamEnd::Eof) => Answer::not_stored(Reason::Empty),
            _ => Answer::not_stored(Reason::NoProperEnd),
        }
    }
}
