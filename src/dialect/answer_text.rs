//! What an answer says, as one text, where it says nothing in any other way.

use bytes::Bytes;

use super::{api::is_filled, failure, list, name::Dialect, rag::calls_tool};
use crate::{
    http::sse::{Event, Framing},
    json::Json,
};

impl Dialect {
    /// The text of a whole answer that was judged good, in whatever form its body is. `None` if it calls tools, if it has
    /// several choices, or anything that is no text.
    pub(crate) fn answer_text(self, framing: Framing, body: &Bytes) -> Option<String> {
        let api = self.api();
        let events = match framing.events(body) {
            None if api.is_list(body) => Some(list::events(body)?),
            events => events,
        };
        let text = match events {
            // No two services have the same events.
            Some(events) if self == Self::Rag => streamed_text(&events),
            Some(events) => api.answer_text(&Json::parse(&api.to_whole(&events)?).ok()?),
            None => api.answer_text(&Json::parse(body).ok()?),
        };
        text.filter(|text| !text.trim().is_empty())
    }
}

/// The text of a message, or of its parts, which are of these types. Parts of the types `thoughts` are no part of the answer.
pub(super) fn text_of_parts(content: &Json<'_>, texts: &[&str], thoughts: &[&str]) -> Option<String> {
    match content {
        Json::String(text) => Some(text.to_string()),
        Json::Array(parts) => {
            let text = |part: &Json<'_>| {
                let kind = part.get("type").and_then(Json::as_str)?;
                match (thoughts.contains(&kind), texts.contains(&kind)) {
                    (true, _) => Some(String::new()),
                    (false, true) => Some(part.get("text")?.as_str()?.to_owned()),
                    (false, false) => None,
                }
            };
            parts.iter().map(text).collect()
        }
        _ => None,
    }
}

/// Whether a message calls tools, or has something beside its text.
pub(super) fn has_more_than_text(message: &Json<'_>) -> bool {
    let is_filled_list = |name| is_filled(message.get(name));
    let has = |name| message.get(name).is_some_and(|value| !value.is_null());
    ["tool_calls", "images"].into_iter().any(is_filled_list) || ["function_call", "audio"].into_iter().any(has)
}

/// The words of a stream of a RAG service, in their order.
fn streamed_text(events: &[Event]) -> Option<String> {
    let mut text = String::new();
    for event in events {
        let json = Json::parse(event.data.as_bytes()).ok();
        if json.as_ref().is_some_and(|json| calls_tool(json) || has_more_than_text(json)) {
            return None;
        }
        match &json {
            Some(json) if failure::says_word(event, Some(json)) => failure::add_words(json, &mut text),
            _ => {}
        }
    }
    Some(text)
}
