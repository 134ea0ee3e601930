//! OpenAI's transcriptions and translations of speech (platform.openai.com/docs/api-reference/audio): a form with a
//! file goes in, and a text comes out, as JSON, as plain text or subtitles, or as a stream.

use crate::{
    dialect::{
        answer::{Answer, Document, JudgeOptions, StreamEnd},
        api::{Api, has, has_text},
        failure,
        usage::read_usage,
    },
    http::sse,
    json::Json,
    reason::Reason,
};

/// The last event of a stream.
const DONE: &str = "transcript.text.done";

/// What plain text and subtitles come as.
const TEXTS: [&str; 5] = ["text/plain", "text/vtt", "text/srt", "application/x-subrip", "text/x-subrip"];

pub(in crate::dialect) struct Transcription;

impl Api for Transcription {
    fn fits(&self, form: &Json<'_>, model_elsewhere: bool) -> bool {
        let file = form.get("file").filter(|file| file.is_object());
        (model_elsewhere || has_text(form, "model")) && file.is_some()
    }

    fn text(&self) -> &'static [&'static str] {
        &[]
    }

    /// JSON, unless the request asks for one of the three kinds of text.
    fn wants_json(&self, form: &Json<'_>) -> bool {
        !matches!(form.get("response_format").and_then(Json::as_str), Some("text" | "srt" | "vtt"))
    }

    fn ends_with(&self, event: &sse::Event, _end: Option<&StreamEnd>) -> bool {
        is_done(event, DONE)
    }

    fn document(&self, document: &Document<'_>, options: &JudgeOptions<'_>) -> Answer {
        if options.ask.wants_json {
            return match document.json() {
                Some(json) => self.whole(json, options),
                None => Answer::not_stored(Reason::NotAsAsked),
            };
        }
        let Ok(text) = std::str::from_utf8(document.text) else {
            return Answer::not_stored(Reason::Invalid);
        };
        if document.json_of_failure().is_some_and(failure::is_error_alone) {
            Answer::not_stored(Reason::AnswerError)
        } else if !TEXTS.contains(&document.media) {
            Answer::not_stored(Reason::NotAsAsked)
        } else if text.trim().is_empty() {
            Answer::not_stored(Reason::Empty)
        } else {
            // Only the body's framing shows that this is all.
            Answer::opaque()
        }
    }

    fn whole(&self, json: &Json<'_>, _options: &JudgeOptions<'_>) -> Answer {
        let verdict = match json.get("text").and_then(Json::as_str) {
            _ if failure::in_document(json) => Err(Reason::AnswerError.into()),
            None => Err(Reason::Invalid.into()),
            Some(text) if text.trim().is_empty() => Err(Reason::Empty.into()),
            Some(_) => Ok(()),
        };
        Answer::new(verdict, None, read_usage(json))
    }

    fn stream(&self, events: &[sse::Event], options: &JudgeOptions<'_>) -> Answer {
        for event in events {
            let Ok(json) = Json::parse(event.data.as_bytes()) else {
                return Answer::not_stored(Reason::Invalid);
            };
            if failure::in_event(event, Some(&json)) {
                return Answer::not_stored(Reason::ErrorEvent);
            }
            if json.get("type").and_then(Json::as_str) == Some(DONE) {
                // It has the whole text.
                return self.whole(&json, options);
            }
        }
        Answer::not_stored(Reason::NoProperEnd)
    }
}

/// Whether the event is of this type.
pub(super) fn is_done(event: &sse::Event, done: &str) -> bool {
    event.data.contains(done)
        && Json::parse(event.data.as_bytes())
            .is_ok_and(|json| json.get("type").and_then(Json::as_str) == Some(done) && !has(&json, "error"))
}
