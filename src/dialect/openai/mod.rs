//! OpenAI's APIs, and what Chat Completions and Completions share: an answer is one document with choices, or
//! chunks of it and `[DONE]` (platform.openai.com/docs/api-reference/chat-streaming,
//! platform.openai.com/docs/api-reference/completions).
//!
//! One table of [`super::merge::Rule`]s says which members an API has, and how their parts make the whole. A member
//! that is in no table is copied if that cannot be wrong; else there is no other form.

pub(super) mod chat;
pub(super) mod completions;
pub(super) mod responses;
pub(super) mod search;
pub(super) mod speech;
pub(super) mod stream;
#[cfg(test)]
pub(super) mod testing;
pub(super) mod transcription;
pub(super) mod usage;
pub(super) mod whole;

use std::collections::BTreeMap;

use super::{
    api::{has, has_text, is_json_format},
    merge,
};
use crate::{
    http::sse,
    json::{Json, Member},
};

/// The data of the event that ends a stream.
pub(super) const DONE: &str = "[DONE]";

/// llama.cpp's member for what the answer took: in a document, and in the last chunk of a stream.
const TIMINGS: &str = "timings";

/// What an answer calls itself, in its `object` member.
#[derive(Clone, Copy)]
pub(super) struct Names {
    /// As one document.
    pub(super) whole: &'static str,
    /// As a chunk of a stream.
    pub(super) chunk: &'static str,
}

/// The members that say which answer this is: in a document once, in a stream in every chunk.
const IDENTITY: [&str; 5] = ["id", "created", "model", "service_tier", "system_fingerprint"];

/// A chunk, and the event that it came in.
type Chunk<'a> = (&'a sse::Event, Vec<Member<'a>>);

/// The chunks of a complete stream. `None` if it is not complete, or has an event that is no chunk.
///
/// Some servers end their streams without `[DONE]`: such a stream is complete if each choice is. Some send
/// `null`, which says nothing.
fn chunks(events: &[sse::Event]) -> Option<Vec<Chunk<'_>>> {
    let (last, earlier) = events.split_last()?;
    let is_done = last.data == DONE;
    let events = if is_done { earlier } else { events };
    let events = events.iter().filter(|event| event.data.trim() != "null");
    let chunks: Vec<_> = events.map(|event| Some((event, chunk(event)?))).collect::<Option<_>>()?;
    (is_done || are_finished(&chunks)).then_some(chunks)
}

fn chunk(event: &sse::Event) -> Option<Vec<Member<'_>>> {
    // "message" is the name of an event that has none (WHATWG HTML, section 9.2.6).
    if !matches!(event.name.as_str(), "" | "message") {
        return None;
    }
    let Json::Object(members) = Json::parse(event.data.as_bytes()).ok()? else { return None };
    let is_chunk = match value(&members, "choices") {
        Some(choices) => matches!(choices, Json::Array(_) | Json::Null),
        // A chunk without choices has what the answer took.
        None => ["usage", TIMINGS].iter().any(|name| value(&members, name).is_some_and(Json::is_object)),
    };
    (is_chunk && members.len() <= merge::MAX_PARTS).then_some(members)
}

/// Whether each choice in the chunks has a reason to end.
fn are_finished(chunks: &[Chunk<'_>]) -> bool {
    let mut finished = BTreeMap::new();
    for choice in chunks.iter().filter_map(|(_, chunk)| value(chunk, "choices")).flat_map(Json::items) {
        *finished.entry(merge::index_of(choice)).or_default() |= has_text(choice, "finish_reason");
    }
    !finished.is_empty() && finished.values().all(|is_finished| *is_finished)
}

fn value<'j, 'a>(members: &'j [Member<'a>], name: &str) -> Option<&'j Json<'a>> {
    members.iter().find(|member| member.name == name).map(|member| &member.value)
}

pub(super) fn value_mut<'j, 'a>(members: &'j mut [Member<'a>], name: &str) -> Option<&'j mut Json<'a>> {
    members.iter_mut().find(|member| member.name == name).map(|member| &mut member.value)
}

/// Whether a request wants JSON for the answer's text: by `response_format`
/// (platform.openai.com/docs/guides/structured-outputs), or by a schema in the member that vLLM
/// (`guided_json`) or llama.cpp (`json_schema`) has for it.
pub(super) fn wants_json(body: &Json<'_>) -> bool {
    is_json_format(body.get("response_format")) || has(body, "guided_json") || has(body, "json_schema")
}
