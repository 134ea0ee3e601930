//! Gemini's `generateContent` and `streamGenerateContent`, of the Gemini API (ai.google.dev/api/generate-content) and of
//! Vertex AI (cloud.google.com/vertex-ai/generative-ai/docs/reference/rest, `generateContent`).
//!
//! The path names the model and chooses the form ([`target`]): one document, or a stream of chunks that are documents of
//! the same shape, each with a part of each candidate. The chunks are server-sent events with `alt=sse`, and the elements
//! of one JSON list without.

mod judge;
mod parts;
#[cfg(test)]
mod properties;
mod rules;
mod stream;
pub(super) mod target;
#[cfg(test)]
mod tests;
mod text;
mod whole;

use self::judge::Reply;
use super::{
    answer::{Answer, JudgeOptions, StreamEnd},
    api::{Api, is_filled, text_of},
    failure, list,
    question::NoQuestion,
};
use crate::{http::sse, json::Json, reason::Reason};

pub(super) struct Gemini;

impl Api for Gemini {
    /// The path names the model.
    fn fits(&self, body: &Json<'_>, _model_elsewhere: bool) -> bool {
        is_filled(body.get("contents"))
    }

    fn text(&self) -> &'static [&'static str] {
        &["/systemInstruction/parts/*/text", "/system_instruction/parts/*/text", "/contents/*/parts/*/text"]
    }

    fn question(&self, body: &Json<'_>) -> Result<String, NoQuestion> {
        text::question(body)
    }

    fn answer_text(&self, answer: &Json<'_>) -> Option<String> {
        text::answer_text(answer)
    }

    fn model(&self, body: &Json<'_>, path: &str) -> Option<String> {
        target::model(path).map(str::to_owned).or_else(|| text_of(body, "model"))
    }

    fn sets_limit(&self, body: &Json<'_>) -> bool {
        setting(body, ["maxOutputTokens", "max_output_tokens"]).is_some()
    }

    fn wants_json(&self, body: &Json<'_>) -> bool {
        let media = setting(body, ["responseMimeType", "response_mime_type"]).and_then(Json::as_str);
        media == Some("application/json")
    }

    fn choices(&self, body: &Json<'_>) -> u64 {
        setting(body, ["candidateCount", "candidate_count"]).and_then(Json::as_u64).unwrap_or(1)
    }

    /// Any chunk may be the last.
    fn ends_with(&self, _event: &sse::Event, _end: Option<&StreamEnd>) -> bool {
        false
    }

    fn is_list(&self, body: &[u8]) -> bool {
        body.trim_ascii_start().first() == Some(&b'[')
    }

    fn whole(&self, json: &Json<'_>, options: &JudgeOptions<'_>) -> Answer {
        let is_stream = matches!(json, Json::Array(_));
        let chunks = if is_stream { json.items() } else { std::slice::from_ref(json) };
        if chunks.iter().any(failure::in_document) {
            return Answer::not_stored(Reason::AnswerError);
        }
        // A list that answers a request for a document.
        if is_stream && !options.ask.form.stream {
            return Answer::not_stored(Reason::Invalid);
        }
        let mut reply = Reply::default();
        chunks.iter().for_each(|chunk| reply.add(chunk, options));
        if is_stream { reply.streamed(options) } else { reply.whole(options) }
    }

    /// It ends with its body.
    fn stream(&self, events: &[sse::Event], options: &JudgeOptions<'_>) -> Answer {
        let mut reply = Reply::default();
        for event in events {
            let Ok(chunk) = Json::parse(event.data.as_bytes()) else {
                return Answer::not_stored(Reason::Invalid);
            };
            if failure::in_event(event, Some(&chunk)) {
                return Answer::not_stored(Reason::ErrorEvent);
            }
            reply.add(&chunk, options);
        }
        Answer { end_seen: false, ..reply.streamed(options) }
    }

    /// The usage is always reported.
    fn to_stream(&self, whole: &Json<'_>, _with_usage: bool) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        stream::to_chunks(whole)?.iter().for_each(|chunk| list::write_event(chunk, &mut out));
        Some(out)
    }

    fn to_whole(&self, events: &[sse::Event]) -> Option<Vec<u8>> {
        whole::to_whole(events)
    }

    /// The chunks of a list, above all. The usage is in them always.
    fn with_usage(&self, events: &[sse::Event], _with_usage: bool) -> Option<Vec<u8>> {
        list::write_events(events)
    }
}

/// A setting of the generation, under either of its names: Google reads both.
fn setting<'j>(body: &'j Json<'j>, names: [&str; 2]) -> Option<&'j Json<'j>> {
    let config = ["generationConfig", "generation_config"].iter().find_map(|name| body.get(name))?;
    names.iter().find_map(|name| config.get(name)).filter(|value| !value.is_null())
}

/// Which candidate of the answer an element of a chunk is, which is at `place` in it. The first one has no index with
/// Vertex AI. `None` if its index is no number.
fn place_of(element: &Json<'_>, place: usize) -> Option<u64> {
    match element.get("index") {
        None | Some(Json::Null) => Some(place as u64),
        Some(index) => index.as_u64(),
    }
}
