//! From an answer of Ollama's to its stream (github.com/ollama/ollama, docs/api.md): lines with the thinking,
//! the text and the tool calls, as Ollama streams them, and a last one with all that is known in the end.
//!
//! Texts are cut into pieces. The arguments of a tool call are an object, of which no line can have a part:
//! each call has a line of its own, however long that is.

use std::ops::Range;

use super::TextMember;
use crate::{
    dialect::{
        api::has,
        events::{Piece, by_token, pieces},
    },
    json::{Json, Member},
};

/// The stream that says the answer `whole`; `None` if no stream is known to say it.
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
    if parts.iter().all(|(_, tokens)| tokens.is_empty()) {
        // The tokens are not the texts. Each line has its share, since one with all of them would be long.
        let share = logprobs.len().div_ceil(parts.len().max(1));
        for (place, (_, tokens)) in parts.iter_mut().enumerate() {
            *tokens = (place * share).min(logprobs.len())..((place + 1) * share).min(logprobs.len());
        }
    }
    let mut out = Vec::new();
    for (part, tokens) in parts {
        write_line(&answer.line(part, logprobs.get(tokens).unwrap_or_default()), &mut out);
    }
    write_line(&answer.last_line(), &mut out);
    Some(out)
}

/// What a line says, if anything, and the tokens for which it has log-probabilities.
type Part<'a> = (Option<(&'static str, Json<'a>)>, Range<usize>);

fn write_line(line: &Json<'_>, out: &mut Vec<u8>) {
    line.write(out);
    out.push(b'\n');
}

/// The text under `name`, empty if there is none; `None` if that is no text.
fn text_of<'a>(json: &'a Json<'_>, name: &str) -> Option<&'a str> {
    match json.get(name) {
        None | Some(Json::Null) => Some(""),
        Some(text) => text.as_str(),
    }
}

/// The list under `name`, empty if there is none; `None` if that is no list.
fn list_of<'a>(json: &'a Json<'a>, name: &str) -> Option<&'a [Json<'a>]> {
    match json.get(name) {
        None | Some(Json::Null) => Some(&[]),
        Some(Json::Array(items)) => Some(items),
        Some(_) => None,
    }
}

/// An answer, and where in it the text is.
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
                // In which line a client looks for anything else is not known.
                let known = says.members().iter().all(is_known);
                known.then_some(Self { whole, says, in_message: true, text: "content" })
            }
        }
    }

    /// The thinking and the text in pieces, each with the log-probabilities of its tokens. These are of both,
    /// or of the text alone. If they are of neither, no piece has any.
    fn spoken(&self, logprobs: &'a [Json<'a>]) -> Option<Vec<Part<'a>>> {
        let thinking = text_of(self.says, "thinking")?;
        let text = text_of(self.says, self.text)?;
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
            move |(piece, tokens): Piece<'a>| {
                (Some((name, Json::text(piece))), tokens.start + before..tokens.end + before)
            }
        };
        let thinking = thinking.into_iter().map(named("thinking", 0));
        Some(thinking.chain(text.into_iter().map(named(self.text, before))).collect())
    }

    /// A line that says a part of the answer.
    fn line(&self, part: Option<(&'static str, Json<'a>)>, logprobs: &[Json<'a>]) -> Json<'a> {
        let mut line = filtered(self.whole, |member| matches!(&*member.name, "model" | "created_at"));
        let mut says = match self.in_message {
            true => filtered(self.says, |member| member.name == "role"),
            false => Json::Object(Vec::new()),
        };
        // Every line has the text, empty or not, if the answer has one.
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

    /// The answer without what the earlier lines have said.
    fn last_line(&self) -> Json<'a> {
        let is_left = |member: &Member<'_>| {
            let is_in_lines = matches!(&*member.name, "thinking" | "tool_calls");
            !(is_in_lines && says_something(&member.value))
        };
        let mut last = filtered(self.whole, |member| {
            let is_in_lines = member.name == "logprobs" && says_something(&member.value);
            !is_in_lines && (self.in_message || is_left(member))
        });
        let mut says = filtered(self.says, is_left);
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

fn filtered<'a>(json: &Json<'a>, stays: impl Fn(&Member<'a>) -> bool) -> Json<'a> {
    Json::Object(json.members().iter().filter(|member| stays(member)).cloned().collect())
}

/// Whether a text or a list has something in it.
fn says_something(value: &Json<'_>) -> bool {
    match value {
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        _ => false,
    }
}
