//! Anthropic Messages (docs.anthropic.com/en/api/messages, and its page on streaming).

mod block;
mod stream;
#[cfg(test)]
mod tests;
mod whole;

use std::collections::BTreeMap;

use super::{
    answer::{Answer, JudgeOptions, Refusal, StreamEnd},
    answer_text::text_of_parts,
    api::{Api, has_text, is_filled, is_json_format, text_of},
    choices::{judge_text, judge_tools},
    ends, failure,
    question::{self, NoQuestion},
    usage::Counts,
};
use crate::{http::sse, json::Json, reason::Reason};

/// llama.cpp's member for what the message took: in a document, and in a stream's last event about the
/// message.
const TIMINGS: &str = "timings";

pub(super) struct Anthropic;

impl Api for Anthropic {
    fn fits(&self, body: &Json<'_>, _model_elsewhere: bool) -> bool {
        has_text(body, "model")
            && is_filled(body.get("messages"))
            && body.get("max_tokens").and_then(Json::as_u64).is_some()
    }

    fn text(&self) -> &'static [&'static str] {
        &["/messages/*/content", "/messages/*/content/*/text"]
    }

    fn question(&self, body: &Json<'_>) -> Result<String, NoQuestion> {
        question::refuse_kept(body, &["container"])?;
        question::CHAT.last_text(body)
    }

    fn answer_text(&self, answer: &Json<'_>) -> Option<String> {
        text_of_parts(answer.get("content")?, &["text"], &["thinking", "redacted_thinking"])
    }

    /// `max_tokens` is required.
    fn sets_limit(&self, _body: &Json<'_>) -> bool {
        true
    }

    /// Structured outputs (platform.claude.com/docs/en/build-with-claude/structured-outputs).
    fn wants_json(&self, body: &Json<'_>) -> bool {
        let config = body.get("output_config").and_then(|config| config.get("format"));
        is_json_format(body.get("output_format")) || is_json_format(config)
    }

    fn ends_with(&self, event: &sse::Event, _end: Option<&StreamEnd>) -> bool {
        event.data.contains("message_stop")
            && Json::parse(event.data.as_bytes())
                .is_ok_and(|json| json.get("type").and_then(Json::as_str) == Some("message_stop"))
    }

    fn whole(&self, json: &Json<'_>, options: &JudgeOptions<'_>) -> Answer {
        if json.get("type").and_then(Json::as_str) == Some("error") || failure::in_document(json) {
            return Answer::not_stored(Reason::AnswerError);
        }
        let blocks = json.get("content").map_or(&[][..], Json::items);
        let mut message = Message { stop: text_of(json, "stop_reason"), ..Message::default() };
        for (index, block) in blocks.iter().enumerate() {
            message.begin_block(index as u64, block, options);
        }
        let counts = json.get("usage").map(Counts::read).unwrap_or_default();
        Answer::new(message.judge(options), text_of(json, "model"), counts.usage())
    }

    fn stream(&self, events: &[sse::Event], options: &JudgeOptions<'_>) -> Answer {
        let mut message = Message::default();
        let mut model = None;
        let mut counts = Counts::default();
        for event in events {
            let Ok(json) = Json::parse(event.data.as_bytes()) else {
                return Answer::not_stored(Reason::Invalid);
            };
            let index = json.get("index").and_then(Json::as_u64).unwrap_or(0);
            if failure::in_event(event, Some(&json)) {
                return Answer { model, usage: counts.usage(), ..Answer::not_stored(Reason::ErrorEvent) };
            }
            match json.get("type").and_then(Json::as_str) {
                Some("message_start") => {
                    let start = json.get("message");
                    model = start.and_then(|start| text_of(start, "model"));
                    counts = start.and_then(|start| start.get("usage")).map(Counts::read).unwrap_or_default();
                }
                Some("content_block_start") => {
                    if let Some(block) = json.get("content_block") {
                        message.begin_block(index, block, options);
                    }
                }
                Some("content_block_delta") => {
                    if let Some(delta) = json.get("delta") {
                        message.add_delta(index, delta, options);
                    }
                }
                Some("message_delta") => {
                    message.stop = json.get("delta").and_then(|delta| text_of(delta, "stop_reason"));
                    // The counts in a `message_delta` are cumulative.
                    counts = json.get("usage").map_or(counts, |usage| Counts::read(usage).or(counts));
                }
                Some("message_stop") => return Answer::new(message.judge(options), model, counts.usage()),
                _ => {}
            }
        }
        Answer { model, usage: counts.usage(), ..Answer::not_stored(Reason::NoProperEnd) }
    }

    /// The usage is always reported.
    fn to_stream(&self, whole: &Json<'_>, _with_usage: bool) -> Option<Vec<u8>> {
        stream::to_stream(whole)
    }

    fn to_whole(&self, events: &[sse::Event]) -> Option<Vec<u8>> {
        whole::to_whole(events)
    }
}

/// What is known of a message.
#[derive(Default)]
struct Message {
    stop: Option<String>,
    says: bool,
    /// The text, if that must be JSON.
    text: String,
    /// The input of each tool use, as far as it comes in pieces.
    tools: BTreeMap<u64, String>,
    /// Whether a server's own tool was called, or may have been.
    may_call: bool,
    /// Whether the input of a tool use is no object.
    is_broken: bool,
}

impl Message {
    fn begin_block(&mut self, index: u64, block: &Json<'_>, options: &JudgeOptions<'_>) {
        match block.get("type").and_then(Json::as_str) {
            Some("text") => self.say(block, options),
            Some("thinking" | "redacted_thinking") | None => {}
            Some("tool_use") => {
                let input = block.get("input").filter(|input| !input.is_null());
                self.is_broken |= input.is_some_and(|input| !input.is_object());
                self.tools.insert(index, String::new());
            }
            // A server's own tool, its result, or a block that is not known here.
            Some(_) => {
                self.says = true;
                self.may_call = true;
            }
        }
    }

    fn add_delta(&mut self, index: u64, delta: &Json<'_>, options: &JudgeOptions<'_>) {
        self.say(delta, options);
        let part = delta.get("partial_json").and_then(Json::as_str);
        if let (Some(part), Some(input)) = (part, self.tools.get_mut(&index)) {
            input.push_str(part);
        }
    }

    /// Adds the text of a block, or of a part of one.
    fn say(&mut self, json: &Json<'_>, options: &JudgeOptions<'_>) {
        let text = json.get("text").and_then(Json::as_str).unwrap_or_default();
        self.says |= !text.is_empty();
        if options.ask.wants_json {
            self.text.push_str(text);
        }
    }

    fn judge(&self, options: &JudgeOptions<'_>) -> Result<(), Refusal> {
        let Some(stop) = &self.stop else { return Err(Reason::Invalid.into()) };
        ends::ANTHROPIC.judge(stop, options)?;
        judge_tools(self.tools.values().map(String::as_str), options)?;
        if self.may_call && !options.cache_tool_calls {
            return Err(Reason::ToolCalls.into());
        }
        if self.is_broken {
            return Err(Reason::Invalid.into());
        }
        judge_text(&self.text, options)?;
        if self.says || !self.tools.is_empty() { Ok(()) } else { Err(Reason::Empty.into()) }
    }
}
