//! Anthropic Messages (docs.anthropic.com/en/api/messages, and its page on streaming).

mod block;
pub(super) mod emit;
mod stream;
#[cfg(test)]
mod tests;
mod whole;

use std::collections::BTreeMap;

use super::{
    Answer, Rules, Shape,
    choices::{judge_tools, sum},
    has_text, sse, text_of,
};
use crate::{entry::Usage, json::Json, policy::Reason};

pub(super) struct Anthropic;

impl Shape for Anthropic {
    fn fits(&self, body: &Json<'_>) -> bool {
        has_text(body, "model")
            && matches!(body.get("messages"), Some(Json::Array(_)))
            && body.get("max_tokens").and_then(Json::as_u64).is_some()
    }

    fn text(&self) -> &'static [&'static str] {
        &["/messages/*/content", "/messages/*/content/*/text"]
    }

    /// `max_tokens` is required.
    fn sets_limit(&self, _body: &Json<'_>) -> bool {
        true
    }

    fn whole(&self, json: &Json<'_>, rules: &Rules<'_>) -> Answer {
        if json.get("type").and_then(Json::as_str) == Some("error") {
            return Answer::not_stored(Reason::ErrorEvent);
        }
        let blocks = json.get("content").map_or(&[][..], Json::items);
        let mut message = Message { stop: text_of(json, "stop_reason"), ..Message::default() };
        for (index, block) in blocks.iter().enumerate() {
            message.begin_block(index as u64, block);
        }
        let counts = json.get("usage").map(read_usage).unwrap_or_default();
        Answer::new(message.judge(rules), text_of(json, "model"), usage(&counts))
    }

    fn stream(&self, events: &[sse::Event], rules: &Rules<'_>) -> Answer {
        let (mut message, mut model, mut counts) = (Message::default(), None, Counts::default());
        for event in events {
            let Ok(json) = Json::parse(event.data.as_bytes()) else {
                return Answer::not_stored(Reason::Invalid);
            };
            let index = json.get("index").and_then(Json::as_u64).unwrap_or(0);
            match json.get("type").and_then(Json::as_str) {
                Some("message_start") => {
                    let start = json.get("message");
                    model = start.and_then(|start| text_of(start, "model"));
                    counts = start.and_then(|start| start.get("usage")).map(read_usage).unwrap_or_default();
                }
                Some("content_block_start") => {
                    if let Some(block) = json.get("content_block") {
                        message.begin_block(index, block);
                    }
                }
                Some("content_block_delta") => {
                    if let Some(delta) = json.get("delta") {
                        message.add_delta(index, delta);
                    }
                }
                Some("message_delta") => {
                    message.stop = json.get("delta").and_then(|delta| text_of(delta, "stop_reason"));
                    // The counts in a `message_delta` are cumulative.
                    counts = json.get("usage").map_or(counts, |usage| read_usage(usage).or(counts));
                }
                Some("message_stop") => return Answer::new(message.judge(rules), model, usage(&counts)),
                Some("error") => {
                    return Answer { model, usage: usage(&counts), ..Answer::not_stored(Reason::ErrorEvent) };
                }
                _ => {}
            }
        }
        Answer { model, usage: usage(&counts), ..Answer::not_stored(Reason::NoProperEnd) }
    }

    /// Usage is always told.
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
    /// The input of each tool use, as far as it is told in pieces.
    tools: BTreeMap<u64, String>,
}

impl Message {
    fn begin_block(&mut self, index: u64, block: &Json<'_>) {
        match block.get("type").and_then(Json::as_str) {
            Some("text") => self.says |= has_text(block, "text"),
            Some("thinking" | "redacted_thinking") | None => {}
            Some("tool_use") => {
                self.tools.insert(index, String::new());
            }
            // A server's own tool and its result.
            Some(_) => self.says = true,
        }
    }

    fn add_delta(&mut self, index: u64, delta: &Json<'_>) {
        self.says |= has_text(delta, "text");
        let part = delta.get("partial_json").and_then(Json::as_str);
        if let (Some(part), Some(input)) = (part, self.tools.get_mut(&index)) {
            input.push_str(part);
        }
    }

    fn judge(&self, rules: &Rules<'_>) -> Result<(), Reason> {
        match self.stop.as_deref() {
            Some("refusal") => return Err(Reason::Filtered),
            // Neither limit is the request's own.
            Some("model_context_window_exceeded" | "pause_turn") => return Err(Reason::Length),
            Some(_) => {}
            None => return Err(Reason::Invalid),
        }
        judge_tools(self.tools.values().map(String::as_str), rules)?;
        if self.says || !self.tools.is_empty() { Ok(()) } else { Err(Reason::Empty) }
    }
}

#[derive(Clone, Copy, Default)]
struct Counts {
    input: Option<u64>,
    cache_creation: Option<u64>,
    cache_read: Option<u64>,
    output: Option<u64>,
}

impl Counts {
    fn or(self, earlier: Self) -> Self {
        Self {
            input: self.input.or(earlier.input),
            cache_creation: self.cache_creation.or(earlier.cache_creation),
            cache_read: self.cache_read.or(earlier.cache_read),
            output: self.output.or(earlier.output),
        }
    }
}

fn read_usage(json: &Json<'_>) -> Counts {
    let count = |name| json.get(name).and_then(Json::as_u64);
    Counts {
        input: count("input_tokens"),
        cache_creation: count("cache_creation_input_tokens"),
        cache_read: count("cache_read_input_tokens"),
        output: count("output_tokens"),
    }
}

/// `input_tokens` leaves out what the provider's own prompt cache read and wrote; a prompt is all of it.
fn usage(counts: &Counts) -> Option<Usage> {
    let prompt = sum(sum(counts.input, counts.cache_creation), counts.cache_read);
    let total = sum(prompt, counts.output)?;
    Some(Usage { prompt, completion: counts.output, total: Some(total) })
}
