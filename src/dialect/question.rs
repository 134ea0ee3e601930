//! The text that the user has asked last, where a request is that and text before it. Anything else in a request, such as an
//! image or what a tool said, may decide its answer in a way that no text shows.

use super::{
    api::{has, is_one_of},
    name::Dialect,
};
use crate::json::{Json, pointer::Pointer};

/// Why a request has no such text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoQuestion {
    /// There is none, there are several, or there is something that is not known here.
    NoText,
    /// The last message is not the user's.
    NotUsers,
    /// A tool was called before.
    ToolResults,
    /// There are images, sounds or files.
    Media,
    /// It goes on from something that the service keeps.
    Conversation,
}

/// Members that hold images, sounds and files, in lower case and without `_` and `-`.
const MEDIA: [&str; 22] = [
    "images",
    "image",
    "imageurl",
    "inputimage",
    "inputaudio",
    "inputfile",
    "audio",
    "audios",
    "video",
    "videos",
    "videourl",
    "file",
    "files",
    "fileid",
    "fileids",
    "fileurl",
    "filedata",
    "inlinedata",
    "attachments",
    "attachment",
    "media",
    "imagefile",
];

/// Members that hold what tools were asked and what they said, written in the same way.
const TOOLS: [&str; 9] = [
    "toolcalls",
    "toolcallid",
    "toolresults",
    "toolresult",
    "tooloutputs",
    "functioncall",
    "functionresponse",
    "executablecode",
    "codeexecutionresult",
];

/// Members that describe what tools and answers look like. Words in them are names of members of these.
const SCHEMAS: [&str; 10] = [
    "tools",
    "functions",
    "toolchoice",
    "toolconfig",
    "responseformat",
    "format",
    "generationconfig",
    "text",
    "jsonschema",
    "metadata",
];

/// How the messages of an API look.
pub(super) struct Messages {
    /// The member of the body that has them, and the member of each that has its text.
    pub(super) list: &'static str,
    pub(super) content: &'static str,
    pub(super) roles: &'static [&'static str],
    /// The types of parts that are text; none if parts have no type.
    pub(super) texts: &'static [&'static str],
    /// The types of parts that may come before: what the model thought.
    pub(super) thoughts: &'static [&'static str],
}

/// With the parts of OpenAI's Chat, and the APIs like it.
pub(super) const CHAT: Messages = Messages {
    list: "messages",
    content: "content",
    roles: &["system", "developer", "user", "assistant"],
    texts: &["text"],
    thoughts: &["refusal", "thinking", "redacted_thinking", "reasoning"],
};

impl Messages {
    /// Where the text of the last message is, which must be the user's.
    pub(super) fn last_text(&self, body: &Json<'_>) -> Result<String, NoQuestion> {
        let messages = body.get(self.list).map_or(&[][..], Json::items);
        messages.iter().try_for_each(|message| self.check(message))?;
        self.text_of_last(messages)
    }

    /// The same, of messages that were looked at.
    pub(super) fn text_of_last(&self, messages: &[Json<'_>]) -> Result<String, NoQuestion> {
        let last = messages.last().ok_or(NoQuestion::NoText)?;
        if !matches!(last.get("role").and_then(Json::as_str), Some("user") | None) {
            return Err(NoQuestion::NotUsers);
        }
        let way = format!("/{}/{}/{}", self.list, messages.len() - 1, self.content);
        match last.get(self.content) {
            Some(Json::String(_)) => Ok(way),
            Some(Json::Array(parts)) if let [part] = &parts[..] => {
                let is_text = self.thoughts.iter().all(|thought| !is_of_type(part, thought));
                is_text.then(|| format!("{way}/0/text")).ok_or(NoQuestion::NoText)
            }
            _ => Err(NoQuestion::NoText),
        }
    }

    /// Whether a message is text and nothing else.
    pub(super) fn check(&self, message: &Json<'_>) -> Result<(), NoQuestion> {
        let role = message.get("role").and_then(Json::as_str);
        // Gemini's first message may have no role.
        let is_known = role.map_or(self.texts.is_empty(), |role| self.roles.contains(&role));
        if !is_known {
            return Err(NoQuestion::NoText);
        }
        match message.get(self.content) {
            Some(Json::String(_) | Json::Null) | None => Ok(()),
            Some(Json::Array(parts)) => parts.iter().try_for_each(|part| self.check_part(part)),
            Some(_) => Err(NoQuestion::NoText),
        }
    }

    fn check_part(&self, part: &Json<'_>) -> Result<(), NoQuestion> {
        let kind = part.get("type").and_then(Json::as_str);
        let is_text = part.get("text").and_then(Json::as_str).is_some();
        let is_known = match kind {
            None => self.texts.is_empty() && is_text,
            Some(kind) => self.thoughts.contains(&kind) || (self.texts.contains(&kind) && is_text),
        };
        match is_known {
            true => Ok(()),
            false if kind.is_some_and(|kind| kind.contains("tool")) => Err(NoQuestion::ToolResults),
            false => Err(NoQuestion::Media),
        }
    }
}

fn is_of_type(part: &Json<'_>, kind: &str) -> bool {
    part.get("type").and_then(Json::as_str) == Some(kind)
}

/// Whether a member says something.
fn is_filled(value: Option<&Json<'_>>) -> bool {
    value.is_some_and(|value| match value {
        Json::Null => false,
        Json::Array(items) => !items.is_empty(),
        _ => true,
    })
}

/// Where the one text is among these members of the body.
pub(super) fn only_text(body: &Json<'_>, names: &[&str]) -> Result<String, NoQuestion> {
    let mut texts = names.iter().filter(|name| has(body, name));
    match (texts.next(), texts.next()) {
        (Some(name), None) if body.get(name).and_then(Json::as_str).is_some() => Ok(format!("/{name}")),
        _ => Err(NoQuestion::NoText),
    }
}

/// # Errors
/// If one of these members says something: the service keeps what the request goes on from.
pub(super) fn refuse_kept(body: &Json<'_>, names: &[&str]) -> Result<(), NoQuestion> {
    let keeps = names.iter().any(|name| is_filled(body.get(name)));
    if keeps { Err(NoQuestion::Conversation) } else { Ok(()) }
}

/// # Errors
/// If there is an image, a sound, a file or what a tool said anywhere in a request.
fn refuse_more_than_text(json: &Json<'_>) -> Result<(), NoQuestion> {
    match json {
        Json::Array(items) => items.iter().try_for_each(refuse_more_than_text),
        Json::Object(members) => members.iter().try_for_each(|member| {
            let is_tools =
                member.name == "role" && matches!(member.value.as_str(), Some("tool" | "function"));
            if is_tools || (is_one_of(&member.name, &TOOLS) && is_filled(Some(&member.value))) {
                Err(NoQuestion::ToolResults)
            } else if is_one_of(&member.name, &MEDIA) && is_filled(Some(&member.value)) {
                Err(NoQuestion::Media)
            } else if is_one_of(&member.name, &SCHEMAS) {
                Ok(())
            } else {
                refuse_more_than_text(&member.value)
            }
        }),
        _ => Ok(()),
    }
}

impl Dialect {
    /// The way to the text that the user has asked last. `by_route` is where the route says that texts are.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn question(
        self,
        body: &Json<'_>,
        by_route: Option<&[Pointer]>,
    ) -> Result<Pointer, NoQuestion> {
        refuse_more_than_text(body)?;
        let own = self.api().question(body);
        match (by_route, own) {
            (Some(pointers), Ok(_) | Err(NoQuestion::NoText)) => {
                let mut ways: Vec<_> =
                    pointers.iter().flat_map(|pointer| pointer.ways_to_texts(body)).collect();
                ways.dedup();
                match (ways.pop(), ways.is_empty()) {
                    (Some(only), true) => Ok(only),
                    _ => Err(NoQuestion::NoText),
                }
            }
            (_, own) => own?.parse().map_err(|_| NoQuestion::NoText),
        }
    }
}

/// The highest temperature that a request asks for, wherever an API has it; infinite if it is no number.
pub(crate) fn temperature(body: &Json<'_>) -> Option<f64> {
    let within = ["generationConfig", "generation_config", "options"].map(|name| body.get(name));
    let objects = within.into_iter().flatten().chain([body]);
    let found = objects.filter_map(|object| object.get("temperature")).filter(|value| !value.is_null());
    let number = |value: &Json<'_>| match value {
        Json::Number(text) => text.parse().unwrap_or(f64::INFINITY),
        _ => f64::INFINITY,
    };
    found.map(number).reduce(f64::max)
}
