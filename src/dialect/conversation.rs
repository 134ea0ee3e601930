//! Conversations: which ones a request names, and which ones an answer opens.
//!
//! A service that opens a conversation puts its id into the answer. Nobody but the client that asked may have
//! that id, so everyone else gets the answer with a null in its place, and an answer whose ids cannot be
//! found is not stored.

use std::ops::Range;

use bytes::Bytes;

use super::api::is_one_of;
use crate::{
    http::sse::{Event, Framing},
    json::{
        Json, Member,
        pointer::{Pointer, Token},
        splice::Splicer,
    },
    reason::Reason,
};

/// The members that name a conversation, in lower case and without `_` and `-`.
const NAMES: [&str; 7] =
    ["conversationid", CONVERSATION, "sessionid", "threadid", "chatid", "chatsessionid", "parentmessageid"];
/// This one may also be an object with an `id`.
const CONVERSATION: &str = "conversation";
/// In an answer that opens a conversation, these belong to the client that asked, too.
const OWN_IDS: [&str; 3] = ["messageid", "taskid", "runid"];
/// How many members deep a body is searched.
const DEPTH: usize = 4;

/// The conversations that a request's body names. Members that `ignore` leaves out of the key do not count:
/// the route says that they change no answer.
pub(crate) fn conversations(body: &Json<'_>, ignore: &[Pointer]) -> Vec<String> {
    let ignored: Vec<_> = ignore.iter().map(Pointer::tokens).collect();
    let mut ids = Vec::new();
    find(body, 0, &ignored, &mut ids);
    ids.iter().filter(|id| id.names_conversation).map(|id| id.text().to_owned()).collect()
}

/// An id in a body: a text that is not blank, or a number.
struct Id<'j> {
    value: &'j Json<'j>,
    /// Where it is in the body.
    span: Range<usize>,
    /// Whether it names a conversation by itself.
    names_conversation: bool,
}

impl<'j> Id<'j> {
    fn from_member(member: &'j Member<'j>) -> Option<Self> {
        // All names end like this; most members do not.
        if !matches!(member.name.as_bytes().last(), Some(b'd' | b'D' | b'n' | b'N' | b'_' | b'-')) {
            return None;
        }
        let names_conversation = is_one_of(&member.name, &NAMES);
        if !names_conversation && !is_one_of(&member.name, &OWN_IDS) {
            return None;
        }
        let member = match &member.value {
            Json::Object(_) if is_one_of(&member.name, &[CONVERSATION]) => member.value.member("id")?,
            _ => member,
        };
        let has_id = match &member.value {
            // Many clients send an empty text while they have none.
            Json::String(text) => !text.trim().is_empty(),
            Json::Number(_) => true,
            _ => false,
        };
        has_id.then(|| Self { value: &member.value, span: member.span.clone(), names_conversation })
    }

    fn text(&self) -> &'j str {
        match self.value {
            Json::String(text) => text,
            Json::Number(number) => number,
            _ => "",
        }
    }
}

/// Finds the ids in `json`, which is `depth` members deep in its body. `ignored` leads to what is skipped.
fn find<'j>(json: &'j Json<'j>, depth: usize, ignored: &[&[Token]], found: &mut Vec<Id<'j>>) {
    match json {
        Json::Object(members) if depth < DEPTH => {
            for member in members {
                let is_taken = |token: &Token| matches!(token, Token::Name(name) if *name == member.name);
                let below = below(ignored, is_taken);
                if below.iter().all(|rest| !rest.is_empty()) {
                    found.extend(Id::from_member(member));
                    find(&member.value, depth + 1, &below, found);
                }
            }
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let is_taken = |token: &Token| match token {
                    Token::Any => true,
                    Token::Name(name) => name.parse() == Ok(index),
                };
                let below = below(ignored, is_taken);
                if below.iter().all(|rest| !rest.is_empty()) {
                    find(item, depth, &below, found);
                }
            }
        }
        _ => {}
    }
}

/// The rest of the pointers that begin with a step that is taken.
fn below<'t>(pointers: &[&'t [Token]], is_taken: impl Fn(&Token) -> bool) -> Vec<&'t [Token]> {
    let taken = pointers.iter().filter_map(|tokens| tokens.split_first());
    taken.filter(|(first, _)| is_taken(first)).map(|(_, rest)| rest).collect()
}

/// Whether a text of JSON may have a member of one of these names: all end in `id` behind other letters, or
/// in `ation`. This costs one search for quotes, where parsing would cost a tree.
fn may_name(text: &[u8]) -> bool {
    let ends_name = |at: usize| match &text[..at] {
        [.., before, b'i' | b'I', b'd' | b'D'] => *before != b'"',
        [.., b'_' | b'-'] => true,
        [.., a, t, i, o, b'n' | b'N'] => {
            let end = [*a, *t, *i, *o];
            end.eq_ignore_ascii_case(b"atio") || end.iter().any(|byte| matches!(byte, b'_' | b'-'))
        }
        _ => false,
    };
    memchr::memchr_iter(b'"', text).any(ends_name) || memchr::memmem::find(text, b"\\u00").is_some()
}

/// Where an answer has ids that were made for the client that asked.
#[derive(Debug, Default)]
pub(super) struct Opened {
    spans: Vec<Range<usize>>,
}

impl Opened {
    /// Notes the ids in the document `json`, which begins at `start` of the body, if it opens a conversation
    /// that the request did not name.
    pub(super) fn read_document(&mut self, json: &Json<'_>, start: usize, named: &[String]) {
        let mut ids = Vec::new();
        find(json, 0, &[], &mut ids);
        let is_new = |id: &Id<'_>| !named.iter().any(|named| named == id.text());
        if ids.iter().any(|id| id.names_conversation && is_new(id)) {
            let new = ids.into_iter().filter(is_new);
            self.spans.extend(new.map(|id| start + id.span.start..start + id.span.end));
        }
    }

    /// Notes the ids in an event of a stream.
    ///
    /// # Errors
    /// `opens-conversation` if an id cannot be taken out, or if there may be one: only the client that asked
    /// may have such an answer.
    pub(super) fn read_event(&mut self, event: &Event, named: &[String]) -> Result<(), Reason> {
        let data = event.data.as_bytes();
        if !may_name(data) {
            return Ok(());
        }
        let Ok(json) = Json::parse(data) else { return refuse_names(data) };
        let known = self.spans.len();
        self.read_document(&json, event.span.as_ref().map_or(0, |span| span.start), named);
        // The data is on several lines, so the places of the ids are in a copy of it.
        if event.span.is_none() && self.spans.len() > known {
            return Err(Reason::OpensConversation);
        }
        Ok(())
    }

    /// The body with null in place of these ids; `None` if there are none.
    pub(super) fn taken_out(mut self, body: &[u8]) -> Option<Bytes> {
        if self.spans.is_empty() {
            return None;
        }
        self.spans.sort_by_key(|span| span.start);
        let mut splicer = Splicer::new(body);
        for span in self.spans {
            splicer.replace(span, b"null");
        }
        Some(splicer.finish().into())
    }
}

/// The body with null in place of the ids that it opens, but for those that the request `named`; `None` if it
/// opens none.
///
/// # Errors
/// `opens-conversation` if an id cannot be taken out, or if there may be one in a part that cannot be parsed.
pub(super) fn without_opened(
    framing: Framing,
    body: &[u8],
    named: &[String],
) -> Result<Option<Bytes>, Reason> {
    if !may_name(body) {
        return Ok(None);
    }
    let mut opened = Opened::default();
    let mut read_to = 0;
    match framing.events(body) {
        Some(events) => {
            for event in events {
                opened.read_event(&event, named)?;
                read_to = event.end;
            }
        }
        None => {
            if let Ok(json) = Json::parse(body) {
                opened.read_document(&json, 0, named);
                read_to = body.len();
            }
        }
    }
    // A last event without its end, or no events and no document at all.
    refuse_names(&body[read_to..])?;
    Ok(opened.taken_out(body))
}

/// Searches a text that is no JSON.
///
/// # Errors
/// `opens-conversation` if `unread` has the name of such a member, as JSON writes it.
pub(super) fn refuse_names(unread: &[u8]) -> Result<(), Reason> {
    let quotes: Vec<_> = memchr::memchr_iter(b'"', unread).collect();
    let names = |quotes: &[usize]| {
        let [open, close] = [quotes[0], quotes[1]];
        let name = String::from_utf8_lossy(&unread[open + 1..close]);
        // An escaped letter may be any.
        let is_name = is_one_of(&name, &NAMES) || name.contains("\\u00");
        is_name && unread[close + 1..].trim_ascii_start().starts_with(b":")
    };
    if quotes.windows(2).any(names) { Err(Reason::OpensConversation) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nulled(framing: Framing, body: &'static str) -> Option<String> {
        let body = Bytes::from_static(body.as_bytes());
        without_opened(framing, &body, &[])
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

    /// Every known name, in every spelling, wherever it is.
    #[test]
    fn names_count_in_every_spelling_and_place() {
        let spellings = [
            "conversation_id",
            "conversationId",
            "Conversation-ID",
            "sessionId",
            "SESSION_ID",
            "session-id",
            "thread_id",
            "threadId",
            "chat_id",
            "chatId",
            "chat_session_id",
            "chatSessionId",
            "parent_message_id",
            "parentMessageId",
            "conversation",
            "Conversation",
            "session_id_",
        ];
        let places = ["@", r#"{"data":@}"#, r#"{"a":{"b":{"c":@}}}"#, r#"{"a":[[{"b":@}]]}"#, r#"[@]"#];
        for name in spellings {
            for place in places {
                for value in ["\"x\"", "7"] {
                    let text = place.replace('@', &format!(r#"{{"a":1,"{name}":{value}}}"#));
                    let json = Json::parse(text.as_bytes()).expect("JSON");
                    assert_eq!(conversations(&json, &[]), [value.trim_matches('"')], "{text}");
                    let nulled = without_opened(Framing::Whole, text.as_bytes(), &[]);
                    let expected = text.replace(&format!("\"{name}\":{value}"), &format!("\"{name}\":null"));
                    assert_eq!(nulled, Ok(Some(expected.into())), "{text}");
                    let named = [value.trim_matches('"').to_owned()];
                    assert_eq!(without_opened(Framing::Whole, text.as_bytes(), &named), Ok(None), "{text}");
                }
            }
        }
        for text in [
            r#"{"a":{"b":{"c":{"d":{"session_id":"x"}}}}}"#,
            r#"{"session_ids":"x","assertion_id":"y","chat":"z","message_id":"m","run_id":"r","id":"i"}"#,
            r#"{"session_id":true,"thread_id":["t"],"chat_id":{"x":"y"},"conversation":{"x":1}}"#,
        ] {
            let json = Json::parse(text.as_bytes()).expect("JSON");
            assert!(conversations(&json, &[]).is_empty(), "{text}");
            assert_eq!(without_opened(Framing::Whole, text.as_bytes(), &[]), Ok(None), "{text}");
        }
    }

    #[test]
    fn an_ignored_member_names_nothing_below_it_either() {
        let text = br#"{"metadata":{"session_id":"a"},"items":[{"chat_id":"b"}],"chat_id":"c"}"#;
        let json = Json::parse(text).expect("JSON");
        for (ignore, expected) in [
            (&["/metadata"][..], &["b", "c"][..]),
            (&["/metadata/session_id", "/items/*/chat_id"], &["c"]),
            (&["/items/0"], &["a", "c"]),
            (&["/items/1", "/metadata/session"], &["a", "b", "c"]),
        ] {
            let ignore: Vec<Pointer> =
                ignore.iter().map(|pointer| pointer.parse().expect("a pointer")).collect();
            assert_eq!(conversations(&json, &ignore), expected, "{ignore:?}");
        }
    }

    #[test]
    fn ids_beside_an_opened_conversation_go_too() {
        let opens = r#"{"data":{"session_id":"s","message_id":"m"},"run_id":"r","task-id":4}"#;
        assert_eq!(
            nulled(Framing::Whole, opens).as_deref(),
            Some(r#"{"data":{"session_id":null,"message_id":null},"run_id":null,"task-id":null}"#)
        );
        let named = ["s".to_owned()];
        assert_eq!(
            without_opened(Framing::Whole, opens.as_bytes(), &named),
            Ok(None),
            "it repeats what was asked"
        );
    }

    proptest::proptest! {
        /// The search for names misses none that reading finds.
        #[test]
        fn what_may_have_a_name_is_read(
            prefix in "[ -~é]{0,9}", name in proptest::sample::select(&NAMES[..]), capitals: u16, escape: bool,
        ) {
            let name: String = name.chars().enumerate().map(|(place, letter)| match capitals >> (place % 16) & 1 {
                1 => letter.to_ascii_uppercase(),
                _ => letter,
            }).collect();
            let name = if escape { name.replacen('n', "\\u006e", 1).replacen("id", "\\u0069d", 1) } else { name };
            let mut text = Vec::new();
            Json::object([("x", Json::text(prefix))]).write(&mut text);
            text.pop();
            text.extend_from_slice(format!(",\"{name}\":\"v\"}}").as_bytes());
            let opened = without_opened(Framing::Whole, &text, &[]).expect("a document");
            proptest::prop_assert!(opened.is_some(), "{}", String::from_utf8_lossy(&text));
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
            let opened = without_opened(framing, body, &[]);
            assert_eq!(
                opened,
                Err(Reason::OpensConversation),
                "{framing:?} {}",
                String::from_utf8_lossy(body)
            );
        }
    }
}
