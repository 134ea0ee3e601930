//! What an answer is worth, and what it tells of itself. A document is read as JSON once, an event of a stream where
//! it ends, and once more where it may tell tags or open a conversation.

use std::cell::OnceCell;

use bytes::Bytes;
use http::HeaderMap;

use super::{
    Ask, Dialect,
    conversation::{Opened, refuse_names},
};
use crate::{
    dialect::usage::Usage,
    http::{
        headers::media_type,
        sse::{Event, Framing},
    },
    json::{Json, pointer::Pointer},
    reason::Reason,
};

/// What an answer is worth, and what it tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is complete and worth keeping, or why not.
    pub verdict: Result<(), Reason>,
    /// The model that gave it.
    pub model: Option<String>,
    /// The tokens it took.
    pub usage: Option<Usage>,
    /// The body for everyone but its own caller, where it opens a conversation: its id set to null.
    pub without_ids: Option<Bytes>,
    /// What it says that it depends on, and perhaps more than once.
    pub tags: Vec<String>,
    /// Whether the dialect's own end was seen, so that a cut would have been noticed without framing.
    pub end_seen: bool,
    /// The word that it ended with, where that is none of the good ones.
    pub end: Option<String>,
}

/// Why an answer is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    /// The word that the answer ended with, where that is the reason.
    pub(super) end: Option<String>,
}

impl Refusal {
    /// Of an answer that ended with `word`, which is none of the good ones.
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
    /// An answer that its dialect sees the end of.
    pub(super) fn new(verdict: Result<(), Refusal>, model: Option<String>, usage: Option<Usage>) -> Self {
        let (verdict, end) = match verdict {
            Ok(()) => (Ok(()), None),
            Err(Refusal { reason, end }) => (Err(reason), end),
        };
        Self { verdict, model, usage, without_ids: None, tags: Vec::new(), end_seen: true, end }
    }

    pub(super) fn not_stored(reason: Reason) -> Self {
        Self::new(Err(reason.into()), None, None)
    }

    /// Bytes that mean nothing here.
    pub fn opaque() -> Self {
        Self { end_seen: false, ..Self::new(Ok(()), None, None) }
    }
}

/// What an answer is judged by besides its dialect.
pub(super) struct Rules<'a> {
    pub(super) ask: &'a Ask,
    pub(super) cache_tool_calls: bool,
    pub(super) stream_end: Option<&'a str>,
    pub(super) good_ends: &'a [String],
}

/// What an answer is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Judging<'a> {
    /// What its request asks for.
    pub ask: &'a Ask,
    /// Whether answers that call tools are stored.
    pub cache_tool_calls: bool,
    /// What the route names as the end of its streams.
    pub stream_end: Option<&'a str>,
    /// Further words that end an answer well.
    pub good_ends: &'a [String],
    /// Where the answer tells what it depends on; `None` leaves it to the dialect.
    pub tags: Option<&'a [Pointer]>,
    /// The conversations that its request names, where the answer may open another one.
    pub named: Option<&'a [String]>,
}

/// An answer that is one document.
pub(super) struct Document<'a> {
    pub(super) text: &'a Bytes,
    json: OnceCell<Option<Json<'a>>>,
}

impl<'a> Document<'a> {
    pub(super) const fn of(text: &'a Bytes) -> Self {
        Self { text, json: OnceCell::new() }
    }

    /// The document as JSON, read when that is asked for first; `None` where it is no JSON.
    pub(super) fn json(&self) -> Option<&Json<'a>> {
        self.json.get_or_init(|| Json::parse(self.text).ok()).as_ref()
    }

    /// The same, but a document of more than `len` bytes is not read.
    pub(super) fn json_up_to(&self, len: usize) -> Option<&Json<'a>> {
        if self.text.len() <= len { self.json() } else { None }
    }
}

impl Dialect {
    /// Judges a whole answer.
    pub fn judge(self, by: Judging<'_>, headers: &HeaderMap, body: &Bytes) -> Answer {
        let Judging { ask, cache_tool_calls, stream_end, good_ends, tags, named } = by;
        let shape = self.shape();
        let rules = Rules { ask, cache_tool_calls, stream_end, good_ends };
        let media = media_type(headers).unwrap_or_default();
        let mut told = Told::new(self.tag_pointers(tags), named);
        let answer = match Framing::of(&media).events(body) {
            Some(events) => {
                told.by_events(&events);
                told.by_rest(&body[events.last().map_or(0, |event| event.end)..]);
                shape.stream(&events, &rules)
            }
            None => {
                let document = Document::of(body);
                told.by_document(&document);
                if self == Self::Json && !media.ends_with("json") {
                    Answer::opaque()
                } else {
                    shape.document(&document, &rules)
                }
            }
        };
        told.beside(answer, body)
    }

    /// Whether a stream ends with this event; `named` is what the route names as the end.
    pub fn ends_with(self, event: &Event, named: Option<&str>) -> bool {
        self.shape().ends_with(event, named)
    }

    fn tag_pointers(self, tags: Option<&[Pointer]>) -> Vec<Pointer> {
        let own = || self.shape().tags().iter().filter_map(|pointer| pointer.parse().ok()).collect();
        tags.map_or_else(own, <[Pointer]>::to_vec)
    }
}

/// What an answer tells besides what it is worth.
struct Told<'a> {
    pointers: Vec<Pointer>,
    tags: Vec<String>,
    /// The conversations that the request names, where the answer may open another one.
    named: Option<&'a [String]>,
    opened: Result<Opened, Reason>,
}

impl<'a> Told<'a> {
    fn new(pointers: Vec<Pointer>, named: Option<&'a [String]>) -> Self {
        Self { pointers, tags: Vec::new(), named, opened: Ok(Opened::default()) }
    }

    fn by_events(&mut self, events: &[Event]) {
        for event in events {
            if !self.pointers.is_empty()
                && let Ok(json) = Json::parse(event.data.as_bytes())
            {
                self.tags_in(&json);
            }
            if let (Some(named), Ok(opened)) = (self.named, &mut self.opened) {
                let read = opened.by_event(event, named);
                self.refuse(read);
            }
        }
    }

    /// What was not read as JSON.
    fn by_rest(&mut self, rest: &[u8]) {
        if self.named.is_some() {
            self.refuse(refuse_names(rest));
        }
    }

    fn refuse(&mut self, read: Result<(), Reason>) {
        if let Err(reason) = read {
            self.opened = Err(reason);
        }
    }

    fn by_document(&mut self, document: &Document<'_>) {
        if self.pointers.is_empty() && self.named.is_none() {
            return;
        }
        // It is read to be judged, too: looking at what was read costs less than a search for names.
        let Some(json) = document.json() else { return self.by_rest(document.text) };
        self.tags_in(json);
        if let (Some(named), Ok(opened)) = (self.named, &mut self.opened) {
            opened.by_document(json, 0, named);
        }
    }

    fn tags_in(&mut self, json: &Json<'_>) {
        self.pointers.iter().for_each(|pointer| pointer.collect(json, &mut self.tags));
    }

    /// `answer`, whose body is `body`, with all of this.
    fn beside(self, answer: Answer, body: &Bytes) -> Answer {
        let answer = Answer { tags: self.tags, ..answer };
        match self.opened {
            Ok(opened) if answer.verdict.is_ok() => Answer { without_ids: opened.taken_out(body), ..answer },
            Err(reason) if answer.verdict.is_ok() => Answer { verdict: Err(reason), ..answer },
            _ => answer,
        }
    }
}
