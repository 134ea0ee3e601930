//! From the chunks of a stream to one document.

use std::borrow::Cow;

use super::{Names, TIMINGS, chunks, value, value_mut};
use crate::{
    dialect::merge::{self, Members, Rule},
    http::sse,
    json::{Json, Member},
};

/// The members of a chunk besides `choices`: what these have differs by API.
///
/// `created` of some servers (llama.cpp, Ollama) is each chunk's own; the API's clients take the first.
/// Azure begins with a chunk that has prompt annotations only, and "" or 0 for all that it does not know yet
/// (learn.microsoft.com/azure/ai-services/openai/concepts/content-streaming).
const CHUNK: &Members = &Members {
    known: &[
        ("id", Rule::Same),
        ("object", Rule::Same),
        ("created", Rule::First),
        ("model", Rule::Same),
        ("service_tier", Rule::Same),
        ("system_fingerprint", Rule::Same),
        ("usage", Rule::Same),
        (TIMINGS, Rule::Last),
        // Padding against eavesdroppers who measure chunks (`stream_options.include_obfuscation`).
        ("obfuscation", Rule::Dropped),
        ("error", Rule::Refused),
    ],
    other: Rule::Same,
};

/// Azure's filter results, by category. Each part of the text has its own, and only those that agree make
/// one.
pub(in crate::dialect) const FILTER_RESULTS: Rule = Rule::Members(&Members { known: &[], other: Rule::Same });

/// The members of the document that a complete stream with usage says, without `choices`, and the choices,
/// which still have the members that those of a chunk have.
pub(in crate::dialect) fn merged<'a>(
    events: &'a [sse::Event],
    choice: &'static Members,
    names: Names,
) -> Option<(Vec<Member<'a>>, Vec<Json<'a>>)> {
    let mut whole = Vec::new();
    let mut choices = Json::Null;
    let mut others = Others::default();
    let mut count = 0;
    for (_, mut chunk) in chunks(events)? {
        if let Some(place) = chunk.iter().position(|member| member.name == "choices") {
            Rule::Indexed(choice).merge(&mut choices, chunk.remove(place).value)?;
        }
        others.count(&chunk);
        count += 1;
        CHUNK.merge(&mut whole, chunk)?;
    }
    if !others.are_certain(count) {
        return None;
    }
    // A document always has its usage, so a stream without it makes none.
    value(&whole, "usage").filter(|usage| usage.is_object())?;
    match value_mut(&mut whole, "object") {
        Some(object) => match object.as_str() {
            Some(name) if name != names.chunk && !name.is_empty() => return None,
            None if !object.is_null() => return None,
            _ => *object = Json::text(names.whole),
        },
        None => whole.insert(0, Member::new("object", Json::text(names.whole))),
    }
    let Json::Array(mut choices) = choices else { return None };
    choices.sort_by_key(merge::index_of);
    let finished = |choice: &Json<'_>| choice.get("finish_reason").and_then(Json::as_str).is_some();
    (!choices.is_empty() && choices.iter().all(finished)).then_some((whole, choices))
}

/// The document's text.
pub(in crate::dialect) fn write<'a>(mut whole: Vec<Member<'a>>, choices: Vec<Json<'a>>) -> Vec<u8> {
    // The API has them before the usage.
    let place = whole.iter().position(|member| member.name == "usage").unwrap_or(whole.len());
    whole.insert(place, Member::new("choices", Json::Array(choices)));
    let mut out = Vec::new();
    Json::Object(whole).write(&mut out);
    out
}

/// How often unknown members of chunks came, if they are lists or objects. One that came once, or in each
/// chunk, is the document's. One that came now and then may be parts of something.
#[derive(Default)]
struct Others<'a>(Vec<(Cow<'a, str>, usize)>);

impl<'a> Others<'a> {
    fn count(&mut self, chunk: &[Member<'a>]) {
        let others = chunk.iter().filter(|member| !CHUNK.knows(&member.name));
        for member in others.filter(|member| matches!(member.value, Json::Array(_) | Json::Object(_))) {
            match self.0.iter_mut().find(|(name, _)| *name == member.name) {
                Some((_, count)) => *count += 1,
                None => self.0.push((member.name.clone(), 1)),
            }
        }
    }

    fn are_certain(&self, chunks: usize) -> bool {
        self.0.iter().all(|(_, count)| *count == 1 || *count == chunks)
    }
}
