//! The inputs of a request: where each is in the body, and the request with only some of them.

use std::ops::Range;

use bytes::Bytes;

use super::{
    apis::BatchApi,
    requests::is_document,
    shape::{BatchLists, Shape},
};
use crate::json::{
    Json, Member, element_spans,
    pointer::{Pointer, Token},
    splice::Splicer,
};

/// The inputs of a request, in its own order.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    holder: Holder,
    /// Where the value that holds them is in the body.
    span: Range<usize>,
    /// Whether it is a list of inputs.
    is_list: bool,
    /// Where each input is in the body.
    places: Vec<Range<usize>>,
    limit: Option<Limit>,
}

/// What holds the inputs.
#[derive(Clone, Debug)]
enum Holder {
    /// A member of a request of this API.
    Member(&'static str, &'static BatchApi),
    /// The list that the route names.
    List(BatchLists),
}

/// What divides a request into its inputs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Division<'r> {
    /// Its API.
    Api(&'static BatchApi),
    /// The lists that the route names.
    Lists(&'r BatchLists),
}

/// The most results that a request wants.
#[derive(Clone, Debug)]
struct Limit {
    /// Where the number is in the body.
    span: Range<usize>,
    results: usize,
}

/// What the inputs of a request do not have in common.
#[derive(Clone, Copy, Debug)]
pub enum Unshared<'a> {
    /// This member, and others of its API.
    Member(&'static str, &'a BatchApi),
    /// The list in this place.
    List(&'a Pointer),
}

impl Unshared<'_> {
    /// The members of the body.
    pub(crate) fn members(&self) -> Vec<&'static str> {
        match self {
            Self::Member(member, api) => [&[*member][..], api.limits, api.unshared].concat(),
            Self::List(_) => Vec::new(),
        }
    }

    /// The parts of each input that pointers into the body lead to.
    pub(crate) fn within_inputs(&self, pointers: &[Pointer]) -> Vec<Pointer> {
        let within =
            |list: &Pointer| pointers.iter().filter_map(|pointer| pointer.within_elements_of(list)).collect();
        match self {
            Self::Member(member, api) if api.has_members(member) => {
                format!("/{member}").parse::<Pointer>().as_ref().map_or_else(|_| Vec::new(), within)
            }
            Self::Member(..) => Vec::new(),
            Self::List(list) => within(list),
        }
    }

    /// Where the text of each input is, if `text` says where the question's is, or else its API.
    pub(crate) fn text_of_inputs(&self, text: Option<&[Pointer]>) -> Vec<Pointer> {
        let Self::Member(_, api) = self else { return self.within_inputs(text.unwrap_or_default()) };
        let is_of_api = |pointer: &Pointer| api.text.contains(&pointer.as_str());
        match text {
            Some(own) if !own.iter().any(is_of_api) => self.within_inputs(own),
            _ => {
                api.input_text.iter().map(|text| text.parse().unwrap_or_else(|_| Pointer::whole())).collect()
            }
        }
    }
}

impl Inputs {
    /// Finds the inputs of a request. `None` if they cannot be found one by one.
    pub(crate) fn find(division: Division<'_>, body: &[u8], json: &Json<'_>) -> Option<Self> {
        match division {
            Division::Api(api) => Self::of_api(api, body, json),
            Division::Lists(lists) => Self::of_lists(lists, body, json),
        }
    }

    /// Finds the inputs of a request of `api`. `None` if it has none, or if the answer to one input alone may be another
    /// one.
    fn of_api(api: &'static BatchApi, body: &[u8], json: &Json<'_>) -> Option<Self> {
        let source = api.source(json)?;
        // Two lists are pairs.
        if source.beside.is_some_and(|beside| !json.get(beside).is_some_and(is_document)) {
            return None;
        }
        // With late chunking, a text's vector depends on its neighbours.
        if json.get("late_chunking").is_some_and(|late| !late.is_null() && late.as_bool() != Some(false)) {
            return None;
        }
        let found = json.member(source.member)?;
        let is_list = !source.form.is_one(&found.value);
        let span = found.span.clone();
        let places = if is_list { element_spans(body, &span)? } else { vec![span.clone()] };
        let limit = api.limit(json)?.map(|(member, results)| Limit { span: member.span.clone(), results });
        Some(Self { holder: Holder::Member(source.member, api), span, is_list, places, limit })
    }

    /// Finds the inputs where the route says they are. `None` if there is no list, or if it is empty.
    fn of_lists(lists: &BatchLists, body: &[u8], json: &Json<'_>) -> Option<Self> {
        let span = member_at(json, &lists.request)?.span.clone();
        let places = element_spans(body, &span).filter(|places| !places.is_empty())?;
        Some(Self { holder: Holder::List(lists.clone()), span, is_list: true, places, limit: None })
    }

    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    /// How its answers are written.
    pub(crate) fn shape(&self) -> Shape {
        match &self.holder {
            Holder::Member(_, api) => Shape::Api(api),
            Holder::List(lists) => Shape::of_lists(lists),
        }
    }

    /// Whether the service may get another body than the client's: some of the inputs, or another limit.
    pub(crate) fn may_be_cut(&self) -> bool {
        self.count() > 1 || self.limit.is_some()
    }

    /// How many results the answer has, if the request wants fewer than it has inputs.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.limit.as_ref().map(|limit| limit.results).filter(|results| *results < self.count())
    }

    /// What the inputs do not have in common: themselves, how many results are wanted, and for some APIs the name of the
    /// user.
    pub(crate) const fn unshared(&self) -> Unshared<'_> {
        match &self.holder {
            Holder::Member(member, api) => Unshared::Member(member, api),
            Holder::List(lists) => Unshared::List(&lists.request),
        }
    }

    /// The inputs in `json`, where they were found.
    pub(crate) fn values<'j, 't>(&self, json: &'j Json<'t>) -> &'j [Json<'t>] {
        let holder = match &self.holder {
            Holder::Member(member, _) => json.get(member),
            Holder::List(lists) => member_at(json, &lists.request).map(|member| &member.value),
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

    /// The request `body`, where the inputs were found, with only the `chosen` ones, in that order, and for a result for
    /// each of them. Every other byte is the client's own.
    pub(crate) fn request(&self, body: &Bytes, chosen: &[usize]) -> Bytes {
        let are_all = chosen.iter().copied().eq(0..self.count());
        if are_all && self.limit().is_none() {
            return body.clone();
        }
        let mut edits = Vec::new();
        if !are_all {
            edits.push((self.span.clone(), self.list_of(body, chosen)));
        }
        if let Some(limit) = &self.limit {
            edits.push((limit.span.clone(), chosen.len().to_string().into_bytes()));
        }
        edits.sort_unstable_by_key(|(span, _)| span.start);
        let mut request = Splicer::new(body);
        edits.into_iter().for_each(|(span, bytes)| request.replace(span, &bytes));
        request.finish().into()
    }

    /// A list of the `chosen` inputs.
    fn list_of(&self, body: &Bytes, chosen: &[usize]) -> Vec<u8> {
        let mut list = vec![b'['];
        for (count, &input) in chosen.iter().enumerate() {
            if count > 0 {
                list.push(b',');
            }
            list.extend_from_slice(&body[self.places[input].clone()]);
        }
        list.push(b']');
        list
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
