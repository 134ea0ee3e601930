//! From a message of Anthropic Messages to its stream
//! (platform.claude.com/docs/en/build-with-claude/streaming, "Event types").

use super::{TIMINGS, block::BlockKind};
use crate::{
    dialect::{
        api::{has, has_text},
        events::{Event, altered, pieces},
    },
    json::{Json, Member},
};

/// What the start of a message cannot know yet. The `delta` of a `message_delta` has it.
const ENDING: [&str; 4] = ["stop_reason", "stop_sequence", "stop_details", "container"];

/// What a `message_delta` has beside its `delta`.
const BESIDE: [&str; 2] = ["context_management", TIMINGS];

/// The counts of a `message_delta`. They are cumulative, so those of `message_start` are among them.
const COUNTS: [&str; 8] = [
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "server_tool_use",
    "output_tokens_details",
    "iterations",
    "fallback_credit",
];

/// So many of them, from the first, the start of a message has too.
const INPUT_COUNTS: usize = 3;

/// The stream that says the message `whole`; `None` if no stream is known to say it.
pub(super) fn to_stream(whole: &Json<'_>) -> Option<Vec<u8>> {
    if whole.get("type")?.as_str()? != "message" || !has_text(whole, "stop_reason") {
        return None;
    }
    let Json::Array(blocks) = whole.get("content")? else { return None };
    let usage = whole.get("usage")?;
    // Clients read this count from the `message_delta` and rely on it.
    usage.get("output_tokens")?.as_u64()?;

    let mut out = Vec::new();
    Event::new("message_start", &mut out).member("message", &opening(whole)).end();
    for (index, block) in blocks.iter().enumerate() {
        write_block(index, block, &mut out)?;
    }
    let mut end = Event::new("message_delta", &mut out)
        .member("delta", &at_end(whole, &ENDING))
        .member("usage", &at_end(usage, &COUNTS));
    for member in at_end(whole, &BESIDE).members() {
        end = end.member(&member.name, &member.value);
    }
    end.end();
    Event::new("message_stop", &mut out).end();
    Some(out)
}

/// The message before its content.
fn opening<'a>(whole: &Json<'a>) -> Json<'a> {
    altered(whole, |member| match &*member.name {
        "content" => Some(Json::Array(Vec::new())),
        "usage" => Some(altered(&member.value, |count| match &*count.name {
            "output_tokens" => Some(Json::Number("0")),
            name => COUNTS[INPUT_COUNTS..].contains(&name).then_some(Json::Null),
        })),
        name => (ENDING.contains(&name) || BESIDE.contains(&name)).then_some(Json::Null),
    })
}

/// The members of these names, as the end of a message has them. What is null was in the start already, but
/// for the reason to stop, which clients take from here.
fn at_end<'a>(json: &Json<'a>, names: &[&str]) -> Json<'a> {
    let is_at_end = |member: &&Member<'_>| {
        names.contains(&&*member.name) && (!member.value.is_null() || member.name.starts_with("stop_"))
    };
    Json::Object(json.members().iter().filter(is_at_end).cloned().collect())
}

/// The text under `name`, empty if that is null; `None` if it is anything else.
fn text_of<'a>(block: &'a Json<'a>, name: &str) -> Option<&'a str> {
    let text = block.get(name)?;
    if text.is_null() { Some("") } else { text.as_str() }
}

fn write_block(index: usize, block: &Json<'_>, out: &mut Vec<u8>) -> Option<()> {
    match BlockKind::from_block(block)? {
        BlockKind::Text => write_text(index, block, out)?,
        BlockKind::Thinking => write_thinking(index, block, out)?,
        BlockKind::Tool => write_tool(index, block, out)?,
        BlockKind::Whole => start(index, block, out),
    }
    Event::new("content_block_stop", out).number("index", index).end();
    Some(())
}

fn start(index: usize, block: &Json<'_>, out: &mut Vec<u8>) {
    Event::new("content_block_start", out).number("index", index).member("content_block", block).end();
}

fn delta(index: usize, kind: &'static str, name: &'static str, value: Json<'_>, out: &mut Vec<u8>) {
    let delta = Json::object([("type", Json::text(kind)), (name, value)]);
    Event::new("content_block_delta", out).number("index", index).member("delta", &delta).end();
}

/// The block without these members, which its deltas have.
fn emptied<'a>(block: &Json<'a>, streamed: &[&str]) -> Json<'a> {
    altered(block, |member| {
        streamed.contains(&&*member.name).then(|| match &member.value {
            Json::String(_) => Json::text(""),
            Json::Array(_) => Json::Array(Vec::new()),
            Json::Object(_) => Json::Object(Vec::new()),
            other => other.clone(),
        })
    })
}

fn write_text(index: usize, block: &Json<'_>, out: &mut Vec<u8>) -> Option<()> {
    let text = text_of(block, "text")?;
    let citations = match block.get("citations") {
        None | Some(Json::Null) => &[],
        Some(Json::Array(citations)) => &citations[..],
        Some(_) => return None,
    };
    start(index, &emptied(block, &["text", "citations"]), out);
    for piece in pieces(text) {
        delta(index, "text_delta", "text", Json::text(piece), out);
    }
    for citation in citations {
        delta(index, "citations_delta", "citation", citation.clone(), out);
    }
    Some(())
}

fn write_thinking(index: usize, block: &Json<'_>, out: &mut Vec<u8>) -> Option<()> {
    let thinking = text_of(block, "thinking")?;
    let signature = if has(block, "signature") { text_of(block, "signature")? } else { "" };
    start(index, &emptied(block, &["thinking", "signature"]), out);
    for piece in pieces(thinking) {
        delta(index, "thinking_delta", "thinking", Json::text(piece), out);
    }
    if !signature.is_empty() {
        delta(index, "signature_delta", "signature", Json::text(signature), out);
    }
    Some(())
}

fn write_tool(index: usize, block: &Json<'_>, out: &mut Vec<u8>) -> Option<()> {
    let mut text = Vec::new();
    match block.get("input") {
        None | Some(Json::Null) => {}
        Some(input @ Json::Object(_)) => input.write(&mut text),
        Some(_) => return None,
    }
    start(index, &emptied(block, &["input"]), out);
    for piece in pieces(std::str::from_utf8(&text).ok()?) {
        delta(index, "input_json_delta", "partial_json", Json::text(piece), out);
    }
    Some(())
}
