//! The two forms of a completion: chunks are documents themselves, with a part of each text
//! (platform.openai.com/docs/api-reference/completions/object).

use crate::{
    dialect::{
        openai::{
            Names,
            merge::{Members, Rule},
            stream::{Choice, Chunks},
            whole::{self, FILTER_RESULTS},
        },
        sse,
    },
    json::{Json, Member},
};

const NAMES: Names = Names { whole: "text_completion", chunk: "text_completion" };

const CHOICE: &Members = &Members {
    known: &[
        ("index", Rule::Same),
        ("text", Rule::Text),
        ("finish_reason", Rule::Same),
        ("logprobs", Rule::Members(LOGPROBS)),
        ("content_filter_results", FILTER_RESULTS),
    ],
    other: Rule::Once,
};

/// Lists with one element a token; offsets count from the text's beginning.
const LISTS: [&str; 4] = ["tokens", "token_logprobs", "top_logprobs", "text_offset"];

const LOGPROBS: &Members = &Members {
    known: &[
        (LISTS[0], Rule::List),
        (LISTS[1], Rule::List),
        (LISTS[2], Rule::List),
        (LISTS[3], Rule::List),
        // llama.cpp has those of a chat here.
        ("content", Rule::List),
    ],
    other: Rule::Once,
};

/// The document that says what a complete stream says.
pub(super) fn to_whole(events: &[sse::Event]) -> Option<Vec<u8>> {
    let (whole, choices) = whole::merged(events, CHOICE, NAMES)?;
    let complete =
        |choice: &Json<'_>| choice.get("text").and_then(Json::as_str).is_some() && are_even(choice);
    choices.iter().all(complete).then(|| whole::write(whole, choices))
}

/// Whether all lists of a choice's log-probabilities go together: one that a part of the stream left out would
/// be put to the wrong tokens.
fn are_even(choice: &Json<'_>) -> bool {
    let lists = |name| match choice.get("logprobs")?.get(name)? {
        Json::Array(items) => Some(items.len()),
        _ => None,
    };
    let mut lengths = LISTS.into_iter().filter_map(lists);
    let first = lengths.next();
    lengths.all(|length| Some(length) == first)
}

/// The stream that says what a document says: of each choice, its text in one chunk and its end in another.
pub(super) fn to_stream(whole: &Json<'_>, with_usage: bool) -> Option<Vec<u8>> {
    let mut chunks = Chunks::of(whole, NAMES, with_usage)?;
    let choices = Choice::all(whole)?;
    let mut ends = Vec::new();
    for choice in &choices {
        let (texts, others): (Vec<&Member<'_>>, Vec<_>) =
            choice.others.iter().partition(|member| member.name == "text");
        let text = texts.first().map(|member| &member.value).filter(|text| text.as_str().is_some())?;
        let fits = |name, value| CHOICE.rule(name).takes(value);
        let others_fit = others.iter().all(|member| fits(&member.name, &member.value));
        if !others_fit || !choice.logprobs.is_none_or(|logprobs| fits("logprobs", logprobs)) {
            return None;
        }
        chunks.choice(choice.part(("text", text.clone()), choice.logprobs));
        ends.push(choice.last_part(("text", Json::text("")), None, others.into_iter().cloned()));
    }
    for end in ends {
        chunks.choice(end);
    }
    Some(chunks.end())
}
