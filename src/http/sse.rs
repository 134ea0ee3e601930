//! Server-sent events (WHATWG HTML, section 9.2.6) and newline-delimited JSON.
//!
//! Some services send lines of JSON and call them server-sent events. A client of such events would take a line
//! `{"a": 1}` for a field of an unknown name, so no real event has one: here it is an event of its own.
//!
//! Written by hand, since events here have their place in the stream: where the data is, and where the event
//! ends. The crates for event sources give neither, and without both no id could be taken out of a stream
//! whose every other byte stays as it was.

use std::{borrow::Cow, ops::Range};

use http::HeaderMap;
use memchr::{memchr, memchr2};

use crate::http::headers::media_type;

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Empty if the event has no name.
    pub name: String,
    /// The data lines, joined by newlines.
    pub data: String,
    /// Where the data is in the stream, in bytes, if it is on one line there, and in UTF-8.
    pub span: Option<Range<usize>>,
    /// Where the event ends in the stream, in bytes.
    pub end: usize,
    /// Whether it has a name and no data. A client of server-sent events never sees such an event, but services
    /// end streams with them.
    pub is_name_only: bool,
}

/// Reads server-sent events as they arrive, in whatever pieces.
#[derive(Debug, Default)]
pub struct EventDecoder {
    line: Vec<u8>,
    /// The offset in the stream of the line's first byte.
    line_at: usize,
    at: usize,
    /// Whether the last byte was a carriage return: a newline behind it ends no further line.
    after_cr: bool,
    event: Event,
    has_data: bool,
}

impl EventDecoder {
    /// Reads more; `emit` gets each event that is whole now.
    pub fn feed(&mut self, mut bytes: &[u8], mut emit: impl FnMut(Event)) {
        if !bytes.is_empty() && std::mem::take(&mut self.after_cr) {
            bytes = self.skip_newline(bytes);
        }
        while let Some(len) = memchr2(b'\n', b'\r', bytes) {
            let (part, rest) = bytes.split_at(len);
            self.at += len + 1;
            if self.line.is_empty() {
                self.end_line(part, &mut emit);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(part);
                self.end_line(&line, &mut emit);
            }
            bytes = &rest[1..];
            if rest[0] == b'\r' {
                self.after_cr = bytes.is_empty();
                bytes = self.skip_newline(bytes);
            }
        }
        self.line.extend_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Skips the newline that ends the same line as the carriage return before it.
    fn skip_newline<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let Some(rest) = bytes.strip_prefix(b"\n") else { return bytes };
        self.at += 1;
        self.line_at = self.at;
        rest
    }

    fn end_line(&mut self, line: &[u8], emit: &mut impl FnMut(Event)) {
        let start = std::mem::replace(&mut self.line_at, self.at);
        if line.is_empty() {
            let event = Event { end: self.at, ..std::mem::take(&mut self.event) };
            match std::mem::take(&mut self.has_data) {
                true => emit(event),
                false if !event.name.is_empty() => emit(Event { is_name_only: true, ..event }),
                false => {}
            }
            return;
        }
        let is_between_events = !self.has_data && self.event.name.is_empty();
        if is_between_events && is_json_line(line) {
            emit(Event { end: self.at, ..line_event(line, start).unwrap_or_default() });
            return;
        }
        // A byte order mark may begin the stream.
        let skipped = if start == 0 && line.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let (name, value) = match memchr(b':', &line[skipped..]) {
            Some(colon) => (skipped..skipped + colon, skipped + colon + 1..line.len()),
            None => (skipped..line.len(), line.len()..line.len()),
        };
        let skip = usize::from(line.get(value.start) == Some(&b' '));
        let value = value.start + skip..value.end;
        self.field(&line[name], &line[value.clone()], start + value.start..start + value.end);
    }

    fn field(&mut self, name: &[u8], value: &[u8], span: Range<usize>) {
        let text = lossy(value);
        let is_utf8 = matches!(text, Cow::Borrowed(_));
        match name {
            b"event" => self.event.name = text.into_owned(),
            b"data" if self.has_data => {
                self.event.data.push('\n');
                self.event.data.push_str(&text);
                self.event.span = None;
            }
            b"data" => {
                self.event.data = text.into_owned();
                self.event.span = is_utf8.then_some(span);
                self.has_data = true;
            }
            _ => {}
        }
    }
}

/// Replaces what is not UTF-8. Most texts are UTF-8, which one fast look shows.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// What divides a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Nothing: it is one document.
    Whole,
    /// Server-sent events.
    Events,
    /// Lines, each a JSON document.
    Lines,
    /// Nothing, but it comes piece by piece: a text while it is made.
    Text,
}

impl Framing {
    /// Whether the body is read while it is made.
    pub(crate) const fn is_stream(self) -> bool {
        !matches!(self, Self::Whole)
    }

    /// The framing of a media type (lower case, without parameters).
    pub fn from_media_type(media: &str) -> Self {
        match media {
            "text/event-stream" => Self::Events,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Self::Lines,
            _ => Self::Whole,
        }
    }

    /// The framing of a body with these headers, if nothing else says it.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        Self::from_media_type(&media_type(headers).unwrap_or_default())
    }

    /// Reads a stream as it arrives; `None` if the body is no stream.
    pub(crate) fn decoder(self) -> Option<StreamDecoder> {
        match self {
            Self::Whole | Self::Text => None,
            Self::Events => Some(StreamDecoder::Events(EventDecoder::default())),
            Self::Lines => Some(StreamDecoder::Lines(LineDecoder::default())),
        }
    }

    /// The events of a whole body that a client sees; `None` if it is no stream.
    pub fn events(self, body: &[u8]) -> Option<Vec<Event>> {
        let mut events = self.all_events(body)?;
        events.retain(|event| !event.is_name_only);
        Some(events)
    }

    /// The events of a whole body, those without data too; `None` if it is no stream.
    pub(crate) fn all_events(self, body: &[u8]) -> Option<Vec<Event>> {
        match self {
            Self::Whole | Self::Text => None,
            Self::Events => Some(decode(body)),
            Self::Lines => Some(decode_lines(body)),
        }
    }

    /// Where the last whole event ends in a part of a stream that begins with an event.
    pub(crate) fn events_end(self, part: &[u8]) -> usize {
        let ends: &[&[u8]] = match self {
            Self::Whole | Self::Text => &[],
            Self::Events if part.trim_ascii_start().starts_with(b"{") => &[b"\n"],
            Self::Events => &[b"\n\n", b"\r\n\r\n", b"\r\r"],
            Self::Lines => &[b"\n"],
        };
        let last =
            |end: &&[u8]| part.windows(end.len()).rposition(|window| window == *end).map(|at| at + end.len());
        ends.iter().filter_map(last).max().unwrap_or(0)
    }
}

/// The events of a whole stream.
pub(crate) fn decode(body: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    EventDecoder::default().feed(body, |event| events.push(event));
    events
}

/// The lines of a whole stream of newline-delimited JSON, as events without a name.
pub(crate) fn decode_lines(body: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut at = 0;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        events.extend(line_event(line, at));
        at += line.len();
    }
    events
}

/// Whether a line is one whole JSON object, by its looks.
fn is_json_line(line: &[u8]) -> bool {
    line.first() == Some(&b'{') && line.trim_ascii_end().last() == Some(&b'}')
}

/// The event of a line that begins at `at` in the stream; `None` if the line is blank.
fn line_event(line: &[u8], at: usize) -> Option<Event> {
    let document = line.trim_ascii();
    let start = at + line.len() - line.trim_ascii_start().len();
    let data = lossy(document);
    let span = matches!(data, Cow::Borrowed(_)).then(|| start..start + document.len());
    (!data.is_empty()).then(|| Event {
        name: String::new(),
        data: data.into_owned(),
        span,
        end: at + line.len(),
        is_name_only: false,
    })
}

/// Reads newline-delimited JSON as it arrives, in whatever pieces.
#[derive(Debug, Default)]
pub(crate) struct LineDecoder {
    line: Vec<u8>,
    /// The offset in the stream of the line's first byte.
    line_at: usize,
}

impl LineDecoder {
    fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(Event)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.end_line(&mut emit);
            }
        }
    }

    fn end_line(&mut self, emit: &mut impl FnMut(Event)) {
        line_event(&self.line, self.line_at).into_iter().for_each(emit);
        self.line_at += self.line.len();
        self.line.clear();
    }
}

/// Reads a stream of either framing as it arrives.
#[derive(Debug)]
pub(crate) enum StreamDecoder {
    /// Server-sent events.
    Events(EventDecoder),
    /// Lines of JSON.
    Lines(LineDecoder),
}

impl StreamDecoder {
    /// Reads more; `emit` gets each event that is whole now.
    pub(crate) fn feed(&mut self, bytes: &[u8], emit: impl FnMut(Event)) {
        match self {
            Self::Events(decoder) => decoder.feed(bytes, emit),
            Self::Lines(decoder) => decoder.feed(bytes, emit),
        }
    }

    /// Reads the rest at the end of the stream: the last line needs no newline.
    pub(crate) fn finish(&mut self, mut emit: impl FnMut(Event)) {
        if let Self::Lines(decoder) = self {
            decoder.end_line(&mut emit);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    fn pairs(body: &str) -> Vec<(String, String)> {
        let events = Framing::Events.events(body.as_bytes()).expect("a stream");
        events.into_iter().map(|event| (event.name, event.data)).collect()
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        assert_eq!(
            pairs("data: a\ndata:b\n\n: comment\n\nevent: x\ndata\n\n"),
            [event("", "a\nb"), event("x", "")]
        );
        assert_eq!(pairs("event: lost\n\ndata: kept\r\n\r\n"), [event("", "kept")]);
        assert_eq!(pairs("\u{feff}data:  two\r\r"), [event("", " two")]);
        let lost = &decode(b"event: lost\n\n")[0];
        assert_eq!((lost.name.as_str(), lost.is_name_only), ("lost", true));
        assert_eq!(pairs("data: unfinished\n"), []);
        assert_eq!(pairs("id: 1\nretry: 5\ndatax: no\n\n"), []);
    }

    #[test]
    fn spans_are_where_the_data_is() {
        let body = "event: a\r\ndata: first\r\n\r\ndata:second\n\ndata: x\ndata: y\n\n";
        let spans: Vec<_> = decode(body.as_bytes()).into_iter().map(|event| event.span).collect();
        assert_eq!(&body[spans[0].clone().expect("one line")], "first");
        assert_eq!(&body[spans[1].clone().expect("one line")], "second");
        assert_eq!(spans[2], None);
    }

    #[test]
    fn data_that_is_not_as_it_stands_has_no_place() {
        let body = b"data: {\"a\":\"\xff\"}\n\ndata: {}\n\n";
        let spans: Vec<_> = decode(body).into_iter().map(|event| event.span).collect();
        assert_eq!(spans, [None, Some(23..25)]);
        let lines = b" {\"a\":1} \r\n{\"a\":\"\xff\"}\n{}";
        let spans: Vec<_> = decode_lines(lines).into_iter().map(|event| event.span).collect();
        assert_eq!(spans, [Some(1..8), None, Some(21..23)]);
    }

    #[test]
    fn lines_of_json_among_events_are_events() {
        let body = "{\"a\":1}\n{\"b\": 2} \r\n\n{\n\"c\"\n}\ndata: {\"d\":4}\n{\"not\":1}\n\nevent: x\n{\"y\":1}\n\n";
        let events = decode(body.as_bytes());
        let seen: Vec<_> = events.iter().filter(|event| !event.is_name_only).collect();
        let data: Vec<_> = seen.iter().map(|event| event.data.as_str()).collect();
        assert_eq!(data, ["{\"a\":1}", "{\"b\": 2}", "{\"d\":4}"]);
        for event in seen {
            assert_eq!(body[event.span.clone().expect("one line")], event.data);
        }
        assert_eq!(events[0].end, 8);
        assert_eq!(Framing::Events.events_end(b"{\"a\":1}\n{\"b\""), 8);
        assert_eq!(Framing::Events.events_end(b"{\"a\":1"), 0);
    }

    #[test]
    fn whole_events_are_told_from_the_rest() {
        for (part, end) in
            [("data: a", 0), ("data: a\n\nda", 9), ("data: a\r\n\r\n", 11), ("a\n\nb\n\nc\n", 6)]
        {
            assert_eq!(Framing::Events.events_end(part.as_bytes()), end, "{part:?}");
        }
    }

    #[test]
    fn lines_are_events() {
        let events = decode_lines(b"{\"a\":1}\r\n\n{\"b\":2}");
        let data: Vec<_> = events.iter().map(|event| event.data.as_str()).collect();
        assert_eq!(data, [r#"{"a":1}"#, r#"{"b":2}"#]);
    }

    proptest! {
        #[test]
        fn split_at_every_byte_the_same_events(
            body in r"((data|event|id|x|\{\}|\{|)(:| |: )?[a-c:]{0,3}\}?(\r\n|\n|\r)){0,12}"
        ) {
            let whole = decode(body.as_bytes());
            for cut in 0..=body.len() {
                let (mut decoder, mut events) = (EventDecoder::default(), Vec::new());
                decoder.feed(&body.as_bytes()[..cut], |event| events.push(event));
                decoder.feed(&body.as_bytes()[cut..], |event| events.push(event));
                prop_assert_eq!(&events, &whole);
            }
            let (mut decoder, mut events) = (EventDecoder::default(), Vec::new());
            for byte in body.as_bytes() {
                decoder.feed(&[*byte], |event| events.push(event));
            }
            prop_assert_eq!(events, whole);
        }

        #[test]
        fn lines_split_at_every_byte_are_the_same(body in r"( |a|\{\}|é|\r|\n){0,12}") {
            let whole = decode_lines(body.as_bytes());
            for cut in 0..=body.len() {
                let mut decoder = StreamDecoder::Lines(LineDecoder::default());
                let mut events = Vec::new();
                decoder.feed(&body.as_bytes()[..cut], |event| events.push(event));
                decoder.feed(&body.as_bytes()[cut..], |event| events.push(event));
                decoder.finish(|event| events.push(event));
                prop_assert_eq!(&events, &whole);
            }
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            decode(&bytes);
            decode_lines(&bytes);
        }
    }
}
