//! The parts of a candidate's content: how a stream cuts them, and how they become whole again.
//!
//! A part of a chunk goes on with the last part before it if both are mere text of the same kind, and if it is the first
//! of its chunk. Two parts of one chunk are two parts. So a stream can say whatever parts there are. A part with a
//! signature stays as it is: its place among the parts counts (ai.google.dev/gemini-api/docs/thought-signatures).

use crate::{
    dialect::{api::has, events::pieces},
    json::Json,
};

/// Adds the parts of a chunk to those before.
pub(super) fn add<'a>(whole: &mut Vec<Json<'a>>, chunk: Vec<Json<'a>>) {
    for (place, part) in chunk.into_iter().enumerate() {
        match whole.last_mut() {
            Some(last) if place == 0 && is_same_kind(last, &part) => append(last, &part),
            _ => whole.push(part),
        }
    }
}

/// The parts as they come in chunks: each text in pieces, and everything else as it is.
pub(super) fn in_chunks<'a>(parts: &[Json<'a>]) -> Vec<Vec<Json<'a>>> {
    let mut chunks: Vec<Vec<_>> = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        let mut pieces = cut(part).into_iter();
        let goes_on = place.checked_sub(1).is_some_and(|before| is_same_kind(&parts[before], part));
        // In a chunk of its own, it would go on with the part before.
        if let (true, Some(chunk)) = (goes_on, chunks.last_mut()) {
            chunk.extend(pieces.next());
        }
        chunks.extend(pieces.map(|piece| vec![piece]));
    }
    chunks
}

/// The text of a part that is nothing else, and may be a thought.
pub(super) fn mere_text<'j>(part: &'j Json<'_>) -> Option<&'j str> {
    let is_text = |name: &str| matches!(name, "text" | "thought");
    part.members().iter().all(|member| is_text(&member.name)).then(|| part.get("text")?.as_str())?
}

/// The part with another text.
pub(super) fn with_text<'a>(part: &Json<'a>, text: &str) -> Json<'a> {
    let mut part = part.clone();
    part.set("text", Json::text(text.to_owned()));
    part
}

/// Whether these parts are the same in a stream and in a document. The arguments of a call may come in pieces of their
/// own (`partialArgs`), and so may a sound or a film, of which a document has one; nobody says how these are put together.
pub(super) fn are_whole(parts: &[Json<'_>]) -> bool {
    let is_in_pieces = |part: &Json<'_>| {
        let call = part.get("functionCall");
        call.is_some_and(|call| has(call, "partialArgs") || has(call, "willContinue"))
    };
    let is_film = |part: &&Json<'_>| {
        let media = part.get("inlineData").map(|data| data.get("mimeType").and_then(Json::as_str));
        media.is_some_and(|media| !media.unwrap_or_default().starts_with("image/"))
    };
    !parts.iter().any(is_in_pieces) && parts.iter().filter(is_film).count() < 2
}

fn is_same_kind(one: &Json<'_>, other: &Json<'_>) -> bool {
    mere_text(one).is_some() && mere_text(other).is_some() && one.get("thought") == other.get("thought")
}

/// Adds the text of `part` to that of `whole`.
fn append(whole: &mut Json<'_>, part: &Json<'_>) {
    let Json::Object(members) = whole else { return };
    let text = members.iter_mut().find(|member| member.name == "text").map(|member| &mut member.value);
    if let (Some(Json::String(text)), Some(more)) = (text, mere_text(part)) {
        text.to_mut().push_str(more);
    }
}

fn cut<'a>(part: &Json<'a>) -> Vec<Json<'a>> {
    match mere_text(part) {
        Some(text) if !text.is_empty() => pieces(text).map(|piece| with_text(part, piece)).collect(),
        _ => vec![part.clone()],
    }
}
