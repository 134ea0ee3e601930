//! The stream that tells an answer of Ollama's (github.com/ollama/ollama, docs/api.md): lines with the thinking,
//! the text and the tool calls, as Ollama streams them, and a last one with all that is known in the end.
//!
//! Texts are cut into pieces. The arguments of a tool call are an object, which no line can tell a part of: they are as
//! long as they are, each call in a line of its own.

use std::ops::Range;

use super::TextMember;
use crate::{
    dialect::{
        api::has,
        events::{Piece, by_token, pieces},
    },
    json::{Json, Member},
};

/// The stream that tells the answer `whole`; `None` where it has something no stream is known to tell.
pub(super) fn to_stream(text: &TextMember, whole: &Json<'_>) -> Option<Vec<u8>> {
    if whole.get("done")?.as_bool() != Some(true) || has(whole, "error") {
        return None;
    }
    let answer = AnswerView::new(text, whole)?;
    let logprobs = list_of(whole, "logprobs")?;
    let mut parts = answer.spoken(logprobs)?;
    for call in list_of(answer.says, "tool_calls")? {
        parts.push((Some(("tool_calls", Json::Array(vec![call.clone()]))), 0..0));
    }
    if parts.is_empty() && !logprobs.is_empty() {
        parts.push((None, 0..0));
    }
    if parts.iter().all(|(_, told)| told.is_empty()) {
        // The tokens are not the texts. Each line has its share: one with all of them would be a long one.
        let share = logprobs.len().div_ceil(parts.len().max(1));
        for (place, (_, told)) in parts.iter_mut().enumerate() {
            *told = (place * share).min(logprobs.len())..((place + 1) * share).min(logprobs.len());
        }
    }
    let mut out = Vec::new();
    for (part, told) in parts {
        write_line(&answer.line(part, logprobs.get(told).unwrap_or_default()), &mut out);
    }
    write_line(&answer.last_line(), &mut out);
    Some(out)
}

/// What a line says, if anything, and the tokens whose log-probabilities it has.
type Part<'a> = (Option<(&'static str, Json<'a>)>, Range<usize>);

fn write_line(line: &Json<'_>, out: &mut Vec<u8>) {
    line.write(out);
    out.push(b'\n');
}

/// The text under `name`, empty where there is none; `None` where that is no text.
fn text_of<'a>(json: &'a Json<'_>, name: &str) -> Option<&'a str> {
    match json.get(name) {
        None | Some(Json::Null) => Some(""),
        Some(text) => text.as_str(),
    }
}

/// The list under `name`, empty where there is none; `None` where that is no list.
fn list_of<'a>(json: &'a Json<'a>, name: &str) -> Option<&'a [Json<'a>]> {
    match json.get(name) {
        None | Some(Json::Null) => Some(&[]),
        Some(Json::Array(items)) => Some(items),
        Some(_) => None,
    }
}

/// An answer, and where in it is what it says.
struct AnswerView<'a> {
    whole: &'a Json<'a>,
    /// What has the text, the thinking and the tool calls: the message, or the answer itself.
    says: &'a Json<'a>,
    in_message: bool,
    /// The text's name.
    text: &'static str,
}

impl<'a> AnswerView<'a> {
    fn new(text: &TextMember, whole: &'a Json<'a>) -> Option<Self> {
        match text {
            TextMember::Response => Some(Self { whole, says: whole, in_message: false, text: "response" }),
            TextMember::Message => {
                let says = whole.get("message").filter(|message| message.is_object())?;
                let is_known = |member: &Member<'_>| {
                    let known = ["role", "content", "thinking", "tool_calls"];
                    member.value.is_null() || known.contains(&&*member.name)
                };
                // Which line a client would look for anything else in is not known.
                let known = says.members().iter().all(is_known);
                known.then_some(Self { whole, says, in_message: true, text: "content" })
            }
        }
    }

    /// The thinking and the text in pieces, each with the log-probabilities of its tokens: those of both, or of the text
    /// alone. Where the tokens are neither, no piece has any.
    fn spoken(&self, logprobs: &'a [Json<'a>]) -> Option<Vec<Part<'a>>> {
        let (thinking, text) = (text_of(self.says, "thinking")?, text_of(self.says, self.text)?);
        let tokens: Vec<_> =
            logprobs.iter().map(|logprob| logprob.get("token").and_then(Json::as_str)).collect();
        let mut thought = 0;
        let of_thinking = tokens.iter().take_while(|token| {
            let is_within = thought < thinking.len();
            thought += token.map_or(0, str::len);
            is_within
        });
        let (first, rest) = tokens.split_at(of_thinking.count());
        let plain = |text| pieces(text).map(|piece| (piece, 0..0)).collect::<Vec<Piece<'a>>>();
        let cut = by_token(thinking, first).zip(by_token(text, rest)).map(|cut| (cut, first.len()));
        let cut = cut.or_else(|| Some(((plain(thinking), by_token(text, &tokens)?), 0)));
        let ((thinking, text), before) = cut.unwrap_or_else(|| ((plain(thinking), plain(text)), 0));
        let named = |name, before| {
            move |(piece, told): Piece<'a>| {
                (Some((name, Json::text(piece))), told.start + before..told.end + before)
            }
        };
        let thinking = thinking.into_iter().map(named("thinking", 0));
        Some(thinking.chain(text.into_iter().map(named(self.text, before))).collect())
    }

    /// A line that says a part of the answer.
    fn line(&self, part: Option<(&'static str, Json<'a>)>, logprobs: &[Json<'a>]) -> Json<'a> {
        let mut line = kept(self.whole, |member| matches!(&*member.name, "model" | "created_at"));
        let mut says = match self.in_message {
            true => kept(self.says, |member| member.name == "role"),
            false => Json::Object(Vec::new()),
        };
        // The text is in every line, be it empty, wherever the answer has one.
        let empty = self.says.get(self.text).and_then(Json::as_str).map(|_| (self.text, Json::text("")));
        for (name, value) in empty.into_iter().chain(part) {
            says.set(name, value);
        }
        if self.in_message {
            line.set("message", says);
        } else if let (Json::Object(members), Json::Object(more)) = (&mut line, says) {
            members.extend(more);
        }
        line.set("done", Json::Bool(false));
        if !logprobs.is_empty() {
            line.set("logprobs", Json::Array(logprobs.to_vec()));
        }
        line
    }

    /// The answer without what the lines before have said.
    fn last_line(&self) -> Json<'a> {
        let is_left = |member: &Member<'_>| {
            let told = matches!(&*member.name, "thinking" | "tool_calls");
            !(told && says_something(&member.value))
        };
        let mut last = kept(self.whole, |member| {
            let told = member.name == "logprobs" && says_something(&member.value);
            !told && (self.in_message || is_left(member))
        });
        let mut says = kept(self.says, is_left);
        if self.says.get(self.text).and_then(Json::as_str).is_some() {
            let emptied = if self.in_message { &mut says } else { &mut last };
            emptied.set(self.text, Json::text(""));
        }
        if self.in_message {
            last.set("message", says);
        }
        last
    }
}

fn kept<'a>(json: &Json<'a>, is_kept: impl Fn(&Member<'a>) -> bool) -> Json<'a> {
    Json::Object(json.members().iter().filter(|member| is_kept(member)).cloned().collect())
}

/// Whether a text or a list has something in it.
fn says_something(value: &Json<'_>) -> bool {
    match value {
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        _ => false,
    }
}
