//! What an answer is worth, and what it tells of itself. A document is read as JSON once, an event of a stream where
//! it ends, and once more where it may tell tags or open a conversation.

use std::cell::OnceCell;

use bytes::Bytes;
use http::HeaderMap;

use super::{
    Ask, Dialect, Pointer,
    conversation::{Opened, refuse_names},
    sse::{Event, Framing},
};
use crate::{entry::Usage, headers::media_type, json::Json, policy::Reason, route::Route};

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
}

impl Answer {
    /// An answer that its dialect sees the end of.
    pub(super) fn new(verdict: Result<(), Reason>, model: Option<String>, usage: Option<Usage>) -> Self {
        Self { verdict, model, usage, without_ids: None, tags: Vec::new(), end_seen: true }
    }

    pub(super) fn not_stored(reason: Reason) -> Self {
        Self::new(Err(reason), None, None)
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

    /// It as JSON, read when that is asked for first; `None` where it is none.
    pub(super) fn json(&self) -> Option<&Json<'a>> {
        self.json.get_or_init(|| Json::parse(self.text).ok()).as_ref()
    }
}

impl Dialect {
    /// Judges a whole answer.
    pub fn judge(self, ask: &Ask, route: &Route, headers: &HeaderMap, body: &Bytes) -> Answer {
        let shape = self.shape();
        let rules =
            Rules { ask, cache_tool_calls: route.cache_tool_calls, stream_end: route.stream_end.as_deref() };
        let media = media_type(headers).unwrap_or_default();
        let mut told = Told::new(self.tag_pointers(route), self.may_open(ask));
        let answer = match Framing::of(&media).events(body) {
            Some(events) => {
                told.by_events(&events);
                told.by_rest(&body[events.last().map_or(0, |event| event.end)..]);
                shape.stream(&events, &rules)
            }
            None => {
                let document = Document::of(body);
                told.by_document(&document);
                if self == Self::None || (self == Self::Json && !media.ends_with("json")) {
                    Answer::opaque()
                } else {
                    shape.document(&document, &rules)
                }
            }
        };
        told.beside(answer, body)
    }

    fn tag_pointers(self, route: &Route) -> Vec<Pointer> {
        let own = || self.shape().tags().iter().filter_map(|pointer| pointer.parse().ok()).collect();
        route.tags.clone().unwrap_or_else(own)
    }
}

/// What an answer tells besides what it is worth.
struct Told {
    pointers: Vec<Pointer>,
    tags: Vec<String>,
    /// The conversation that it opens, where it may.
    opened: Option<Result<Opened, Reason>>,
}

impl Told {
    fn new(pointers: Vec<Pointer>, may_open: bool) -> Self {
        Self { pointers, tags: Vec::new(), opened: may_open.then(|| Ok(Opened::default())) }
    }

    fn by_events(&mut self, events: &[Event]) {
        if self.pointers.is_empty() && self.opened.is_none() {
            return;
        }
        for event in events {
            let json = Json::parse(event.data.as_bytes()).ok();
            if let Some(json) = &json {
                self.tags_in(json);
            }
            if let Some(Ok(opened)) = &mut self.opened {
                let read = opened.by_event(event, json.as_ref());
                self.refuse(read);
            }
        }
    }

    /// What stands behind the last whole event.
    fn by_rest(&mut self, rest: &[u8]) {
        if let Some(Ok(_)) = &self.opened {
            self.refuse(refuse_names(rest));
        }
    }

    fn refuse(&mut self, read: Result<(), Reason>) {
        if let Err(reason) = read {
            self.opened = Some(Err(reason));
        }
    }

    fn by_document(&mut self, document: &Document<'_>) {
        if self.pointers.is_empty() && self.opened.is_none() {
            return;
        }
        let Some(json) = document.json() else { return };
        self.tags_in(json);
        if let Some(Ok(opened)) = &mut self.opened {
            opened.by_document(json);
        }
    }

    fn tags_in(&mut self, json: &Json<'_>) {
        self.pointers.iter().for_each(|pointer| pointer.collect(json, &mut self.tags));
    }

    /// `answer`, whose body is `body`, with all of this.
    fn beside(self, answer: Answer, body: &Bytes) -> Answer {
        let answer = Answer { tags: self.tags, ..answer };
        match self.opened {
            Some(Ok(opened)) if answer.verdict.is_ok() => {
                Answer { without_ids: opened.taken_out(body), ..answer }
            }
            Some(Err(reason)) if answer.verdict.is_ok() => Answer { verdict: Err(reason), ..answer },
            _ => answer,
        }
    }
}
