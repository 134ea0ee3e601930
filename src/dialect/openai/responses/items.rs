//! The events of each item of a response's output.

use super::writer::StreamWriter;
use crate::{
    dialect::events::{Event, altered, pieces, pieces_with_tokens},
    json::Json,
};

/// Where a part of an item is. Every event about it says so.
#[derive(Clone, Copy)]
struct ItemPosition<'a> {
    item: &'a str,
    output_index: usize,
    /// The name and the number of the part.
    part: Option<(&'static str, usize)>,
}

impl<'a> ItemPosition<'a> {
    fn part(self, name: &'static str, number: usize) -> Self {
        Self { part: Some((name, number)), ..self }
    }

    fn event<'o>(&self, stream: &'o mut StreamWriter, name: &str) -> Event<'o> {
        let event = stream.event(name).text("item_id", self.item).number("output_index", self.output_index);
        match self.part {
            Some((name, number)) => event.number(name, number),
            None => event,
        }
    }
}

/// Writes all events of an item; `None` if they are not known.
pub(super) fn write(output_index: usize, item: &Json<'_>, stream: &mut StreamWriter) -> Option<()> {
    let place = ItemPosition { item: item.get("id")?.as_str()?, output_index, part: None };
    let added = |stream: &mut StreamWriter, item: &Json<'_>| {
        stream
            .event("response.output_item.added")
            .number("output_index", output_index)
            .member("item", item)
            .end();
    };
    match item.get("type")?.as_str()? {
        "message" => {
            added(stream, &begun(item, &["content"]));
            write_message(place, item, stream)?;
        }
        "reasoning" => {
            added(stream, &begun(item, &["summary", "content"]));
            write_reasoning(place, item, stream)?;
        }
        "function_call" => {
            added(stream, &begun(item, &["arguments"]));
            write_pieces(place, "function_call_arguments", "arguments", item, stream)?;
        }
        "custom_tool_call" => {
            added(stream, &begun(item, &["input"]));
            write_pieces(place, "custom_tool_call_input", "input", item, stream)?;
        }
        kind @ ("web_search_call" | "file_search_call") => {
            // The events of a search that failed are not documented.
            if item.get("status")?.as_str()? != "completed" {
                return None;
            }
            added(stream, &begun(item, &[]));
            for step in ["in_progress", "searching", "completed"] {
                place.event(stream, &format!("response.{kind}.{step}")).end();
            }
        }
        // These have no events of their own.
        "computer_call" | "local_shell_call" | "mcp_approval_request" => added(stream, &begun(item, &[])),
        _ => return None,
    }
    stream.event("response.output_item.done").number("output_index", output_index).member("item", item).end();
    Some(())
}

/// The item at its start, without these members, which its events have.
fn begun<'a>(item: &Json<'a>, streamed: &[&str]) -> Json<'a> {
    altered(item, |member| match &*member.name {
        "status" => member.value.as_str().map(|_| Json::text("in_progress")),
        name => streamed.contains(&name).then(|| emptied(&member.value)),
    })
}

fn emptied<'a>(value: &Json<'a>) -> Json<'a> {
    match value {
        Json::String(_) => Json::text(""),
        Json::Array(_) => Json::Array(Vec::new()),
        other => other.clone(),
    }
}

/// A part of an item at its start.
fn begun_part<'a>(part: &Json<'a>) -> Json<'a> {
    altered(part, |member| {
        matches!(&*member.name, "text" | "refusal" | "annotations" | "logprobs")
            .then(|| emptied(&member.value))
    })
}

/// A list that may be missing or null; `None` if it is anything else.
fn list<'a>(json: &'a Json<'a>, name: &str) -> Option<&'a [Json<'a>]> {
    match json.get(name) {
        None | Some(Json::Null) => Some(&[]),
        Some(Json::Array(items)) => Some(items),
        Some(_) => None,
    }
}

/// A text that may be null, and then has no events; `None` if it is anything else.
fn text_of<'a>(json: &'a Json<'a>, name: &str) -> Option<Option<&'a str>> {
    match json.get(name)? {
        Json::Null => Some(None),
        text => text.as_str().map(Some),
    }
}

fn write_message(place: ItemPosition<'_>, item: &Json<'_>, stream: &mut StreamWriter) -> Option<()> {
    for (index, part) in list(item, "content")?.iter().enumerate() {
        let place = place.part("content_index", index);
        place.event(stream, "response.content_part.added").member("part", &begun_part(part)).end();
        match part.get("type")?.as_str()? {
            "output_text" => write_text(place, part, stream)?,
            "refusal" => write_pieces(place, "refusal", "refusal", part, stream)?,
            _ => return None,
        }
        place.event(stream, "response.content_part.done").member("part", part).end();
    }
    Some(())
}

fn write_text(place: ItemPosition<'_>, part: &Json<'_>, stream: &mut StreamWriter) -> Option<()> {
    let text = text_of(part, "text")?;
    let logprobs = list(part, "logprobs")?;
    let tokens: Vec<_> = logprobs.iter().map(|logprob| logprob.get("token").and_then(Json::as_str)).collect();
    for (piece, tokens) in pieces_with_tokens(text.unwrap_or_default(), &tokens) {
        let event = place.event(stream, "response.output_text.delta").text("delta", piece);
        let logprobs = logprobs.get(tokens).unwrap_or_default();
        event.member("logprobs", &Json::Array(logprobs.to_vec())).end();
    }
    for (index, annotation) in list(part, "annotations")?.iter().enumerate() {
        let event = place.event(stream, "response.output_text.annotation.added");
        event.number("annotation_index", index).member("annotation", annotation).end();
    }
    if let Some(text) = text {
        let event = place.event(stream, "response.output_text.done").text("text", text);
        event.member("logprobs", &Json::Array(logprobs.to_vec())).end();
    }
    Some(())
}

/// Writes `response.STEM.delta` for each piece of the text under `name`, and then `response.STEM.done` with
/// the whole text under the same name, as the API has it, however long that is.
fn write_pieces(
    place: ItemPosition<'_>,
    stem: &str,
    name: &'static str,
    part: &Json<'_>,
    stream: &mut StreamWriter,
) -> Option<()> {
    let Some(text) = text_of(part, name)? else { return Some(()) };
    for piece in pieces(text) {
        place.event(stream, &format!("response.{stem}.delta")).text("delta", piece).end();
    }
    place.event(stream, &format!("response.{stem}.done")).text(name, text).end();
    Some(())
}

fn write_reasoning(place: ItemPosition<'_>, item: &Json<'_>, stream: &mut StreamWriter) -> Option<()> {
    for (index, part) in list(item, "summary")?.iter().enumerate() {
        if part.get("type")?.as_str()? != "summary_text" {
            return None;
        }
        let place = place.part("summary_index", index);
        place.event(stream, "response.reasoning_summary_part.added").member("part", &begun_part(part)).end();
        write_pieces(place, "reasoning_summary_text", "text", part, stream)?;
        place.event(stream, "response.reasoning_summary_part.done").member("part", part).end();
    }
    for (index, part) in list(item, "content")?.iter().enumerate() {
        if part.get("type")?.as_str()? != "reasoning_text" {
            return None;
        }
        let place = place.part("content_index", index);
        place.event(stream, "response.content_part.added").member("part", &begun_part(part)).end();
        write_pieces(place, "reasoning_text", "text", part, stream)?;
        place.event(stream, "response.content_part.done").member("part", part).end();
    }
    Some(())
}
