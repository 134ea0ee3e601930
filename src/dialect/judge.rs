//! Judges a whole answer by its dialect, and finds what it says besides: its tags, and the conversations that
//! it opens.
//!
//! A document is parsed once. An event of a stream is parsed where its dialect looks for the end, and once
//! more if it may have tags or open a conversation.

use bytes::Bytes;
use http::HeaderMap;

use super::{
    answer::{Answer, Document, JudgeOptions, StreamEnd},
    conversation::{Opened, refuse_names},
    name::Dialect,
};
use crate::{
    http::{
        headers::media_type,
        sse::{Event, Framing},
    },
    json::{Json, condition::Condition, pointer::Pointer},
    reason::Reason,
};

impl Dialect {
    /// Judges a whole answer.
    pub fn judge(self, options: JudgeOptions<'_>, headers: &HeaderMap, body: &Bytes) -> Answer {
        let api = self.api();
        let media = media_type(headers).unwrap_or_default();
        let mut extracted = Extracted::new(self.tag_pointers(options.tags), &options);
        let answer = match Framing::from_media_type(&media).events(body) {
            Some(events) => {
                extracted.read_events(&events);
                extracted.read_unparsed(&body[events.last().map_or(0, |event| event.end)..]);
                api.stream(&events, &options)
            }
            None => {
                let document = Document::new(body);
                extracted.read_document(&document);
                if self == Self::Json && !media.ends_with("json") {
                    Answer::opaque()
                } else {
                    api.document(&document, &options)
                }
            }
        };
        extracted.add_to(answer, body)
    }

    /// Whether a stream ends with this event; `end` is what the route says of it.
    pub(crate) fn ends_with(self, event: &Event, end: Option<&StreamEnd>) -> bool {
        self.api().ends_with(event, end)
    }

    fn tag_pointers(self, tags: Option<&[Pointer]>) -> Vec<Pointer> {
        let own = || self.api().tags().iter().filter_map(|pointer| pointer.parse().ok()).collect();
        tags.map_or_else(own, <[Pointer]>::to_vec)
    }
}

/// What an answer says besides what it is worth.
struct Extracted<'a> {
    pointers: Vec<Pointer>,
    tags: Vec<String>,
    /// The conversations that the request names, if the answer may open another one.
    named: Option<&'a [String]>,
    opened: Result<Opened, Reason>,
    conditions: RouteConditions<'a>,
}

/// What the route's own conditions say of an answer, as it is read.
struct RouteConditions<'a> {
    error: &'a [Condition],
    has_error: bool,
    /// The required conditions that nothing has met so far.
    missing: Vec<&'a Condition>,
}

impl<'a> RouteConditions<'a> {
    fn new(options: &JudgeOptions<'a>) -> Self {
        Self { error: options.error, has_error: false, missing: options.require.iter().collect() }
    }

    fn is_empty(&self) -> bool {
        self.error.is_empty() && self.missing.is_empty()
    }

    /// Reads a document, which has no name, or an event.
    fn read(&mut self, name: &str, json: Option<&Json<'_>>) {
        self.has_error |= self.error.iter().any(|condition| condition.holds_in_event(name, json));
        self.missing.retain(|condition| !condition.holds_in_event(name, json));
    }

    fn verdict(&self) -> Result<(), Reason> {
        if self.has_error {
            Err(Reason::AnswerError)
        } else if self.missing.is_empty() {
            Ok(())
        } else {
            Err(Reason::AnswerIncomplete)
        }
    }
}

impl<'a> Extracted<'a> {
    fn new(pointers: Vec<Pointer>, options: &JudgeOptions<'a>) -> Self {
        Self {
            pointers,
            tags: Vec::new(),
            named: options.named,
            opened: Ok(Opened::default()),
            conditions: RouteConditions::new(options),
        }
    }

    fn read_events(&mut self, events: &[Event]) {
        for event in events {
            if !self.pointers.is_empty() || !self.conditions.is_empty() {
                let json = Json::parse(event.data.as_bytes()).ok();
                self.conditions.read(&event.name, json.as_ref());
                json.iter().for_each(|json| self.read_tags(json));
            }
            if let (Some(named), Ok(opened)) = (self.named, &mut self.opened) {
                let read = opened.read_event(event, named);
                self.refuse(read);
            }
        }
    }

    fn read_unparsed(&mut self, rest: &[u8]) {
        if self.named.is_some() {
            self.refuse(refuse_names(rest));
        }
    }

    fn refuse(&mut self, read: Result<(), Reason>) {
        if let Err(reason) = read {
            self.opened = Err(reason);
        }
    }

    fn read_document(&mut self, document: &Document<'_>) {
        if self.pointers.is_empty() && self.named.is_none() && self.conditions.is_empty() {
            return;
        }
        // The dialect needs the document parsed, too, so that a walk over it costs less than a search for
        // names.
        let Some(json) = document.json() else { return self.read_unparsed(document.text) };
        self.conditions.read("", Some(json));
        self.read_tags(json);
        if let (Some(named), Ok(opened)) = (self.named, &mut self.opened) {
            opened.read_document(json, 0, named);
        }
    }

    fn read_tags(&mut self, json: &Json<'_>) {
        self.pointers.iter().for_each(|pointer| pointer.collect(json, &mut self.tags));
    }

    /// Adds this to `answer`, which has `body` for its body.
    fn add_to(self, answer: Answer, body: &Bytes) -> Answer {
        let by_route = self.conditions.verdict();
        let verdict = by_route.and(answer.verdict);
        let answer = Answer { verdict, by_route, tags: self.tags, ..answer };
        match self.opened {
            Ok(opened) if answer.verdict.is_ok() => Answer { without_ids: opened.taken_out(body), ..answer },
            Err(reason) if answer.verdict.is_ok() => Answer { verdict: Err(reason), ..answer },
            _ => answer,
        }
    }
}
