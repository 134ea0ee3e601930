//! From an answer of Cohere's Chat to its stream (docs.cohere.com/v2/docs/streaming, and the pages on streaming for
//! RAG and for tool use).
//!
//! What is empty, null or missing of a message is the same: the service leaves it out of documents, and has it empty in
//! the first event of a stream.

use std::ops::Range;

use super::BlockKind;
use crate::{
    dialect::{
        api::at_most,
        events::{Event, altered, by_token, pieces},
    },
    json::Json,
};

/// The stream that says the answer `whole`; `None` if no stream is known to say it.
pub(super) fn to_stream(whole: &Json<'_>) -> Option<Vec<u8>> {
    let names = ["id", "message", "finish_reason", "usage", "logprobs"];
    let [id, message, finish_reason, usage, logprobs] = at_most(whole.clone(), names)?;
    let names = ["role", "content", "tool_plan", "tool_calls", "citations"];
    let [role, content, plan, calls, citations] = at_most(message, names)?;
    let is_answer = id.as_str().is_some_and(|id| !id.is_empty())
        && role.as_str() == Some("assistant")
        && finish_reason.as_str().is_some()
        && (usage.is_null() || usage.is_object());
    if !is_answer {
        return None;
    }
    let blocks: Vec<_> = list(&content)?.iter().map(Block::new).collect::<Option<_>>()?;
    let tokens = list(&logprobs)?;
    let plan = if plan.is_null() { "" } else { plan.as_str()? };

    let mut out = Vec::new();
    let none = || Json::Array(Vec::new());
    let begun = Json::object([
        ("role", role),
        ("content", none()),
        ("tool_plan", Json::text("")),
        ("tool_calls", none()),
        ("citations", none()),
    ]);
    let start = Json::object([("message", begun)]);
    Event::new("message-start", &mut out).member("id", &id).member("delta", &start).end();
    let tokens_of = divided(&blocks, tokens)?;
    let citations = list(&citations)?;
    for (index, (block, own)) in blocks.iter().zip(tokens_of).enumerate() {
        block.write(index, &tokens[own], &mut out)?;
        if index + 1 == blocks.len() {
            write_citations(citations, &mut out)?;
        }
        Event::new("content-end", &mut out).number("index", index).end();
    }
    for piece in pieces(plan) {
        let delta = in_message("tool_plan", Json::text(piece));
        Event::new("tool-plan-delta", &mut out).member("delta", &delta).end();
    }
    if blocks.is_empty() {
        write_citations(citations, &mut out)?;
    }
    for (index, call) in list(&calls)?.iter().enumerate() {
        write_call(index, call, &mut out)?;
    }
    let counted = (!usage.is_null()).then_some(("usage", usage));
    let end = Json::object([("finish_reason", finish_reason)].into_iter().chain(counted));
    Event::new("message-end", &mut out).member("delta", &end).end();
    Some(out)
}

/// What a list has in it, and null has nothing; `None` if it is anything else.
fn list<'j, 'a>(json: &'j Json<'a>) -> Option<&'j [Json<'a>]> {
    match json {
        Json::Null => Some(&[]),
        Json::Array(items) => Some(items),
        _ => None,
    }
}

/// The `delta` of most events: a part of the message.
fn in_message<'a>(name: &'a str, part: Json<'a>) -> Json<'a> {
    Json::object([("message", Json::object([(name, part)]))])
}

/// A block, and its text.
struct Block<'j> {
    kind: BlockKind,
    text: &'j str,
}

impl<'j> Block<'j> {
    fn new(block: &'j Json<'_>) -> Option<Self> {
        let kind = BlockKind::from_block(block)?;
        at_most(block.clone(), ["type", kind.name()])?;
        Some(Self { kind, text: block.get(kind.name())?.as_str()? })
    }

    fn write(&self, index: usize, tokens: &[Json<'_>], out: &mut Vec<u8>) -> Option<()> {
        let name = self.kind.name();
        let start = in_message("content", Json::object([("type", Json::text(name)), (name, Json::text(""))]));
        Event::new("content-start", out).number("index", index).member("delta", &start).end();
        let mut write = |piece: &str, token: Option<&Json<'_>>| {
            let delta = in_message("content", Json::object([(name, Json::text(piece))]));
            let event = Event::new("content-delta", out).number("index", index).member("delta", &delta);
            match token {
                Some(token) => event.member("logprobs", token).end(),
                None => event.end(),
            }
        };
        if tokens.is_empty() {
            pieces(self.text).for_each(|piece| write(piece, None));
            return Some(());
        }
        let texts: Vec<_> = tokens.iter().map(text_of_token).collect();
        for (piece, own) in by_token(self.text, &texts)? {
            write(piece, tokens.get(own.start).filter(|_| !own.is_empty()));
        }
        Some(())
    }
}

fn text_of_token<'j>(token: &'j Json<'_>) -> Option<&'j str> {
    token.get("text")?.as_str()
}

/// Which of the tokens each block has. The tokens are those of all blocks, or of the texts without the thoughts;
/// `None` if they are neither.
fn divided(blocks: &[Block<'_>], tokens: &[Json<'_>]) -> Option<Vec<Range<usize>>> {
    if tokens.is_empty() {
        return Some(vec![0..0; blocks.len()]);
    }
    let texts: Vec<_> = tokens.iter().map(text_of_token).collect::<Option<_>>()?;
    divided_among(blocks, &texts, |_| true)
        .or_else(|| divided_among(blocks, &texts, |kind| kind == BlockKind::Text))
}

fn divided_among(
    blocks: &[Block<'_>],
    texts: &[&str],
    has_tokens: impl Fn(BlockKind) -> bool,
) -> Option<Vec<Range<usize>>> {
    let mut ranges = Vec::with_capacity(blocks.len());
    let mut at = 0;
    let last = blocks.iter().rposition(|block| has_tokens(block.kind))?;
    for (index, block) in blocks.iter().enumerate() {
        let start = at;
        let mut rest = if has_tokens(block.kind) { block.text } else { "" };
        while !rest.is_empty() {
            rest = rest.strip_prefix(texts.get(at)?)?;
            at += 1;
        }
        // Tokens without a text may be at the end.
        while index == last && texts.get(at).is_some_and(|text| text.is_empty()) {
            at += 1;
        }
        ranges.push(start..at);
    }
    (at == texts.len()).then_some(ranges)
}

fn write_citations(citations: &[Json<'_>], out: &mut Vec<u8>) -> Option<()> {
    for (index, citation) in citations.iter().enumerate() {
        if !citation.is_object() {
            return None;
        }
        let delta = in_message("citations", citation.clone());
        Event::new("citation-start", out).number("index", index).member("delta", &delta).end();
        Event::new("citation-end", out).number("index", index).end();
    }
    Some(())
}

fn write_call(index: usize, call: &Json<'_>, out: &mut Vec<u8>) -> Option<()> {
    let function = call.get("function").filter(|function| function.is_object())?;
    let arguments = match function.get("arguments") {
        None | Some(Json::Null) => "",
        Some(arguments) => arguments.as_str()?,
    };
    let emptied = altered(function, |member| {
        (member.name == "arguments" && !member.value.is_null()).then(|| Json::text(""))
    });
    let start = altered(call, |member| (member.name == "function").then(|| emptied.clone()));
    Event::new("tool-call-start", out)
        .number("index", index)
        .member("delta", &in_message("tool_calls", start))
        .end();
    for piece in pieces(arguments) {
        let arguments = Json::object([("arguments", Json::text(piece))]);
        let delta = in_message("tool_calls", Json::object([("function", arguments)]));
        Event::new("tool-call-delta", out).number("index", index).member("delta", &delta).end();
    }
    Event::new("tool-call-end", out).number("index", index).end();
    Some(())
}
