//! Ollama's `/api/chat` and `/api/generate` (github.com/ollama/ollama, docs/api.md): one API, with the text
//! in two places. It streams by default, as newline-delimited JSON.

mod stream;
#[cfg(test)]
mod tests;
mod whole;

use super::{
    answer::{Answer, JudgeOptions, StreamEnd},
    answer_text::has_more_than_text,
    api::{Api, has, has_text, is_filled, text_of},
    choices::{Choice, judge},
    ends, failure,
    question::{self, NoQuestion},
    usage::{Usage, sum},
};
use crate::{http::sse, json::Json, reason::Reason};

pub(super) struct Ollama {
    pub(super) text: TextMember,
}

/// Where an answer's text is.
pub(super) enum TextMember {
    /// `message.content`
    Message,
    /// `response`
    Response,
}

impl Api for Ollama {
    fn fits(&self, body: &Json<'_>, _model_elsewhere: bool) -> bool {
        let question = match self.text {
            // Without messages, a request loads the model.
            TextMember::Message => is_filled(body.get("messages")),
            TextMember::Response => has(body, "prompt"),
        };
        has_text(body, "model") && question
    }

    fn text(&self) -> &'static [&'static str] {
        match self.text {
            TextMember::Message => &["/messages/*/content"],
            TextMember::Response => &["/prompt"],
        }
    }

    fn question(&self, body: &Json<'_>) -> Result<String, NoQuestion> {
        match self.text {
            TextMember::Message => question::CHAT.last_text(body),
            TextMember::Response => {
                question::refuse_kept(body, &["context"])?;
                question::only_text(body, &["prompt"])
            }
        }
    }

    fn answer_text(&self, answer: &Json<'_>) -> Option<String> {
        let message = match self.text {
            TextMember::Message => answer.get("message")?,
            TextMember::Response => answer,
        };
        let name = if matches!(self.text, TextMember::Message) { "content" } else { "response" };
        text_of(message, name).filter(|_| !has_more_than_text(message))
    }

    fn stream_media(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn streams_by_default(&self) -> bool {
        true
    }

    fn sets_limit(&self, body: &Json<'_>) -> bool {
        body.get("options").is_some_and(|options| has(options, "num_predict"))
    }

    /// `format`: "json", or a schema.
    fn wants_json(&self, body: &Json<'_>) -> bool {
        body.get("format").is_some_and(|format| format.is_object() || format.as_str() == Some("json"))
    }

    fn ends_with(&self, event: &sse::Event, _end: Option<&StreamEnd>) -> bool {
        event.data.contains("\"done\"") && Json::parse(event.data.as_bytes()).is_ok_and(|json| is_done(&json))
    }

    fn whole(&self, json: &Json<'_>, options: &JudgeOptions<'_>) -> Answer {
        if failure::in_document(json) {
            return Answer::not_stored(Reason::AnswerError);
        }
        self.parts(std::iter::once(json), options).unwrap_or_else(|| Answer::not_stored(Reason::Invalid))
    }

    fn stream(&self, events: &[sse::Event], options: &JudgeOptions<'_>) -> Answer {
        let parsed: Result<Vec<_>, _> =
            events.iter().map(|event| Json::parse(event.data.as_bytes())).collect();
        match parsed {
            Ok(parts) => {
                self.parts(parts.iter(), options).unwrap_or_else(|| Answer::not_stored(Reason::NoProperEnd))
            }
            Err(_) => Answer::not_stored(Reason::Invalid),
        }
    }

    /// The usage is always reported.
    fn to_stream(&self, whole: &Json<'_>, _with_usage: bool) -> Option<Vec<u8>> {
        stream::to_stream(&self.text, whole)
    }

    fn to_whole(&self, events: &[sse::Event]) -> Option<Vec<u8>> {
        whole::to_whole(&self.text, events)
    }
}

impl Ollama {
    /// Judges the parts of an answer up to the one that is `done`; `None` if there is no such part.
    fn parts<'a>(
        &self,
        parts: impl Iterator<Item = &'a Json<'a>>,
        options: &JudgeOptions<'_>,
    ) -> Option<Answer> {
        let mut choice = Choice::default();
        for part in parts {
            if failure::in_document(part) {
                return Some(Answer::not_stored(Reason::ErrorEvent));
            }
            if !self.read(&mut choice, part, options) {
                return Some(Answer::not_stored(Reason::Invalid));
            }
            if is_done(part) {
                // Older versions give no reason.
                choice.finish = Some(text_of(part, "done_reason").unwrap_or_else(|| "stop".to_owned()));
                // Services that speak like Ollama put their failures into the text of an answer without a token.
                let is_unproven =
                    choice.says && part.get("eval_count").and_then(Json::as_u64).unwrap_or(0) == 0;
                let verdict = judge([choice].iter(), &ends::OLLAMA, options);
                let answer = Answer::new(verdict, text_of(part, "model"), usage(part));
                return Some(Answer { is_unproven, ..answer });
            }
        }
        None
    }

    /// Reads a part, and returns whether its calls are well formed.
    fn read(&self, choice: &mut Choice, part: &Json<'_>, options: &JudgeOptions<'_>) -> bool {
        let (says, text) = match self.text {
            TextMember::Response => (Some(part), "response"),
            TextMember::Message => (part.get("message"), "content"),
        };
        let Some(says) = says else { return true };
        choice.say(says.get(text).and_then(Json::as_str).unwrap_or_default(), options);
        let mut are_whole = true;
        for call in says.get("tool_calls").map_or(&[][..], Json::items) {
            // The arguments are an object of the document itself.
            let arguments = call.get("function").and_then(|function| function.get("arguments"));
            are_whole &= arguments.is_none_or(|arguments| arguments.is_null() || arguments.is_object());
            choice.tools.insert(choice.tools.len() as u64, String::new());
        }
        are_whole
    }
}

/// Whether a part of an answer is its last.
fn is_done(part: &Json<'_>) -> bool {
    part.get("done").and_then(Json::as_bool) == Some(true)
}

fn usage(json: &Json<'_>) -> Option<Usage> {
    let count = |name| json.get(name).and_then(Json::as_u64);
    let prompt = count("prompt_eval_count");
    let completion = count("eval_count");
    let total = sum(prompt, completion)?;
    Some(Usage { prompt, completion, total: Some(total), ..Usage::default() })
}
