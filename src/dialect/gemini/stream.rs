//! From a document to the stream that says the same: chunks with all candidates, the texts in pieces.
//!
//! A chunk has each candidate in its place, though some may have nothing more to say: clients take the first one of each
//! chunk for the answer.

use std::ops::Range;

use super::{
    parts::{are_whole, in_chunks, mere_text, with_text},
    place_of,
    rules::{ANSWER, CANDIDATE, CONTENT, IDENTITY, LOGPROBS, TOKEN_LISTS},
};
use crate::{
    dialect::{api::has_text, events::by_token, usage::read_usage_metadata},
    json::{Json, Member},
};

/// The chunks of the stream that says the document `whole`; `None` if no stream is known to say it. A stream without its
/// usage is not complete.
pub(super) fn to_chunks<'a>(whole: &Json<'a>) -> Option<Vec<Json<'a>>> {
    read_usage_metadata(whole)?;
    let candidates = whole.get("candidates")?.items();
    let candidates: Vec<_> =
        candidates.iter().enumerate().map(|(place, own)| Told::new(place, own)).collect::<Option<_>>()?;
    let count = candidates.iter().map(|told| told.chunks.len()).max()?.max(1);
    let (mut opening, mut ending) = (Vec::new(), Vec::new());
    let mut identity = Vec::new();
    for member in whole.members() {
        let list = match &*member.name {
            "candidates" => continue,
            "promptFeedback" => &mut opening,
            name if IDENTITY.contains(&name) => &mut identity,
            _ => &mut ending,
        };
        ANSWER.rule(&member.name).takes(&member.value).then_some(())?;
        list.push(member.clone());
    }
    let chunk = |number: usize| {
        let is_last = number + 1 == count;
        let of_chunk = candidates.iter().map(|told| told.candidate(number, is_last)).collect();
        let mut chunk = vec![Member::new("candidates", Json::Array(of_chunk))];
        chunk.extend(opening.iter().filter(|_| number == 0).cloned());
        chunk.extend(ending.iter().filter(|_| is_last).cloned());
        chunk.extend_from_slice(&identity);
        Json::Object(chunk)
    };
    Some((0..count).map(chunk).collect())
}

/// A candidate as the chunks have it.
struct Told<'a> {
    /// The parts in each chunk, and the log-probabilities of their tokens.
    chunks: Vec<(Vec<Json<'a>>, Option<Json<'a>>)>,
    /// What is in every chunk with some of its content.
    role: Option<Member<'a>>,
    /// What the content has besides, in the first chunk. `None` if there is no content.
    content: Option<Json<'a>>,
    has_parts: bool,
    /// The only part, if there is one alone.
    only: Option<Json<'a>>,
    index: Option<Member<'a>>,
    /// What is in the last chunk.
    ending: Vec<Member<'a>>,
}

impl<'a> Told<'a> {
    fn new(place: usize, candidate: &Json<'a>) -> Option<Self> {
        if !has_text(candidate, "finishReason") || place_of(candidate, place)? != place as u64 {
            return None;
        }
        let mut told = Self {
            chunks: Vec::new(),
            role: None,
            content: None,
            has_parts: false,
            only: None,
            index: None,
            ending: Vec::new(),
        };
        for member in candidate.members() {
            match &*member.name {
                "content" => told.read_content(&member.value)?,
                name => {
                    CANDIDATE.rule(name).takes(&member.value).then_some(())?;
                    let is_index = name == "index";
                    if is_index {
                        told.index = Some(member.clone())
                    } else {
                        told.ending.push(member.clone())
                    }
                }
            }
        }
        told.tell_tokens();
        Some(told)
    }

    fn read_content(&mut self, content: &Json<'a>) -> Option<()> {
        let mut others = Vec::new();
        for member in content.members() {
            match (&*member.name, &member.value) {
                ("parts", Json::Array(parts)) => {
                    if !parts.iter().all(Json::is_object) || !are_whole(parts) {
                        return None;
                    }
                    self.has_parts = true;
                    self.only = <&[_; 1]>::try_from(&parts[..]).ok().map(|[only]| only.clone());
                    self.chunks = in_chunks(parts).into_iter().map(|chunk| (chunk, None)).collect();
                }
                ("parts", value) if !value.is_null() => return None,
                ("role", value) if !value.is_null() => self.role = Some(member.clone()),
                (name, value) => {
                    CONTENT.rule(name).takes(value).then_some(())?;
                    others.push(member.clone());
                }
            }
        }
        self.content = Some(match content {
            Json::Null => Json::Null,
            Json::Object(_) => Json::Object(others),
            _ => return None,
        });
        Some(())
    }

    /// Gives each token's log-probabilities to the piece with that token, if the tokens are the text. Otherwise the last
    /// chunk has them all.
    fn tell_tokens(&mut self) {
        let Some(at) = self.ending.iter().position(|member| member.name == LOGPROBS) else { return };
        let lists = TOKEN_LISTS.map(|name| self.ending[at].value.get(name).map(Json::items));
        let [Some(chosen), top] = lists else { return };
        if chosen.is_empty() || top.is_some_and(|top| top.len() != chosen.len()) {
            return;
        }
        let tokens: Vec<_> = chosen.iter().map(|item| item.get("token").and_then(Json::as_str)).collect();
        let Some(only) = &self.only else { return };
        let text = mere_text(only).filter(|text| !text.is_empty());
        let Some(cut) = text.and_then(|text| by_token(text, &tokens)) else { return };
        let own = |range: Range<usize>| {
            let slices = TOKEN_LISTS
                .into_iter()
                .zip(lists)
                .filter_map(|(name, items)| Some((name, Json::Array(items?.get(range.clone())?.to_vec()))));
            (!range.is_empty()).then(|| Json::object(slices))
        };
        self.chunks =
            cut.into_iter().map(|(piece, range)| (vec![with_text(only, piece)], own(range))).collect();
        let rest = self.ending[at].value.members().iter();
        let rest: Vec<_> = rest.filter(|member| !TOKEN_LISTS.contains(&&*member.name)).cloned().collect();
        if rest.is_empty() {
            self.ending.remove(at);
        } else {
            self.ending[at].value = Json::Object(rest);
        }
    }

    /// The candidate in the chunk `number`.
    fn candidate(&self, number: usize, is_last: bool) -> Json<'a> {
        let mut members = Vec::new();
        let parts = self.chunks.get(number);
        let content = self.content.as_ref().filter(|_| number == 0 || parts.is_some());
        members.extend(content.map(|content| Member::new("content", self.content(content, number))));
        let tokens = parts.and_then(|(_, tokens)| tokens.clone());
        members.extend(self.index.clone());
        if is_last {
            members.extend_from_slice(&self.ending);
        }
        let mut candidate = Json::Object(members);
        if let Some(mut tokens) = tokens {
            for member in candidate.get(LOGPROBS).map_or(&[][..], Json::members).to_vec() {
                tokens.set(member.name, member.value);
            }
            candidate.set(LOGPROBS, tokens);
        }
        candidate
    }

    fn content(&self, content: &Json<'a>, number: usize) -> Json<'a> {
        if content.is_null() {
            return Json::Null;
        }
        let mut members = Vec::new();
        let parts = self.chunks.get(number).map(|(parts, _)| parts.clone());
        if self.has_parts {
            members.push(Member::new("parts", Json::Array(parts.unwrap_or_default())));
        }
        members.extend(self.role.clone());
        members.extend(content.members().iter().filter(|_| number == 0).cloned());
        Json::Object(members)
    }
}
