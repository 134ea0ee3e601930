//! The two forms of a completion: chunks are documents themselves, with a part of each text
//! (platform.openai.com/docs/api-reference/completions/object).

use std::ops::Range;

use crate::{
    dialect::{
        events::{Piece, pieces_with_tokens},
        merge::{Members, Rule},
        openai::{
            Names,
            stream::{Choice, Chunks},
            whole::{self, FILTER_RESULTS},
        },
    },
    http::sse,
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

/// Lists with one element a token. Offsets count from the beginning of the text.
const LISTS: [&str; 4] = ["tokens", "token_logprobs", "top_logprobs", "text_offset"];

/// llama.cpp has the log-probabilities of a chat here.
const CONTENT: &str = "content";

const LOGPROBS: &Members = &Members {
    known: &[
        (LISTS[0], Rule::List),
        (LISTS[1], Rule::List),
        (LISTS[2], Rule::List),
        (LISTS[3], Rule::List),
        (CONTENT, Rule::List),
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

/// Whether all lists of a choice's log-probabilities go together. A list that a part of the stream left out
/// would go with the wrong tokens.
fn are_even(choice: &Json<'_>) -> bool {
    let lists = |name| match choice.get("logprobs")?.get(name)? {
        Json::Array(items) => Some(items.len()),
        _ => None,
    };
    let mut lengths = LISTS.into_iter().filter_map(lists);
    let first = lengths.next();
    lengths.all(|length| Some(length) == first)
}

/// The stream that says what a document says: of each choice, its text in pieces, token by token if there are
/// log-probabilities, and then its end.
pub(super) fn to_stream<'a>(whole: &'a Json<'a>, with_usage: bool) -> Option<Vec<u8>> {
    let mut chunks = Chunks::new(whole, NAMES, with_usage)?;
    let choices = Choice::all(whole)?;
    let mut ends = Vec::new();
    for choice in &choices {
        let (texts, others): (Vec<&Member<'_>>, Vec<_>) =
            choice.others.iter().partition(|member| member.name == "text");
        let text = texts.first()?.value.as_str()?;
        let fits = |name, value| CHOICE.rule(name).takes(value);
        let others_fit = others.iter().all(|member| fits(&member.name, &member.value));
        if !others_fit || !choice.logprobs.is_none_or(|logprobs| fits("logprobs", logprobs)) {
            return None;
        }
        for (piece, logprobs) in parts(text, choice.logprobs) {
            chunks.choice(choice.part(("text", Json::text(piece)), logprobs));
        }
        ends.push(choice.last_part(("text", Json::text("")), None, others.into_iter().cloned()));
    }
    for end in ends {
        chunks.choice(end);
    }
    Some(chunks.end())
}

/// The text of a choice in one piece or more, each with the log-probabilities of its tokens. What goes with no
/// piece goes with the first.
fn parts<'a>(text: &'a str, logprobs: Option<&'a Json<'a>>) -> Vec<(&'a str, Option<Json<'a>>)> {
    let tokens = logprobs.and_then(tokens);
    let mut cut = pieces_with_tokens(text, tokens.as_deref().unwrap_or_default());
    if cut.is_empty() {
        cut.push(("", 0..0));
    }
    let is_first = |place| place == 0;
    let with_logprobs = |(place, (piece, own)): (usize, Piece<'a>)| {
        let part = match (logprobs, &tokens) {
            (Some(logprobs), Some(_)) if is_first(place) || !own.is_empty() => {
                Some(share(logprobs, own, is_first(place)))
            }
            (logprobs, _) => logprobs.filter(|_| is_first(place)).cloned(),
        };
        (piece, part)
    };
    cut.into_iter().enumerate().map(with_logprobs).collect()
}

/// The tokens of log-probabilities, if each list has an element for each token; `None` otherwise.
fn tokens<'a>(logprobs: &'a Json<'a>) -> Option<Vec<Option<&'a str>>> {
    let list = |name| logprobs.get(name).filter(|list| matches!(list, Json::Array(_))).map(Json::items);
    let tokens: Vec<_> = match (list(LISTS[0]), list(CONTENT)) {
        (Some(tokens), _) => tokens.iter().map(Json::as_str).collect(),
        (None, content) => content?.iter().map(|item| item.get("token")?.as_str()).collect(),
    };
    let mut lists = LISTS.into_iter().chain([CONTENT]).filter_map(list);
    lists.all(|list| list.len() == tokens.len()).then_some(tokens)
}

/// The log-probabilities of these tokens.
fn share<'a>(logprobs: &Json<'a>, tokens: Range<usize>, with_others: bool) -> Json<'a> {
    let member = |member: &Member<'a>| match &member.value {
        _ if !LISTS.contains(&&*member.name) && member.name != CONTENT => with_others.then(|| member.clone()),
        Json::Array(items) => {
            let own = items.get(tokens.clone()).unwrap_or_default().to_vec();
            Some(Member::new(member.name.clone(), Json::Array(own)))
        }
        _ => Some(member.clone()),
    };
    Json::Object(logprobs.members().iter().filter_map(member).collect())
}
