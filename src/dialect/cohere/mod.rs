//! Cohere's Chat, version 2 (docs.cohere.com/v2/reference/chat and chat-stream).

mod stream;
#[cfg(test)]
mod tests;
mod whole;

use std::collections::BTreeMap;

use super::{
    answer::{Answer, JudgeOptions, Refusal, StreamEnd},
    answer_text::{has_more_than_text, text_of_parts},
    api::{Api, has, has_text, is_filled, is_json_format, text_of},
    choices::{judge_text, judge_tools},
    ends, failure,
    question::{self, NoQuestion},
    usage::read_billed_usage,
};
use crate::{http::sse, json::Json, reason::Reason};

/// What some services send behind the last event, as OpenAI does.
const DONE: &str = "[DONE]";

pub(super) struct Cohere;

impl Api for Cohere {
    /// Other services have a `/v2/chat` too: each message must be one with a role.
    fn fits(&self, body: &Json<'_>, model_elsewhere: bool) -> bool {
        let messages = body.get("messages");
        (model_elsewhere || has_text(body, "model"))
            && is_filled(messages)
            && messages.is_some_and(|messages| messages.items().iter().all(|one| has_text(one, "role")))
    }

    fn text(&self) -> &'static [&'static str] {
        &["/messages/*/content", "/messages/*/content/*/text"]
    }

    fn question(&self, body: &Json<'_>) -> Result<String, NoQuestion> {
        question::CHAT.last_text(body)
    }

    fn answer_text(&self, answer: &Json<'_>) -> Option<String> {
        let message = answer.get("message").filter(|message| !has_more_than_text(message))?;
        text_of_parts(message.get("content")?, &["text"], &["thinking"])
    }

    /// The documents that an answer cites.
    fn tags(&self) -> &'static [&'static str] {
        &[
            "/message/citations/*/sources/*/id",
            "/message/citations/*/sources/*/document/id",
            "/delta/message/citations/sources/*/id",
            "/delta/message/citations/sources/*/document/id",
        ]
    }

    fn sets_limit(&self, body: &Json<'_>) -> bool {
        has(body, "max_tokens")
    }

    fn wants_json(&self, body: &Json<'_>) -> bool {
        is_json_format(body.get("response_format"))
    }

    fn ends_with(&self, event: &sse::Event, _end: Option<&StreamEnd>) -> bool {
        event.data.contains("message-end")
            && Json::parse(event.data.as_bytes()).is_ok_and(|json| kind_of(&json) == Some("message-end"))
    }

    fn whole(&self, json: &Json<'_>, options: &JudgeOptions<'_>) -> Answer {
        let message = json.get("message").unwrap_or(&Json::Null);
        // The `message` of an error is a text.
        if message.as_str().is_some() || failure::in_document(json) {
            return Answer::not_stored(Reason::AnswerError);
        }
        let mut said = Said { end: text_of(json, "finish_reason"), ..Said::default() };
        for block in message.get("content").map_or(&[][..], Json::items) {
            said.say(block, options);
        }
        for (index, call) in message.get("tool_calls").map_or(&[][..], Json::items).iter().enumerate() {
            said.call(index as u64, call);
        }
        Answer::new(said.judge(options), text_of(json, "model"), read_billed_usage(json))
    }

    fn stream(&self, events: &[sse::Event], options: &JudgeOptions<'_>) -> Answer {
        let mut said = Said::default();
        for event in events {
            let Ok(json) = Json::parse(event.data.as_bytes()) else {
                return Answer::not_stored(Reason::Invalid);
            };
            let delta = json.get("delta").unwrap_or(&Json::Null);
            if failure::in_event(event, Some(&json)) || failure::in_document(delta) {
                return Answer::not_stored(Reason::ErrorEvent);
            }
            let message = delta.get("message").unwrap_or(&Json::Null);
            match kind_of(&json) {
                Some("content-start" | "content-delta") => {
                    said.say(message.get("content").unwrap_or(&Json::Null), options);
                }
                Some("tool-call-start" | "tool-call-delta") => {
                    let index = json.get("index").and_then(Json::as_u64).unwrap_or(0);
                    said.call(index, message.get("tool_calls").unwrap_or(&Json::Null));
                }
                Some("message-end") => {
                    said.end = text_of(delta, "finish_reason");
                    return Answer::new(said.judge(options), None, read_billed_usage(delta));
                }
                _ => {}
            }
        }
        Answer::not_stored(Reason::NoProperEnd)
    }

    /// The usage is always reported.
    fn to_stream(&self, whole: &Json<'_>, _with_usage: bool) -> Option<Vec<u8>> {
        stream::to_stream(whole)
    }

    fn to_whole(&self, events: &[sse::Event]) -> Option<Vec<u8>> {
        whole::to_whole(events)
    }
}

fn kind_of<'j>(event: &'j Json<'_>) -> Option<&'j str> {
    event.get("type").and_then(Json::as_str)
}

/// A block of a message's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockKind {
    Text,
    Thinking,
}

impl BlockKind {
    /// The kind of `block`; `None` if it is not known.
    fn from_block(block: &Json<'_>) -> Option<Self> {
        match kind_of(block)? {
            "text" => Some(Self::Text),
            "thinking" => Some(Self::Thinking),
            _ => None,
        }
    }

    /// The name of the block's type, and of the member that has its text.
    const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Thinking => "thinking",
        }
    }
}

/// What is known of an answer.
#[derive(Default)]
struct Said {
    end: Option<String>,
    /// Whether there is a text, or something that is not known here. Thoughts and plans are neither.
    says: bool,
    /// Whether there is something that is not known here, which may call a tool.
    may_call: bool,
    /// The text, if that must be JSON.
    text: String,
    /// The arguments of each tool call, by its index.
    calls: BTreeMap<u64, String>,
}

impl Said {
    /// Adds the text of a block, or of a part of one.
    fn say(&mut self, block: &Json<'_>, options: &JudgeOptions<'_>) {
        let text = block.get("text").and_then(Json::as_str).unwrap_or_default();
        // Parts of a block do not say of which type it is.
        let is_known = kind_of(block).is_none() || BlockKind::from_block(block).is_some();
        self.may_call |= !is_known;
        self.says |= !text.is_empty() || !is_known;
        if options.ask.wants_json {
            self.text.push_str(text);
        }
    }

    /// Adds a tool call, or a part of one.
    fn call(&mut self, index: u64, call: &Json<'_>) {
        let arguments = call.get("function").and_then(|function| function.get("arguments"));
        let so_far = self.calls.entry(index).or_default();
        so_far.push_str(arguments.and_then(Json::as_str).unwrap_or_default());
    }

    fn judge(&self, options: &JudgeOptions<'_>) -> Result<(), Refusal> {
        let Some(end) = &self.end else { return Err(Reason::Invalid.into()) };
        ends::COHERE.judge(end, options)?;
        judge_tools(self.calls.values().map(String::as_str), options)?;
        if self.may_call && !options.cache_tool_calls {
            return Err(Reason::ToolCalls.into());
        }
        judge_text(&self.text, options)?;
        if self.says || !self.calls.is_empty() { Ok(()) } else { Err(Reason::Empty.into()) }
    }
}
