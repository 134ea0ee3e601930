//! The ids of an answer that were made for its client, and the answer for everyone else.

mod edit;

use std::ops::Range;

use bytes::Bytes;

use super::{
    Id, Instead, NAMES, Opens, OwnId, Skipped, find, is_conversation_name,
    slot::{EMPTY, Slot, SlotFill, fresh},
};
use crate::{
    dialect::{api::is_one_of, client_info},
    http::sse::Event,
    json::{
        Json, Member, element_spans,
        pointer::{Pointer, Token},
        splice::Splicer,
    },
    reason::Reason,
};

pub(in crate::dialect) use self::edit::IdEdit;

/// The ids that a request brings along. An answer that repeats them opens no conversation with them.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestIds<'a> {
    /// The conversations that it names.
    named: &'a [String],
    /// The ids that are not in its key.
    own: &'a [OwnId],
}

impl<'a> RequestIds<'a> {
    pub(crate) const fn new(named: &'a [String], own: &'a [OwnId]) -> Self {
        Self { named, own }
    }
}

/// Finds the ids in an answer, as it is read.
#[derive(Debug)]
pub(in crate::dialect) struct IdReader<'a> {
    request: RequestIds<'a>,
    opens: &'a Opens,
    found: Vec<FoundId>,
}

#[derive(Debug)]
struct FoundId {
    /// Where it is in the body.
    span: Range<usize>,
    /// Whether it is an element of a list. It is the value of a member otherwise.
    is_element: bool,
    kind: FoundKind,
}

#[derive(Debug)]
enum FoundKind {
    /// It was made for the client; its text, if it is one.
    Made(Option<String>),
    /// It repeats this one of the request's own ids.
    Repeated(usize),
    /// It repeats what the request says of its client.
    Echo,
}

/// An answer for everyone but its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TakenOut {
    pub(crate) body: Bytes,
    pub(crate) slots: Vec<Slot>,
}

impl<'a> IdReader<'a> {
    pub(in crate::dialect) const fn new(request: RequestIds<'a>, opens: &'a Opens) -> Self {
        Self { request, opens, found: Vec::new() }
    }

    /// Notes the ids in the document `json`, which has this `text` and begins at `start` of the body.
    ///
    /// # Errors
    /// `opens-conversation` if an id cannot be taken out.
    pub(in crate::dialect) fn read_document(
        &mut self,
        json: &Json<'_>,
        text: &[u8],
        start: usize,
    ) -> Result<(), Reason> {
        let found = match &self.opens.pointers {
            Some(pointers) => self.at_pointers(pointers, json, text)?,
            None => self.by_known_names(json),
        };
        let echo = |span| FoundId { span, is_element: false, kind: FoundKind::Echo };
        self.found.extend(
            found
                .into_iter()
                .chain(client_info::echoes(json).map(echo))
                .map(|found| FoundId { span: start + found.span.start..start + found.span.end, ..found }),
        );
        Ok(())
    }

    /// Notes the ids in an event of a stream.
    ///
    /// # Errors
    /// `opens-conversation` if an id cannot be taken out, or if there may be one: only the client that asked
    /// may have such an answer.
    pub(in crate::dialect) fn read_event(&mut self, event: &Event) -> Result<(), Reason> {
        let data = event.data.as_bytes();
        if self.opens.pointers.is_none() && !may_name(data) {
            return Ok(());
        }
        let Ok(json) = Json::parse(data) else { return self.read_unparsed(data) };
        let known = self.found.len();
        self.read_document(&json, data, event.span.as_ref().map_or(0, |span| span.start))?;
        // The data is on several lines, so the places of the ids are in a copy of it.
        if event.span.is_none() && self.found.len() > known {
            return Err(Reason::OpensConversation);
        }
        Ok(())
    }

    /// Searches a text that is no JSON.
    ///
    /// # Errors
    /// `opens-conversation` if it has the name of an id, as JSON writes it.
    pub(in crate::dialect) fn read_unparsed(&self, text: &[u8]) -> Result<(), Reason> {
        let quotes: Vec<_> = memchr::memchr_iter(b'"', text).collect();
        let is_id = |name: &str| match &self.opens.pointers {
            None => is_one_of(name, &NAMES),
            Some(pointers) => pointers.iter().any(|pointer| last_name(pointer) == Some(name)),
        };
        let names = |quotes: &[usize]| {
            let [open, close] = [quotes[0], quotes[1]];
            let name = String::from_utf8_lossy(&text[open + 1..close]);
            // An escaped letter may be any.
            (is_id(&name) || client_info::ends_in_echo(name.as_bytes()) || name.contains("\\u00"))
                && text[close + 1..].trim_ascii_start().starts_with(b":")
        };
        if quotes.windows(2).any(names) { Err(Reason::OpensConversation) } else { Ok(()) }
    }

    /// The ids under the known names, if one of them opens a conversation, and those that repeat the request's own.
    fn by_known_names(&self, json: &Json<'_>) -> Vec<FoundId> {
        let mut ids = Vec::new();
        find(json, 0, Skipped::default(), &mut ids);
        let own = |id: &Id<'_>| self.own(id.name, id.text());
        let is_new = |id: &Id<'_>| !self.is_named(id.text()) && own(id).is_none();
        let opens = ids.iter().any(|id| id.names_conversation && is_new(id));
        let found = |id: &Id<'_>| {
            let kind = match own(id) {
                Some(own) => FoundKind::Repeated(own),
                None if opens && is_new(id) => FoundKind::Made(id.value.as_str().map(str::to_owned)),
                None => return None,
            };
            Some(FoundId { span: id.span.clone(), is_element: false, kind })
        };
        ids.iter().filter_map(found).collect()
    }

    fn at_pointers(
        &self,
        pointers: &[Pointer],
        json: &Json<'_>,
        text: &[u8],
    ) -> Result<Vec<FoundId>, Reason> {
        let mut values = Vec::new();
        for pointer in pointers {
            let whole = Place { value: json, name: "", span: 0..text.len(), is_element: false };
            values_at(pointer.tokens(), whole, text, &mut values)?;
        }
        let found = |place: &Place<'_>| {
            let text = match place.value {
                Json::String(text) => Some(&**text),
                Json::Number(number) => Some(*number),
                _ => None,
            };
            let kind = match text.and_then(|text| self.own(place.name, text)) {
                Some(own) => FoundKind::Repeated(own),
                None if text.is_some_and(|text| self.is_named(text)) => return None,
                None => FoundKind::Made(place.value.as_str().map(str::to_owned)),
            };
            Some(FoundId { span: place.span.clone(), is_element: place.is_element, kind })
        };
        Ok(values.iter().filter_map(found).collect())
    }

    fn is_named(&self, text: &str) -> bool {
        self.request.named.iter().any(|named| named == text)
    }

    /// Which of the request's own ids the member `name` repeats.
    fn own(&self, name: &str, text: &str) -> Option<usize> {
        // Any other number may be the same by chance.
        let is_it = |own: &OwnId| own.text == text && is_conversation_name(name);
        self.request.own.iter().position(is_it)
    }

    /// The body for the store; `None` if it stays as it is.
    ///
    /// # Errors
    /// `opens-conversation` if the route says that such an answer is for its client alone.
    pub(in crate::dialect) fn for_store(self, body: &[u8]) -> Result<Option<TakenOut>, Reason> {
        let mut slots = Vec::new();
        let mut new = Vec::new();
        let (instead, own_ids) = (self.opens.instead, self.request.own);
        let fill = |kind: &FoundKind| match kind {
            FoundKind::Repeated(own) => Some(SlotFill::Own(own_ids[*own].name.clone())),
            FoundKind::Made(Some(text)) if instead == Instead::Uuid => {
                let number = new.iter().position(|own| own == text).unwrap_or_else(|| {
                    new.push(text.clone());
                    new.len() - 1
                });
                Some(SlotFill::New(number as u64))
            }
            FoundKind::Made(_) | FoundKind::Echo => None,
        };
        let body = self.replaced(body, fill, |at, fill| {
            slots.push(Slot { at, fill });
            EMPTY.to_vec()
        })?;
        Ok(body.map(|body| TakenOut { body, slots }))
    }

    /// The body, or a part of it, for a follower.
    ///
    /// # Errors
    /// `opens-conversation` if the route says that such an answer is for its client alone.
    fn for_follower(
        self,
        body: &[u8],
        own_ids: &[OwnId],
        new: &mut Vec<(String, String)>,
    ) -> Result<Option<Bytes>, Reason> {
        let (instead, leaders) = (self.opens.instead, self.request.own);
        let fill = |kind: &FoundKind| match kind {
            FoundKind::Repeated(own) => {
                let own = own_ids.iter().find(|id| id.name == leaders[*own].name);
                own.map(|own| own.json.clone().into_bytes())
            }
            FoundKind::Made(Some(text)) if instead == Instead::Uuid => {
                Some(fresh(new, text).as_bytes().to_vec())
            }
            FoundKind::Made(_) | FoundKind::Echo => None,
        };
        self.replaced(body, fill, |_, bytes| bytes)
    }

    /// The body with something else in place of these ids; `None` if there are none. Where `fill` says what that is,
    /// `put` makes the bytes of it, with their offset in the new body.
    fn replaced<F>(
        mut self,
        body: &[u8],
        mut fill: impl FnMut(&FoundKind) -> Option<F>,
        mut put: impl FnMut(usize, F) -> Vec<u8>,
    ) -> Result<Option<Bytes>, Reason> {
        if self.found.is_empty() {
            return Ok(None);
        }
        let is_made = |found: &FoundId| matches!(found.kind, FoundKind::Made(_));
        let is_text = |found: &FoundId| matches!(found.kind, FoundKind::Made(Some(_)));
        if self.opens.instead == Instead::Alone && self.found.iter().any(is_made) {
            return Err(Reason::OpensConversation);
        }
        self.found.sort_by_key(|found| found.span.start);
        // Two pointers may lead to one place, or to one within the other.
        self.found.dedup_by(|later, earlier| later.span.start < earlier.span.end);
        let dropped =
            if self.opens.instead == Instead::Drop { self.members_to_drop(body) } else { Vec::new() };
        let mut dropped = dropped.into_iter().peekable();
        let mut splicer = Splicer::new(body);
        for found in &self.found {
            match fill(&found.kind) {
                Some(filled) => {
                    splicer.replace(found.span.clone(), &[]);
                    let bytes = put(splicer.len(), filled);
                    splicer.add(&bytes);
                }
                None if self.opens.instead == Instead::Drop && is_made(found) => {
                    // One range may be that of several members.
                    if let Some(range) = dropped.next_if(|range| range.start <= found.span.start) {
                        splicer.replace(range, &[]);
                    }
                }
                None if self.opens.instead == Instead::Empty && is_text(found) => {
                    splicer.replace(found.span.clone(), b"\"\"");
                }
                None => splicer.replace(found.span.clone(), EMPTY),
            }
        }
        Ok(Some(splicer.finish().into()))
    }

    /// Where the members with the ids are in `body`, each with one comma if its object has other members.
    fn members_to_drop(&self, body: &[u8]) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for FoundId { span, is_element, kind } in &self.found {
            if !matches!(kind, FoundKind::Made(_)) {
                continue;
            }
            let mut start = if *is_element { span.start } else { name_start(body, span.start) };
            let behind = span.end + leading_space(&body[span.end..]);
            let mut end = span.end;
            if body.get(behind) == Some(&b',') {
                end = behind + 1 + leading_space(&body[behind + 1..]);
            } else {
                // The last member takes the comma before it along, which may be before members that go as well.
                loop {
                    start = body[..start].trim_ascii_end().len();
                    match ranges.last() {
                        Some(range) if range.end >= start && range.start < start => {
                            start = ranges.pop().map_or(start, |range| range.start);
                        }
                        _ => break,
                    }
                }
                if start > 0 && body[start - 1] == b',' {
                    start -= 1;
                }
            }
            ranges.push(start..end);
        }
        ranges
    }
}

/// Where the name of the member begins that has its value at `value`.
fn name_start(body: &[u8], value: usize) -> usize {
    let before = body[..value].trim_ascii_end();
    let before = before.strip_suffix(b":").unwrap_or(before).trim_ascii_end();
    // Within a name, every quote has an odd number of backslashes before it.
    let is_open = |at: &usize| {
        let backslashes = before[..*at].iter().rev().take_while(|byte| **byte == b'\\').count();
        before[*at] == b'"' && backslashes.is_multiple_of(2)
    };
    (0..before.len().saturating_sub(1)).rev().find(is_open).unwrap_or(value)
}

fn leading_space(text: &[u8]) -> usize {
    text.len() - text.trim_ascii_start().len()
}

/// A value in a document.
struct Place<'j> {
    value: &'j Json<'j>,
    /// The name of the member that has it, or that has the list it is in.
    name: &'j str,
    /// Where it is in the text.
    span: Range<usize>,
    is_element: bool,
}

/// Adds the values that a pointer leads to from `place`, null ones aside.
///
/// # Errors
/// `opens-conversation` if it leads to the whole document.
fn values_at<'j>(
    tokens: &[Token],
    place: Place<'j>,
    text: &[u8],
    found: &mut Vec<Place<'j>>,
) -> Result<(), Reason> {
    let Some((first, rest)) = tokens.split_first() else {
        return match place {
            Place { value: Json::Null, .. } => Ok(()),
            Place { name: "", is_element: false, .. } => Err(Reason::OpensConversation),
            place => {
                found.push(place);
                Ok(())
            }
        };
    };
    let index = match (first, place.value) {
        (Token::Name(name), Json::Object(_)) => {
            return place.value.member(name).map_or(Ok(()), |member| {
                let Member { name, value, span } = member;
                values_at(rest, Place { value, name, span: span.clone(), is_element: false }, text, found)
            });
        }
        (Token::Name(name), Json::Array(_)) => name.parse::<usize>().ok(),
        _ => None,
    };
    let is_taken = |at: usize| *first == Token::Any || index == Some(at);
    let items = place.value.items();
    if items.is_empty() {
        return Ok(());
    }
    let spans = element_spans(text, &place.span).ok_or(Reason::OpensConversation)?;
    for (_, (value, span)) in items.iter().zip(spans).enumerate().filter(|(at, _)| is_taken(*at)) {
        values_at(rest, Place { value, name: place.name, span, is_element: true }, text, found)?;
    }
    Ok(())
}

fn last_name(pointer: &Pointer) -> Option<&str> {
    pointer.tokens().iter().rev().find_map(|token| match token {
        Token::Name(name) => Some(name.as_str()),
        Token::Any => None,
    })
}

/// Whether a text of JSON may have a member of one of the known names: all end in `id` behind other letters, or
/// in `ation`, or are what an answer repeats of its client. This costs one search for quotes, where parsing would cost a tree.
fn may_name(text: &[u8]) -> bool {
    let ends_name = |at: usize| match &text[..at] {
        [.., before, b'i' | b'I', b'd' | b'D'] => *before != b'"',
        [.., b'_' | b'-'] => true,
        text if client_info::ends_in_echo(text) => true,
        [.., a, t, i, o, b'n' | b'N'] => {
            let end = [*a, *t, *i, *o];
            end.eq_ignore_ascii_case(b"atio") || end.iter().any(|byte| matches!(byte, b'_' | b'-'))
        }
        _ => false,
    };
    memchr::memchr_iter(b'"', text).any(ends_name) || memchr::memmem::find(text, b"\\u00").is_some()
}

#[cfg(test)]
mod tests;
