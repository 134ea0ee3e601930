//! The inputs of a request: where each is in the body, and the request with only some of them.

use std::ops::Range;

use bytes::Bytes;

use crate::{
    dialect::api::has,
    json::{Json, Parser, splice::Splicer},
};

/// The members that hold the inputs; a request has one of them.
const MEMBERS: [&str; 2] = ["input", "prompt"];

/// The inputs of a request, in its own order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// The member that holds them.
    member: &'static str,
    /// Where that member's value is in the body.
    span: Range<usize>,
    /// Whether it is a list of inputs.
    is_list: bool,
    /// Where each input is in the body.
    places: Vec<Range<usize>>,
}

impl Inputs {
    /// Finds the inputs of a request. `None` if it has none, or if the answer to one input alone may be
    /// another one.
    pub(crate) fn find(body: &[u8], json: &Json<'_>) -> Option<Self> {
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
        let places = if is_list { elements(body, &span)? } else { vec![span.clone()] };
        Some(Self { member, span, is_list, places })
    }

    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    /// The members that the inputs do not have in common: their own, and the one that names the user.
    pub(crate) fn unshared_members(&self) -> [&'static str; 2] {
        [self.member, "user"]
    }

    /// The inputs in `json`, where they were found.
    pub(crate) fn values<'j, 't>(&self, json: &'j Json<'t>) -> &'j [Json<'t>] {
        match json.get(self.member) {
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

/// Where the elements of the array at `span` are.
fn elements(body: &[u8], span: &Range<usize>) -> Option<Vec<Range<usize>>> {
    let mut places = Vec::new();
    let note = |parser: &mut Parser<'_>| {
        let place = parser.skip()?;
        places.push(span.start + place.start..span.start + place.end);
        Ok(())
    };
    Parser::over(body.get(span.clone())?, |parser| parser.elements(note)).ok()?;
    Some(places)
}
