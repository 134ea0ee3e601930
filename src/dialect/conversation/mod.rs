//! Conversations: which ones a request names, and which ones an answer opens.
//!
//! A service that opens a conversation puts its id into the answer. Nobody but the client that asked may have
//! that id, so everyone else gets the answer with a null in its place, and an answer whose ids cannot be
//! found is not stored.
//!
//! - This file: which members are ids.
//! - `opened.rs`: which ids of an answer were made for its client, and the answer for everyone else.
//! - `slot.rs`: the places in a stored answer that each hit fills with ids of its own.

mod opened;
mod slot;

use std::{ops::Range, sync::Arc};

pub use self::opened::RequestIds;
pub(super) use self::opened::{IdEdit, IdReader};
pub(crate) use self::{
    opened::TakenOut,
    slot::{Slot, SlotFill, fill},
};
use super::api::is_one_of;
use crate::json::{
    Json, Member,
    canonical::{LeftOut, find_left_out},
    pointer::{Pointer, Token},
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
/// the route says that they change no answer. Nor do those in `left_out`.
pub(crate) fn conversations(body: &Json<'_>, ignore: &[Pointer], left_out: &[LeftOut]) -> Vec<String> {
    let ignored: Vec<_> = ignore.iter().map(Pointer::tokens).collect();
    let mut ids = Vec::new();
    find(body, 0, Skipped { ignored: &ignored, left_out }, &mut ids);
    ids.iter().filter(|id| id.names_conversation).map(|id| id.text().to_owned()).collect()
}

/// What a route says of the conversations that its answers open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opens {
    /// Where the ids are that were made for one client; `None` for the known names.
    pub(crate) pointers: Option<Arc<[Pointer]>>,
    pub(crate) instead: Instead,
}

impl Opens {
    /// Whether the route says that its answers never open one.
    pub(crate) fn is_never(&self) -> bool {
        self.pointers.as_ref().is_some_and(|pointers| pointers.is_empty())
    }
}

/// What everyone but the client that asked gets in place of an id that was made for that client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Instead {
    /// `null`.
    #[default]
    Null,
    /// Nothing: the member goes, too.
    Drop,
    /// `""`; `null` for what is no text.
    Empty,
    /// A new UUID for each client; `null` for what is no text.
    Uuid,
    /// The answer is for that client alone.
    Alone,
}

impl Instead {
    /// The name in settings.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Drop => "drop",
            Self::Empty => "empty",
            Self::Uuid => "uuid",
            Self::Alone => "alone",
        }
    }
}

/// An id of a conversation that a request has where its route leaves it out of the key: the answer does not
/// depend on it, but may repeat it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OwnId {
    /// As in [`NAMES`].
    name: String,
    text: String,
    /// The id as JSON.
    json: String,
}

/// The ids of conversations that a request's body has where `ignore` leaves them out of the key.
pub(crate) fn own_ids(body: &Json<'_>, ignore: &[Pointer]) -> Vec<OwnId> {
    if ignore.is_empty() {
        return Vec::new();
    }
    let ignored: Vec<_> = ignore.iter().map(Pointer::tokens).collect();
    let [mut all, mut counting] = [Vec::new(), Vec::new()];
    find(body, 0, Skipped::default(), &mut all);
    find(body, 0, Skipped { ignored: &ignored, ..Skipped::default() }, &mut counting);
    let counts = |id: &Id<'_>| counting.iter().any(|other| other.span == id.span);
    let own = all.iter().filter(|id| id.names_conversation && !counts(id));
    own.map(|id| OwnId { name: plain(id.name), text: id.text().to_owned(), json: id.value.to_json() })
        .collect()
}

/// A name as in [`NAMES`].
fn plain(name: &str) -> String {
    name.chars()
        .filter(|letter| !matches!(letter, '_' | '-'))
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

/// Whether `name` is one of the known names of conversations.
pub(crate) fn is_conversation_name(name: &str) -> bool {
    is_one_of(name, &NAMES)
}

/// An id in a body: a text that is not blank, or a number.
struct Id<'j> {
    name: &'j str,
    value: &'j Json<'j>,
    /// Where it is in the body.
    span: Range<usize>,
    /// Whether it names a conversation by itself.
    names_conversation: bool,
}

impl<'j> Id<'j> {
    fn from_member(member: &'j Member<'j>) -> Option<Self> {
        // All names end like this; most members do not.
        let name = &*member.name;
        if !matches!(name.as_bytes().last(), Some(b'd' | b'D' | b'n' | b'N' | b'_' | b'-')) {
            return None;
        }
        let names_conversation = is_conversation_name(name);
        if !names_conversation && !is_one_of(name, &OWN_IDS) {
            return None;
        }
        let member = match &member.value {
            Json::Object(_) if is_one_of(name, &[CONVERSATION]) => member.value.member("id")?,
            _ => member,
        };
        let has_id = match &member.value {
            // Many clients send an empty text while they have none.
            Json::String(text) => !text.trim().is_empty(),
            Json::Number(_) => true,
            _ => false,
        };
        has_id.then(|| Self { name, value: &member.value, span: member.span.clone(), names_conversation })
    }

    fn text(&self) -> &'j str {
        match self.value {
            Json::String(text) => text,
            Json::Number(number) => number,
            _ => "",
        }
    }
}

/// Members in which no id is looked for.
#[derive(Clone, Copy, Default)]
struct Skipped<'s> {
    /// The ways to them.
    ignored: &'s [&'s [Token]],
    left_out: &'s [LeftOut],
}

/// Finds the ids in `json`, which is `depth` members deep in its body.
fn find<'j>(json: &'j Json<'j>, depth: usize, skipped: Skipped<'_>, found: &mut Vec<Id<'j>>) {
    let Skipped { ignored, left_out } = skipped;
    match json {
        Json::Object(members) if depth < DEPTH => {
            for member in members {
                let is_taken = |token: &Token| matches!(token, Token::Name(name) if *name == member.name);
                let below = below(ignored, is_taken);
                let is_skipped = || find_left_out(left_out, member).is_some();
                if below.iter().all(|rest| !rest.is_empty()) && !is_skipped() {
                    found.extend(Id::from_member(member));
                    find(&member.value, depth + 1, Skipped { ignored: &below, left_out }, found);
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
                    find(item, depth, Skipped { ignored: &below, left_out }, found);
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

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(conversations(&json, &[], &[]), expected, "{text}");
            let ignore: Vec<Pointer> =
                ["/conversation_id", "/session_id", "/thread_id", "/conversation", "/conversation/id"]
                    .map(|pointer| pointer.parse().expect("a pointer"))
                    .into();
            assert!(conversations(&json, &ignore, &[]).is_empty(), "{text}");
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
                    assert_eq!(conversations(&json, &[], &[]), [value.trim_matches('"')], "{text}");
                }
            }
        }
        for text in [
            r#"{"a":{"b":{"c":{"d":{"session_id":"x"}}}}}"#,
            r#"{"session_ids":"x","assertion_id":"y","chat":"z","message_id":"m","run_id":"r","id":"i"}"#,
            r#"{"session_id":true,"thread_id":["t"],"chat_id":{"x":"y"},"conversation":{"x":1}}"#,
        ] {
            let json = Json::parse(text.as_bytes()).expect("JSON");
            assert!(conversations(&json, &[], &[]).is_empty(), "{text}");
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
            assert_eq!(conversations(&json, &ignore, &[]), expected, "{ignore:?}");
        }
    }

    #[test]
    fn own_ids_are_those_that_the_route_leaves_out() {
        let text = br#"{"metadata":{"session_id":"a"},"chat_id":7,"user_id":"u","threadId":"t\""}"#;
        let json = Json::parse(text).expect("JSON");
        let own = |ignore: &[&str]| {
            let ignore: Vec<Pointer> =
                ignore.iter().map(|pointer| pointer.parse().expect("a pointer")).collect();
            own_ids(&json, &ignore).into_iter().map(|own| (own.name, own.json)).collect::<Vec<_>>()
        };
        let id = |name: &str, json: &str| (name.to_owned(), json.to_owned());
        assert_eq!(own(&[]), []);
        assert_eq!(own(&["/user_id"]), []);
        assert_eq!(own(&["/metadata"]), [id("sessionid", "\"a\"")]);
        assert_eq!(own(&["/chat_id", "/threadId"]), [id("chatid", "7"), id("threadid", r#""t\"""#)]);
    }
}
