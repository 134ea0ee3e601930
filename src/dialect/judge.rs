//! Judges a whole answer by its dialect, and finds what it says besides: its tags, and the conversations that
//! it opens.
//!
//! A document is parsed once. An event of a stream is parsed where its dialect looks for the end, and once
//! more if it may have tags or open a conversation.

use bytes::Bytes;
use http::HeaderMap;

use super::{
    answer::{Answer, Document, JudgeOptions, StreamEnd},
    batch::{Answers, Shape},
    conversation::IdReader,
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
    /// Judges a whole answer, whose body `framing` divides.
    pub fn judge(
        self,
        options: JudgeOptions<'_>,
        framing: Framing,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Answer {
        let api = self.api();
        let mut extracted = Extracted::new(self.tag_pointers(options.tags), &options);
        // The ends of a vendor's streams are events that clients see.
        let events = if self.is_a_vendors() { framing.events(body) } else { framing.all_events(body) };
        let answer = match events {
            Some(events) => {
                extracted.read_events(&events);
                extracted.read_unparsed(&body[events.last().map_or(0, |event| event.end)..]);
                api.stream(&events, &options)
            }
            None => {
                let media = media_type(headers).unwrap_or_default();
                let document = Document::new(body, &media);
                if api.is_list(body) {
                    extracted.read_list(&document);
                } else {
                    extracted.read_document(&document);
                }
                if framing == Framing::Text && body.trim_ascii().is_empty() {
                    Answer::not_stored(Reason::Empty)
                } else if framing == Framing::Text {
                    Self::None.api().document(&document, &options)
                } else if self == Self::Json && !media.ends_with("json") {
                    Answer::opaque()
                } else {
                    api.document(&document, &options)
                }
            }
        };
        extracted.add_to(of_batch(answer, &options, body), body)
    }

    /// Whether a stream ends with this event; `end` is what the route says of it.
    pub(crate) fn ends_with(self, event: &Event, end: Option<&StreamEnd>) -> bool {
        !(event.is_name_only && self.is_a_vendors()) && self.api().ends_with(event, end)
    }

    fn tag_pointers(self, tags: Option<&[Pointer]>) -> Vec<Pointer> {
        let own = || self.api().tags().iter().filter_map(|pointer| pointer.parse().ok()).collect();
        tags.map_or_else(own, <[Pointer]>::to_vec)
    }
}

/// `answer`, which has `body` for its body, if it can be cut at the lists of a batch.
fn of_batch(answer: Answer, options: &JudgeOptions<'_>, body: &Bytes) -> Answer {
    let (Some(lists), 1..) = (options.batch, options.ask.inputs) else { return answer };
    let shape = Shape::of_lists(lists);
    match Answers::read(&shape, body, options.ask) {
        _ if answer.verdict.is_err() => answer,
        Ok(answers) => Answer { model: answers.model, usage: answers.usage, ..answer },
        Err(fault) => Answer { verdict: Err(shape.reason(fault)), ..answer },
    }
}

/// What an answer says besides what it is worth.
struct Extracted<'a> {
    pointers: Vec<Pointer>,
    tags: Vec<String>,
    /// `None` if the answer opens no conversation; a reason if an id cannot be taken out.
    ids: Option<Result<IdReader<'a>, Reason>>,
    conditions: RouteConditions<'a>,
}

/// What the route's own conditions say of an answer, as it is read.
struct RouteConditions<'a> {
    error: &'a [Condition],
    has_error: bool,
    /// The required conditions that nothing has met so far.
    missing: Vec<&'a Condition>,
    /// The conditions on the text of a stream, and that text so far.
    texts: Vec<(&'a Condition, String)>,
}

impl<'a> RouteConditions<'a> {
    fn new(options: &JudgeOptions<'a>) -> Self {
        let all = options.error.iter().chain(options.require);
        let of_text = all.filter(|condition| condition.text_pointer().is_some());
        Self {
            error: options.error,
            has_error: false,
            missing: options.require.iter().collect(),
            texts: of_text.map(|condition| (condition, String::new())).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.error.is_empty() && self.missing.is_empty()
    }

    /// Reads an event of a stream.
    fn read_event(&mut self, name: &str, json: Option<&Json<'_>>) {
        let mut found = Vec::new();
        for (condition, text) in &mut self.texts {
            if let (Some(pointer), Some(json)) = (condition.text_pointer(), json) {
                pointer.collect(json, &mut found);
                found.drain(..).for_each(|part| text.push_str(&part));
            }
        }
        let in_event = |condition: &Condition| {
            condition.text_pointer().is_none() && condition.holds_in_event(name, json)
        };
        self.has_error |= self.error.iter().any(in_event);
        self.missing.retain(|condition| !in_event(condition));
    }

    /// Reads the text of the whole stream.
    fn end_stream(&mut self) {
        for (condition, text) in std::mem::take(&mut self.texts) {
            if condition.holds_for_text(&text) {
                self.has_error |= self.error.iter().any(|own| std::ptr::eq(own, condition));
                self.missing.retain(|own| !std::ptr::eq(*own, condition));
            }
        }
    }

    /// Reads a document.
    fn read(&mut self, json: &Json<'_>) {
        self.has_error |= self.error.iter().any(|condition| condition.holds(json));
        self.missing.retain(|condition| !condition.holds(json));
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
            ids: options.ids.map(|(request, opens)| Ok(IdReader::new(request, opens))),
            conditions: RouteConditions::new(options),
        }
    }

    fn read_events(&mut self, events: &[Event]) {
        for event in events {
            if !self.pointers.is_empty() || !self.conditions.is_empty() {
                let json = Json::parse(event.data.as_bytes()).ok();
                self.conditions.read_event(&event.name, json.as_ref());
                json.iter().for_each(|json| self.read_tags(json));
            }
            self.read_ids(|ids| ids.read_event(event));
        }
        self.conditions.end_stream();
    }

    fn read_unparsed(&mut self, rest: &[u8]) {
        self.read_ids(|ids| ids.read_unparsed(rest));
    }

    fn read_ids(&mut self, read: impl FnOnce(&mut IdReader<'a>) -> Result<(), Reason>) {
        if let Some(Ok(ids)) = &mut self.ids
            && let Err(reason) = read(ids)
        {
            self.ids = Some(Err(reason));
        }
    }

    fn read_document(&mut self, document: &Document<'_>) {
        if self.pointers.is_empty() && self.ids.is_none() && self.conditions.is_empty() {
            return;
        }
        // The dialect needs the document parsed, too, so that a walk over it costs less than a search for
        // names.
        let Some(json) = document.json() else { return self.read_unparsed(document.text) };
        self.conditions.read(json);
        self.read_tags(json);
        self.read_ids(|ids| ids.read_document(json, document.text, 0));
    }

    /// Reads a stream that is one JSON list, each element of it as an event.
    fn read_list(&mut self, document: &Document<'_>) {
        let Some(json) = document.json() else { return self.read_unparsed(document.text) };
        for element in json.items() {
            self.conditions.read_event("", Some(element));
            self.read_tags(element);
            self.read_ids(|ids| ids.read_document(element, document.text, 0));
        }
        self.conditions.end_stream();
    }

    fn read_tags(&mut self, json: &Json<'_>) {
        self.pointers.iter().for_each(|pointer| pointer.collect(json, &mut self.tags));
    }

    /// Adds this to `answer`, which has `body` for its body.
    fn add_to(self, answer: Answer, body: &Bytes) -> Answer {
        let by_route = self.conditions.verdict();
        let verdict = by_route.and(answer.verdict);
        let answer = Answer { verdict, by_route, tags: self.tags, ..answer };
        if answer.verdict.is_err() {
            return answer;
        }
        match self.ids.map(|ids| ids.and_then(|ids| ids.for_store(body))) {
            None | Some(Ok(None)) => answer,
            Some(Ok(for_others)) => Answer { for_others, ..answer },
            Some(Err(reason)) => Answer { verdict: Err(reason), ..answer },
        }
    }
}
