//! What an answer is worth, and what it says about itself.

use std::cell::OnceCell;

use bytes::Bytes;

use super::{
    ask::Ask,
    batch::BatchLists,
    conversation::{Opens, RequestIds, TakenOut},
    usage::Usage,
};
use crate::{
    json::{Json, condition::Condition, pointer::Pointer},
    reason::Reason,
};

/// What ends the streams of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// An event with this name, this data, or this for its `type`; further to the dialect's own ends.
    Named(String),
    /// An event for which this holds, and no other.
    Event(Condition),
    /// The end of the body, if the body's framing shows that it is whole.
    Eof,
}

/// What an answer is worth, and what it says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is complete and worth storing, or why not.
    pub verdict: Result<(), Reason>,
    /// The model that gave it.
    pub(crate) model: Option<String>,
    /// The tokens that it took.
    pub(crate) usage: Option<Usage>,
    /// The body for everyone but the client that asked, if it has ids of that client.
    pub(crate) for_others: Option<TakenOut>,
    /// What the answer says that it depends on. One tag may be there more than once.
    pub(crate) tags: Vec<String>,
    /// What the route's own conditions say of it, whatever its status.
    pub(crate) by_route: Result<(), Reason>,
    /// Whether the dialect's own end was seen, so that a cut would have been noticed without framing.
    pub(crate) end_seen: bool,
    /// The word that the answer ended with, if that is not a good one.
    pub(crate) end: Option<String>,
    /// Whether nothing shows that a model made it: it may be how a service says that its model is down.
    pub(crate) is_unproven: bool,
}

/// Why an answer is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    reason: Reason,
    /// The word that the answer ended with, if that is the reason.
    end: Option<String>,
}

impl Refusal {
    /// The answer ended with `word`, which is not a good one.
    pub(super) fn unknown_end(word: &str) -> Self {
        Self { reason: Reason::UnknownEnd, end: Some(word.to_owned()) }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, end: None }
    }
}

impl Answer {
    /// An answer whose end its dialect has seen.
    pub(super) fn new(verdict: Result<(), Refusal>, model: Option<String>, usage: Option<Usage>) -> Self {
        let (verdict, end) = match verdict {
            Ok(()) => (Ok(()), None),
            Err(Refusal { reason, end }) => (Err(reason), end),
        };
        Self {
            verdict,
            model,
            usage,
            for_others: None,
            tags: Vec::new(),
            by_route: Ok(()),
            end_seen: true,
            end,
            is_unproven: false,
        }
    }

    pub(super) fn not_stored(reason: Reason) -> Self {
        Self::new(Err(reason.into()), None, None)
    }

    /// Bytes that mean nothing here.
    pub(crate) fn opaque() -> Self {
        Self { end_seen: false, ..Self::new(Ok(()), None, None) }
    }
}

/// What an answer is judged by, besides its dialect.
#[derive(Clone, Copy, Debug)]
pub struct JudgeOptions<'a> {
    /// What its request asks for.
    pub(crate) ask: &'a Ask,
    /// The lists that the route cuts answers at.
    pub(crate) batch: Option<&'a BatchLists>,
    /// Whether answers that call tools are stored.
    pub(crate) cache_tool_calls: bool,
    /// What the route says that is an error.
    pub(crate) error: &'a [Condition],
    /// What the route says that must be there.
    pub(crate) require: &'a [Condition],
    /// What the route says that ends its streams.
    pub(crate) stream_end: Option<&'a StreamEnd>,
    /// Further words that end an answer well.
    pub(crate) good_ends: &'a [String],
    /// Where the answer names what it depends on; `None` leaves it to the dialect.
    pub(crate) tags: Option<&'a [Pointer]>,
    /// The ids of the request, and where the answer has its own, if it may open a conversation.
    pub(crate) ids: Option<(RequestIds<'a>, &'a Opens)>,
}

/// Failures are parsed only up to this length, in bytes, where answers need not be JSON: reports of a failure are short.
const LARGEST_FAILURE: usize = 64 * 1024;

/// An answer that is one document.
pub(super) struct Document<'a> {
    pub(super) text: &'a Bytes,
    /// Its media type, in lower case and without parameters; empty if it says none.
    pub(super) media: &'a str,
    json: OnceCell<Option<Json<'a>>>,
}

impl<'a> Document<'a> {
    pub(super) const fn new(text: &'a Bytes, media: &'a str) -> Self {
        Self { text, media, json: OnceCell::new() }
    }

    /// The document as JSON, parsed at the first call; `None` if it is no JSON.
    pub(super) fn json(&self) -> Option<&Json<'a>> {
        self.json.get_or_init(|| Json::parse(self.text).ok()).as_ref()
    }

    /// The document as JSON, if it is as short as the report of a failure.
    pub(super) fn json_of_failure(&self) -> Option<&Json<'a>> {
        if self.text.len() <= LARGEST_FAILURE { self.json() } else { None }
    }
}
