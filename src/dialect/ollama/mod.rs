//! Ollama's `/api/chat` and `/api/generate` (github.com/ollama/ollama, docs/api.md): one shape, with the text
//! in two places. Streams by default, as newline-delimited JSON.

mod stream;
#[cfg(test)]
mod tests;
mod whole;

use super::{
    Answer, Rules, Shape,
    choices::{Choice, judge, sum},
    has, has_text, sse, text_of,
};
use crate::{entry::Usage, json::Json, policy::Reason};

pub(super) struct Ollama {
    pub(super) text: Text,
}

/// Where an answer's text is.
pub(super) enum Text {
    /// `message.content`
    Message,
    /// `response`
    Response,
}

impl Shape for Ollama {
    fn fits(&self, body: &Json<'_>) -> bool {
        let question = match self.text {
            Text::Message => matches!(body.get("messages"), Some(Json::Array(_))),
            Text::Response => has(body, "prompt"),
        };
        has_text(body, "model") && question
    }

    fn text(&self) -> &'static [&'static str] {
        match self.text {
            Text::Message => &["/messages/*/content"],
            Text::Response => &["/prompt"],
        }
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

    fn whole(&self, json: &Json<'_>, rules: &Rules<'_>) -> Answer {
        if json.get("done").and_then(Json::as_bool) != Some(true) && !has(json, "error") {
            return Answer::not_stored(Reason::Invalid);
        }
        self.parts(std::iter::once(json), rules).unwrap_or_else(|| Answer::not_stored(Reason::Invalid))
    }

    fn stream(&self, events: &[sse::Event], rules: &Rules<'_>) -> Answer {
        let parsed: Result<Vec<_>, _> =
            events.iter().map(|event| Json::parse(event.data.as_bytes())).collect();
        match parsed {
            Ok(parts) => {
                self.parts(parts.iter(), rules).unwrap_or_else(|| Answer::not_stored(Reason::NoProperEnd))
            }
            Err(_) => Answer::not_stored(Reason::Invalid),
        }
    }

    /// Usage is always told.
    fn to_stream(&self, whole: &Json<'_>, _with_usage: bool) -> Option<Vec<u8>> {
        stream::to_stream(&self.text, whole)
    }

    fn to_whole(&self, events: &[sse::Event]) -> Option<Vec<u8>> {
        whole::to_whole(&self.text, events)
    }
}

impl Ollama {
    /// Judges the parts of an answer up to the one that is `done`; `None` where none is.
    fn parts<'a>(&self, parts: impl Iterator<Item = &'a Json<'a>>, rules: &Rules<'_>) -> Option<Answer> {
        let mut choice = Choice::default();
        for part in parts {
            if has(part, "error") {
                return Some(Answer::not_stored(Reason::ErrorEvent));
            }
            self.read(&mut choice, part);
            if part.get("done").and_then(Json::as_bool) == Some(true) {
                choice.finish = Some(text_of(part, "done_reason").unwrap_or_else(|| "stop".to_owned()));
                let verdict = judge([choice].iter(), rules);
                return Some(Answer::new(verdict, text_of(part, "model"), usage(part)));
            }
        }
        None
    }

    fn read(&self, choice: &mut Choice, part: &Json<'_>) {
        match self.text {
            Text::Response => choice.says |= has_text(part, "response"),
            Text::Message => {
                let Some(message) = part.get("message") else { return };
                choice.says |= has_text(message, "content");
                for _ in message.get("tool_calls").map_or(&[][..], Json::items) {
                    // The arguments are an object of the document itself: nothing that could be broken.
                    choice.tools.insert(choice.tools.len() as u64, String::new());
                }
            }
        }
    }
}

fn usage(json: &Json<'_>) -> Option<Usage> {
    let count = |name| json.get(name).and_then(Json::as_u64);
    let (prompt, completion) = (count("prompt_eval_count"), count("eval_count"));
    let total = sum(prompt, completion)?;
    Some(Usage { prompt, completion, total: Some(total) })
}
