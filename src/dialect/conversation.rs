//! Conversations: which requests name one, and answers that open one.

use std::ops::Range;

use bytes::Bytes;

use super::{
    Pointer,
    sse::{Event, Framing},
};
use crate::{json::Json, policy::Reason};

/// The members that name a conversation by a text or a number.
const IDS: [&str; 3] = ["conversation_id", "session_id", "thread_id"];
/// The member that names one by a text, or by an object with an `id`.
const OBJECT: &str = "conversation";

/// The conversations that a request's body names, but for those in members that `ignore` leaves out of the key:
/// whoever wrote that says that they change no answer.
pub fn conversations(body: &Json<'_>, ignore: &[Pointer]) -> Vec<String> {
    let ignores = |name: &str| ignore.iter().any(|pointer| pointer.as_str().strip_prefix('/') == Some(name));
    let ids = ids(body).into_iter().filter(|id| !ignores(id.name));
    let text = |value: &Json<'_>| match value {
        Json::String(text) => text.to_string(),
        Json::Number(number) => number.to_string(),
        // Some other value that means something to the service: not to us, and so the same for all.
        _ => String::new(),
    };
    ids.map(|id| text(id.value)).collect()
}

/// A conversation's id in a body.
struct Id<'a> {
    /// The member at the top that it is in.
    name: &'static str,
    value: &'a Json<'a>,
    /// Where it is in the text that the body was read from.
    span: Range<usize>,
}

fn ids<'a>(json: &'a Json<'a>) -> Vec<Id<'a>> {
    let by_name = IDS.into_iter().filter_map(|name| Some((name, json.member(name)?)));
    // Many a client says with an empty text that there is none yet.
    let is_blank = |value: &Json<'_>| matches!(value, Json::String(text) if text.trim().is_empty());
    let mut ids: Vec<_> = by_name
        .filter(|(_, member)| matches!(member.value, Json::String(_) | Json::Number(_)))
        .map(|(name, member)| Id { name, value: &member.value, span: member.span.clone() })
        .collect();
    let object = json.member(OBJECT).and_then(|member| match &member.value {
        Json::Object(_) => member.value.member("id").filter(|id| !id.value.is_null()),
        Json::String(_) => Some(member),
        _ => None,
    });
    ids.extend(object.map(|id| Id { name: OBJECT, value: &id.value, span: id.span.clone() }));
    ids.retain(|id| !is_blank(id.value));
    ids
}

/// Where the ids are in the text that `json` was read from.
fn id_spans(json: &Json<'_>) -> Vec<Range<usize>> {
    ids(json).into_iter().map(|id| id.span).collect()
}

/// Where an answer, or a part of it, tells the ids of a conversation that it opens.
#[derive(Debug, Default)]
pub(super) struct Opened {
    spans: Vec<Range<usize>>,
}

impl Opened {
    pub(super) fn by_document(&mut self, json: &Json<'_>) {
        self.spans.extend(id_spans(json));
    }

    /// `json` is what was read from the event's data, where it could be.
    ///
    /// # Errors
    /// Where an id cannot be taken out, or there may be one: such an answer is for its own caller only.
    pub(super) fn by_event(&mut self, event: &Event, json: Option<&Json<'_>>) -> Result<(), Reason> {
        let Some(json) = json else { return refuse_names(event.data.as_bytes()) };
        let ids = id_spans(json);
        match &event.span {
            Some(at) => self.spans.extend(ids.into_iter().map(|id| at.start + id.start..at.start + id.end)),
            // The data is on several lines, and what was read is a copy of it.
            None if !ids.is_empty() => return Err(Reason::OpensConversation),
            None => {}
        }
        Ok(())
    }

    /// The body with these ids set to null; `None` where there are none.
    pub(super) fn taken_out(mut self, body: &[u8]) -> Option<Bytes> {
        if self.spans.is_empty() {
            return None;
        }
        self.spans.sort_by_key(|span| span.start);
        Some(with_nulls(body, &self.spans))
    }
}

/// The body with the ids of the conversation that it opens set to null; `None` where it opens none.
///
/// # Errors
/// Where an id cannot be taken out, or there may be one in what cannot be read.
pub(super) fn without_opened(framing: Framing, body: &[u8]) -> Result<Option<Bytes>, Reason> {
    let mut opened = Opened::default();
    let mut read_to = 0;
    match framing.events(body) {
        Some(events) => {
            for event in events {
                opened.by_event(&event, Json::parse(event.data.as_bytes()).ok().as_ref())?;
                read_to = event.end;
            }
        }
        None => {
            if let Ok(json) = Json::parse(body) {
                opened.by_document(&json);
                read_to = body.len();
            }
        }
    }
    // A last event without its end, or no events and no document at all.
    refuse_names(&body[read_to..])?;
    Ok(opened.taken_out(body))
}

/// # Errors
/// Where `unread` has the name of a member that names a conversation, as JSON writes one.
pub(super) fn refuse_names(unread: &[u8]) -> Result<(), Reason> {
    let is_member = |after: &[u8]| after.trim_ascii_start().starts_with(b":");
    let has = |name: &str| {
        let quoted = format!("\"{name}\"");
        let windows = unread.windows(quoted.len()).enumerate();
        let mut found = windows.filter(|(_, window)| *window == quoted.as_bytes());
        found.any(|(at, _)| is_member(&unread[at + quoted.len()..]))
    };
    if IDS.into_iter().chain([OBJECT]).any(has) { Err(Reason::OpensConversation) } else { Ok(()) }
}

fn with_nulls(body: &[u8], spans: &[Range<usize>]) -> Bytes {
    let mut out = Vec::with_capacity(body.len());
    let mut at = 0;
    for span in spans {
        out.extend_from_slice(&body[at..span.start]);
        out.extend_from_slice(b"null");
        at = span.end;
    }
    out.extend_from_slice(&body[at..]);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nulled(framing: Framing, body: &'static str) -> Option<String> {
        let body = Bytes::from_static(body.as_bytes());
        without_opened(framing, &body)
            .expect("ids on one line")
            .map(|out| String::from_utf8(out.to_vec()).expect("UTF-8"))
    }

    #[test]
    fn requests_name_conversations() {
        for (text, expected) in [
            (r#"{"query":"q","conversation_id":"c"}"#, &["c"][..]),
            (r#"{"query":"q","session_id":7,"thread_id":"t"}"#, &["7", "t"]),
            (r#"{"query":"q","conversation":{"id":"c"}}"#, &["c"]),
            (r#"{"query":"q","conversation":"c"}"#, &["c"]),
            (r#"{"query":"q","conversation_id":null}"#, &[]),
            (r#"{"query":"q","conversation":{}}"#, &[]),
            (r#"{"query":"q","conversation_id":"","session_id":" ","conversation":{"id":""}}"#, &[]),
            (r#"{"previous_response_id":"r"}"#, &[]),
        ] {
            let json = Json::parse(text.as_bytes()).expect("JSON");
            assert_eq!(conversations(&json, &[]), expected, "{text}");
            let ignore: Vec<Pointer> =
                ["/conversation_id", "/session_id", "/thread_id", "/conversation", "/conversation/id"]
                    .map(|pointer| pointer.parse().expect("a pointer"))
                    .into();
            assert!(conversations(&json, &ignore).is_empty(), "{text}");
        }
    }

    #[test]
    fn opened_ids_are_nulled_and_all_else_is_unchanged() {
        assert_eq!(
            nulled(Framing::Whole, r#"{ "answer" : "a", "conversation_id" : "c\u0031", "session_id":4 }"#)
                .as_deref(),
            Some(r#"{ "answer" : "a", "conversation_id" : null, "session_id":null }"#)
        );
        assert_eq!(
            nulled(Framing::Whole, r#"{"conversation":{"id":"c","turn":1},"answer":"a"}"#).as_deref(),
            Some(r#"{"conversation":{"id":null,"turn":1},"answer":"a"}"#)
        );
        assert_eq!(nulled(Framing::Whole, r#"{"answer":"conversation_id"}"#), None);
        assert_eq!(nulled(Framing::Events, ": hello\n\ndata: [DONE]\n"), None);
        assert_eq!(nulled(Framing::Events, "data: He called it a \"conversation\".\n\n"), None);
        assert_eq!(
            nulled(Framing::Events, "data: {\"thread_id\": \"t\"}\n\ndata: x\n\ndata: [DONE]\n\n").as_deref(),
            Some("data: {\"thread_id\": null}\n\ndata: x\n\ndata: [DONE]\n\n")
        );
        assert_eq!(
            nulled(Framing::Lines, " {\"thread_id\": \"t\"} \r\n{\"a\":1}").as_deref(),
            Some(" {\"thread_id\": null} \r\n{\"a\":1}")
        );
    }

    /// Better nobody but its own caller than anybody with somebody's id.
    #[test]
    fn what_cannot_be_read_and_may_have_an_id_is_refused() {
        for (framing, body) in [
            (Framing::Events, &b"data: {\"thread_id\": \"t\"}\ndata: {\"a\": 1}\n\n"[..]),
            (Framing::Events, b"data: {\"thread_id\": \"t\"}\n"),
            (Framing::Events, b"data: {\"thread_id\": \"t\", \"a\": \"\xff\"}\n\n"),
            (Framing::Events, b"data: {\"thread_id\": \"t\"\n\n"),
            (Framing::Lines, b"{\"a\":1}\n{\"thread_id\": \"t\"\n"),
            (Framing::Lines, b"{\"thread_id\": \"t\", \"a\": \"\xff\"}\n"),
            (Framing::Whole, b"{\"thread_id\": \"t\"}\n{\"a\": 1}\n"),
        ] {
            let told = without_opened(framing, body);
            assert_eq!(told, Err(Reason::OpensConversation), "{framing:?} {}", String::from_utf8_lossy(body));
        }
    }
}
