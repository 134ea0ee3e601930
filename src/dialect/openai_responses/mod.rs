//! OpenAI Responses (platform.openai.com/docs/api-reference/responses).

mod items;
mod stream;
#[cfg(test)]
mod tests;
mod whole;

use super::{
    Answer, Rules, Shape,
    choices::{self, judge_tools},
    has, has_text, sse, text_of,
};
use crate::{json::Json, policy::Reason};

pub(super) struct OpenAiResponses;

impl Shape for OpenAiResponses {
    fn fits(&self, body: &Json<'_>) -> bool {
        has(body, "input") || has(body, "prompt")
    }

    fn text(&self) -> &'static [&'static str] {
        &["/input", "/input/*/content", "/input/*/content/*/text"]
    }

    fn sets_limit(&self, body: &Json<'_>) -> bool {
        has(body, "max_output_tokens")
    }

    fn whole(&self, json: &Json<'_>, rules: &Rules<'_>) -> Answer {
        Answer::new(judge(json, rules), text_of(json, "model"), choices::usage(json))
    }

    /// The last event holds the whole response.
    fn stream(&self, events: &[sse::Event], rules: &Rules<'_>) -> Answer {
        for event in events {
            let Ok(json) = Json::parse(event.data.as_bytes()) else {
                return Answer::not_stored(Reason::Invalid);
            };
            match (json.get("type").and_then(Json::as_str), json.get("response")) {
                (Some("response.completed" | "response.incomplete"), Some(response)) => {
                    return self.whole(response, rules);
                }
                (Some("response.failed" | "error"), _) => return Answer::not_stored(Reason::ErrorEvent),
                _ => {}
            }
        }
        Answer::not_stored(Reason::NoProperEnd)
    }

    /// Usage is always told.
    fn to_stream(&self, whole: &Json<'_>, _with_usage: bool) -> Option<Vec<u8>> {
        stream::to_stream(whole)
    }

    fn to_whole(&self, events: &[sse::Event]) -> Option<Vec<u8>> {
        whole::to_whole(events)
    }
}

fn judge(json: &Json<'_>, rules: &Rules<'_>) -> Result<(), Reason> {
    if has(json, "error") {
        return Err(Reason::ErrorEvent);
    }
    let why = json.get("incomplete_details").and_then(|details| details.get("reason")).and_then(Json::as_str);
    match (json.get("status").and_then(Json::as_str), why) {
        (Some("completed"), _) => {}
        (Some("incomplete"), Some("max_output_tokens")) if rules.ask.sets_limit => {}
        (Some("incomplete"), Some("max_output_tokens")) => return Err(Reason::Length),
        (Some("incomplete"), Some("content_filter")) => return Err(Reason::Filtered),
        (Some("failed"), _) => return Err(Reason::ErrorEvent),
        // Still running in the background, cancelled, or unheard of.
        _ => return Err(Reason::Invalid),
    }
    let items = json.get("output").map_or(&[][..], Json::items);
    let calls = items.iter().filter_map(|item| item.get("arguments").and_then(Json::as_str));
    judge_tools(calls, rules)?;
    if items.iter().any(says_something) { Ok(()) } else { Err(Reason::Empty) }
}

/// A message with a text or a refusal in it, or anything that is neither a message nor mere reasoning.
fn says_something(item: &Json<'_>) -> bool {
    match item.get("type").and_then(Json::as_str) {
        Some("message") => {
            let parts = item.get("content").map_or(&[][..], Json::items);
            parts.iter().any(|part| has_text(part, "text") || has_text(part, "refusal"))
        }
        Some("reasoning") | None => false,
        Some(_) => true,
    }
}
