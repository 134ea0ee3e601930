//! OpenAI's speech (platform.openai.com/docs/api-reference/audio/createSpeech): JSON goes in, and sound comes out, as
//! bytes or as a stream of events.

use super::transcription::is_done;
use crate::{
    dialect::{
        answer::{Answer, Document, JudgeOptions, StreamEnd},
        api::{Api, has_text},
        failure,
        usage::read_usage,
    },
    http::sse,
    json::Json,
    reason::Reason,
};

/// The last event of a stream.
const DONE: &str = "speech.audio.done";

pub(in crate::dialect) struct Speech;

impl Api for Speech {
    fn fits(&self, body: &Json<'_>, model_elsewhere: bool) -> bool {
        let has_voice =
            has_text(body, "voice") || body.get("voice").is_some_and(|voice| has_text(voice, "id"));
        (model_elsewhere || has_text(body, "model")) && has_text(body, "input") && has_voice
    }

    fn text(&self) -> &'static [&'static str] {
        &["/input"]
    }

    fn ends_with(&self, event: &sse::Event, _end: Option<&StreamEnd>) -> bool {
        is_done(event, DONE)
    }

    /// Sound. Only the body's framing shows that it is all.
    fn document(&self, document: &Document<'_>, _options: &JudgeOptions<'_>) -> Answer {
        let is_sound = document.media.starts_with("audio/")
            || matches!(document.media, "application/octet-stream" | "application/ogg");
        if document.json_of_failure().is_some_and(failure::is_error_alone) {
            Answer::not_stored(Reason::AnswerError)
        } else if !is_sound {
            Answer::not_stored(Reason::NotAsAsked)
        } else if document.text.is_empty() {
            Answer::not_stored(Reason::Empty)
        } else {
            Answer::opaque()
        }
    }

    fn stream(&self, events: &[sse::Event], _options: &JudgeOptions<'_>) -> Answer {
        let mut has_sound = false;
        for event in events {
            let Ok(json) = Json::parse(event.data.as_bytes()) else {
                return Answer::not_stored(Reason::Invalid);
            };
            if failure::in_event(event, Some(&json)) {
                return Answer::not_stored(Reason::ErrorEvent);
            }
            match json.get("type").and_then(Json::as_str) {
                Some("speech.audio.delta") => has_sound |= has_text(&json, "audio"),
                Some(DONE) => {
                    let verdict = if has_sound { Ok(()) } else { Err(Reason::Empty.into()) };
                    return Answer::new(verdict, None, read_usage(&json));
                }
                _ => {}
            }
        }
        Answer::not_stored(Reason::NoProperEnd)
    }
}
