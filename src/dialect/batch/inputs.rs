//! The inputs of a request: where each is in the body, and the request with only some of them.

use std::ops::Range;

use bytes::Bytes;

use super::shape::BatchLists;
use crate::{
    dialect::api::has,
    json::{
        Json, Member, element_spans,
        pointer::{Pointer, Token},
        splice::Splicer,
    },
};

/// The members that hold the inputs of a request for embeddings, which has one of them.
const MEMBERS: [&str; 2] = ["input", "prompt"];

/// The inputs of a request, in its own order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inputs {
    holder: Holder,
    /// Where the value that holds them is in the body.
    span: Range<usize>,
    /// Whether it is a list of inputs.
    is_list: bool,
    /// Where each input is in the body.
    places: Vec<Range<usize>>,
}

/// What holds the inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Holder {
    /// A member of a request for embeddings.
    Member(&'static str),
    /// The list that the route names.
    List(Pointer),
}

/// What the inputs of a request do not have in common.
#[derive(Clone, Copy, Debug)]
pub enum Unshared<'a> {
    /// These members.
    Members([&'static str; 2]),
    /// The list in this place.
    List(&'a Pointer),
}

impl Inputs {
    /// Finds the inputs of a request for embeddings. `None` if it has none, or if the answer to one input alone may be
    /// another one.
    pub(crate) fn of_embeddings(body: &[u8], json: &Json<'_>) -> Option<Self> {
        let mut present = MEMBERS.into_iter().filter(|name| has(json, name));
        let (member, None) = (present.next()?, present.next()) else { return None };
        // With late chunking, a text's vector depends on its neighbours.
        if json.get("late_chunking").is_some_and(|late| !late.is_null() && late.as_bool() != Some(false)) {
            return None;
        }
        let found = json.member(member)?;
        let is_list = match &found.value {
            value if is_one(value) => false,
            Json::Array(inputs) => is_several(inputs).then_some(true)?,
            _ => return None,
        };
        let span = found.span.clone();
        let places = if is_list { element_spans(body, &span)? } else { vec![span.clone()] };
        Some(Self { holder: Holder::Member(member), span, is_list, places })
    }

    /// Finds the inputs where the route says they are. `None` if there is no list, or if it is empty.
    pub(crate) fn of_lists(lists: &BatchLists, body: &[u8], json: &Json<'_>) -> Option<Self> {
        let span = member_at(json, &lists.request)?.span.clone();
        let places = element_spans(body, &span).filter(|places| !places.is_empty())?;
        Some(Self { holder: Holder::List(lists.request.clone()), span, is_list: true, places })
    }

    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    /// What the inputs do not have in common: themselves, and for embeddings the name of the user.
    pub(crate) const fn unshared(&self) -> Unshared<'_> {
        match &self.holder {
            Holder::Member(member) => Unshared::Members([member, "user"]),
            Holder::List(list) => Unshared::List(list),
        }
    }

    /// The inputs in `json`, where they were found.
    pub(crate) fn values<'j, 't>(&self, json: &'j Json<'t>) -> &'j [Json<'t>] {
        let holder = match &self.holder {
            Holder::Member(member) => json.get(member),
            Holder::List(list) => member_at(json, list).map(|member| &member.value),
        };
        match holder {
            Some(list) if self.is_list => list.items(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        }
    }

    /// How long each input is in the body, in bytes.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = usize> {
        self.places.iter().map(Range::len)
    }

    /// The request `body`, where the inputs were found, with only the `chosen` ones, in that order. Every
    /// other byte is the client's own.
    pub(crate) fn request(&self, body: &Bytes, chosen: &[usize]) -> Bytes {
        if chosen.iter().copied().eq(0..self.count()) {
            return body.clone();
        }
        let mut request = Splicer::new(body);
        request.replace(self.span.clone(), b"[");
        for (count, &input) in chosen.iter().enumerate() {
            if count > 0 {
                request.add(b",");
            }
            request.add(&body[self.places[input].clone()]);
        }
        request.add(b"]");
        request.finish().into()
    }
}

/// The member at `pointer`, which has names alone.
fn member_at<'j, 't>(json: &'j Json<'t>, pointer: &Pointer) -> Option<&'j Member<'t>> {
    let mut found: Option<&'j Member<'t>> = None;
    for token in pointer.tokens() {
        let Token::Name(name) = token else { return None };
        found = Some(found.map_or(json, |member| &member.value).member(name)?);
    }
    found
}

/// A text, or the numbers of its tokens.
fn is_one(value: &Json<'_>) -> bool {
    match value {
        Json::String(_) => true,
        Json::Array(tokens) => !tokens.is_empty() && tokens.iter().all(is_number),
        _ => false,
    }
}

/// Texts, or lists of tokens, but not both.
fn is_several(inputs: &[Json<'_>]) -> bool {
    !inputs.is_empty()
        && inputs.iter().all(is_one)
        && inputs.iter().all(|input| is_list(input) == is_list(&inputs[0]))
}

const fn is_number(value: &Json<'_>) -> bool {
    matches!(value, Json::Number(_))
}

const fn is_list(value: &Json<'_>) -> bool {
    matches!(value, Json::Array(_))
}
