//! From the chunks of a stream to the document that says the same.

use super::{
    parts::{add, are_whole},
    place_of,
    rules::{ANSWER, CANDIDATE, CONTENT},
};
use crate::{
    dialect::{
        api::has_text,
        list::object,
        merge::{MAX_PARTS, members_of},
    },
    http::sse,
    json::{Json, Member},
};

/// The document that a complete stream says; `None` if a chunk says anything that is not known to be a part of it.
pub(super) fn to_whole(events: &[sse::Event]) -> Option<Vec<u8>> {
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    let mut answer = Vec::new();
    for event in events {
        let Json::Object(mut members) = object(event)? else { return None };
        if let Some(place) = members.iter().position(|member| member.name == "candidates") {
            read_candidates(&mut candidates, members.remove(place).value)?;
        }
        ANSWER.merge(&mut answer, members)?;
    }
    candidates.sort_by_key(|candidate| candidate.place);
    let candidates: Vec<_> = candidates.into_iter().map(Candidate::write).collect::<Option<_>>()?;
    if candidates.is_empty() {
        return None;
    }
    answer.insert(0, Member::new("candidates", Json::Array(candidates)));
    let mut out = Vec::new();
    Json::Object(answer).write(&mut out);
    Some(out)
}

fn read_candidates<'e>(candidates: &mut Vec<Candidate<'e>>, of_chunk: Json<'e>) -> Option<()> {
    let elements = match of_chunk {
        Json::Array(elements) => elements,
        Json::Null => Vec::new(),
        _ => return None,
    };
    let mut seen = Vec::new();
    for (place, element) in elements.into_iter().enumerate() {
        let place = place_of(&element, place)?;
        if seen.contains(&place) {
            return None;
        }
        seen.push(place);
        let known = candidates.iter().position(|candidate| candidate.place == place);
        let at = match known {
            Some(at) => at,
            None if candidates.len() == MAX_PARTS => return None,
            None => {
                candidates.push(Candidate { place, ..Candidate::default() });
                candidates.len() - 1
            }
        };
        candidates[at].read(element)?;
    }
    Some(())
}

/// A candidate, as far as the stream has come.
#[derive(Default)]
struct Candidate<'e> {
    place: u64,
    members: Vec<Member<'e>>,
    /// What its content has beside the parts; null if there was no content that is an object.
    content: Option<Json<'e>>,
    parts: Option<Vec<Json<'e>>>,
}

impl<'e> Candidate<'e> {
    fn read(&mut self, element: Json<'e>) -> Option<()> {
        let Json::Object(mut members) = element else { return None };
        if let Some(at) = members.iter().position(|member| member.name == "content") {
            self.read_content(members.remove(at).value)?;
        }
        CANDIDATE.merge(&mut self.members, members)
    }

    fn read_content(&mut self, content: Json<'e>) -> Option<()> {
        let whole = self.content.get_or_insert(Json::Null);
        let mut members = match content {
            Json::Null => return Some(()),
            Json::Object(members) => members,
            _ => return None,
        };
        if let Some(at) = members.iter().position(|member| member.name == "parts" && !member.value.is_null())
        {
            let Json::Array(parts) = members.remove(at).value else { return None };
            add(self.parts.get_or_insert_default(), parts);
        }
        CONTENT.merge(members_of(whole)?, members)
    }

    /// `None` if the candidate has not ended.
    fn write(self) -> Option<Json<'e>> {
        let Self { members, content, parts, .. } = self;
        let mut candidate = Json::Object(members);
        if !has_text(&candidate, "finishReason") || !are_whole(parts.as_deref().unwrap_or_default()) {
            return None;
        }
        if let Some(mut content) = content {
            if let Some(parts) = parts {
                content.set("parts", Json::Array(parts));
            }
            candidate.set("content", content);
        }
        Some(candidate)
    }
}
