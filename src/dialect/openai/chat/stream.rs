//! From a chat's document to its stream (platform.openai.com/docs/api-reference/chat-streaming/streaming).
//!
//! Of each choice come its role, with all that is empty; its reasoning, text, refusal, audio, annotations and
//! calls, long texts in pieces, and token by token if there are log-probabilities; and its end. A member that
//! is not known here goes where the stream says it once and `to_whole` finds it: a message's with the role, a
//! choice's with its end, the document's in the first chunk.

use super::{
    logprobs::{self, Logprobs},
    rules::{CHOICE, MESSAGE, NAMES, TOOL_CALL},
};
use crate::{
    dialect::{
        events::{base64_pieces, pieces, pieces_with_tokens},
        openai::stream::{Choice, Chunks},
    },
    json::{Json, Member},
};

/// The stream that says what a document says.
pub(super) fn to_stream<'a>(whole: &'a Json<'a>, with_usage: bool) -> Option<Vec<u8>> {
    let mut chunks = Chunks::new(whole, NAMES, with_usage)?;
    let choices = Choice::all(whole)?;
    let places = places(&choices);
    let mut said = Vec::new();
    // All choices begin before any goes on, since clients rely on their order.
    for choice in &choices {
        let deltas = Deltas::new(choice, &places)?;
        chunks.choice(choice.part(("delta", Json::Object(deltas.opening)), None));
        said.push(deltas.said);
    }
    for (choice, said) in choices.iter().zip(said) {
        let in_pieces: Vec<_> = said.iter().filter_map(|said| Some(said.logprobs?.0)).collect();
        let mut logprobs = choice.logprobs.map(|logprobs| Logprobs::new(logprobs, &in_pieces));
        for said in said {
            let own = logprobs.as_mut().and_then(|logprobs| logprobs.with(said.logprobs));
            chunks.choice(choice.part(("delta", Json::Object(vec![said.delta])), own));
        }
        let others = choice.others.iter().filter(|member| !matches!(&*member.name, "message" | "delta"));
        let others = others.map(|member| (*member).clone());
        let left = logprobs.and_then(|mut logprobs| logprobs.rest());
        chunks.choice(choice.last_part(("delta", Json::Object(Vec::new())), left, others));
    }
    Some(chunks.end())
}

/// A part of what a message says.
struct Said<'a> {
    delta: Member<'a>,
    /// The log-probabilities of its tokens, and the name of their list.
    logprobs: Option<(&'static str, &'a [Json<'a>])>,
}

impl<'a> From<Member<'a>> for Said<'a> {
    fn from(delta: Member<'a>) -> Self {
        Self { delta, logprobs: None }
    }
}

/// A message as a stream says it.
struct Deltas<'a> {
    /// The role, and all that is null, empty, or not known here.
    opening: Vec<Member<'a>>,
    /// What it says, one member a delta.
    said: Vec<Said<'a>>,
}

impl<'a> Deltas<'a> {
    /// `None` if a stream could not say something that the choice has.
    fn new(choice: &Choice<'a, 'a>, places: &'a [String]) -> Option<Self> {
        let mut message = None;
        for member in &choice.others {
            match &*member.name {
                "message" => message = Some(&member.value),
                // What a chunk calls the message.
                "delta" => member.value.is_null().then_some(())?,
                name => CHOICE.rule(name).takes(&member.value).then_some(())?,
            }
        }
        choice.logprobs.is_none_or(|value| CHOICE.rule("logprobs").takes(value)).then_some(())?;
        let message = message.filter(|message| message.is_object())?.members();

        let mut deltas = Self { opening: Vec::new(), said: Vec::new() };
        if !message.iter().any(|member| member.name == "role") {
            deltas.opening.push(Member::new("role", Json::text("assistant")));
        }
        for member in message {
            deltas.add(member, places, choice.logprobs)?;
        }
        // The reasoning comes before the text.
        deltas.said.sort_by_key(|said| order(&said.delta.name));
        Some(deltas)
    }

    fn add(
        &mut self,
        member: &'a Member<'a>,
        places: &'a [String],
        logprobs: Option<&'a Json<'a>>,
    ) -> Option<()> {
        let Member { name, value, .. } = member;
        let new = |value| Member::new(name.clone(), value);
        let said = &mut self.said;
        match (&**name, value) {
            ("role", Json::String(_)) | (_, Json::Null) => self.opening.push(member.clone()),
            ("role", _) => return None,
            // A text begins with an empty one; so does the API's own stream.
            ("content" | "refusal", Json::String(text)) => {
                self.opening.push(new(Json::text("")));
                said.extend(with_logprobs(name, text, logprobs));
            }
            ("reasoning_content" | "reasoning", Json::String(text)) if !text.is_empty() => {
                said.extend(pieces(text).map(|piece| new(Json::text(piece)).into()));
            }
            ("tool_calls", Json::Array(calls)) if !calls.is_empty() => {
                for (place, call) in places.iter().zip(calls) {
                    said.extend(tool_call(place, call)?.map(|part| new(Json::Array(vec![part])).into()));
                }
            }
            ("function_call", Json::Object(_)) => {
                MESSAGE.rule(name).takes(value).then_some(())?;
                let (opening, rest) = split_text(value, "arguments");
                said.extend(std::iter::once(opening).chain(rest).map(|part| new(part).into()));
            }
            ("audio", Json::Object(_)) => {
                MESSAGE.rule(name).takes(value).then_some(())?;
                said.extend(audio(value).into_iter().map(|part| new(part).into()));
            }
            ("annotations", Json::Array(items)) if !items.is_empty() => said.push(member.clone().into()),
            // `tool_calls: []`, `annotations: []` and what is not known here. A stream cannot say anything
            // else.
            _ => {
                MESSAGE.rule(name).takes(value).then_some(())?;
                self.opening.push(member.clone());
            }
        }
        Some(())
    }
}

/// The deltas of a text, with the log-probabilities of its tokens.
fn with_logprobs<'a>(
    name: &'a str,
    text: &'a str,
    logprobs: Option<&'a Json<'a>>,
) -> impl Iterator<Item = Said<'a>> {
    let list = logprobs::LISTS.into_iter().find(|list| *list == name && !text.is_empty());
    let (items, tokens) = list.map(|list| logprobs::of_text(logprobs, list)).unwrap_or_default();
    pieces_with_tokens(text, &tokens).into_iter().map(move |(piece, tokens)| Said {
        delta: Member::new(name, Json::text(piece)),
        logprobs: list.zip(items.get(tokens).filter(|items| !items.is_empty())),
    })
}

fn order(name: &str) -> u8 {
    match name {
        "reasoning_content" | "reasoning" => 0,
        "content" => 1,
        "refusal" => 2,
        "audio" => 3,
        "annotations" => 4,
        _ => 5,
    }
}

/// The numbers of the choices' tool calls, which chunks have and documents do not.
fn places(choices: &[Choice<'_, '_>]) -> Vec<String> {
    let messages = choices.iter().flat_map(|choice| &choice.others).map(|member| &member.value);
    let calls = messages.filter_map(|message| message.get("tool_calls")).map(|calls| calls.items().len());
    (0..calls.max().unwrap_or(0)).map(|place| place.to_string()).collect()
}

/// The parts of one tool call: the function, then its arguments.
fn tool_call<'a>(place: &'a str, call: &'a Json<'a>) -> Option<impl Iterator<Item = Json<'a>>> {
    let index = || Member::new("index", Json::Number(place));
    let mut opening = vec![index()];
    let mut rest = Vec::new();
    if !call.is_object() {
        return None;
    }
    for member in call.members() {
        let Member { name, value, .. } = member;
        // Some servers number the calls of a document too.
        if name == "index" {
            (value.is_null() || *value == Json::Number(place)).then_some(())?;
            continue;
        }
        TOOL_CALL.rule(name).takes(value).then_some(())?;
        let text = match &**name {
            "function" => "arguments",
            "custom" => "input",
            _ => {
                opening.push(member.clone());
                continue;
            }
        };
        let (first, more) = split_text(value, text);
        opening.push(Member::new(name.clone(), first));
        rest.extend(more.map(|more| Json::Object(vec![index(), Member::new(name.clone(), more)])));
    }
    Some(std::iter::once(Json::Object(opening)).chain(rest))
}

/// An object with the text `name` empty, and objects with nothing but a piece of that text.
fn split_text<'a>(object: &'a Json<'a>, name: &'static str) -> (Json<'a>, impl Iterator<Item = Json<'a>>) {
    let mut first = object.clone();
    let text = object.get(name).and_then(Json::as_str);
    if text.is_some() {
        first.set(name, Json::text(""));
    }
    (first, pieces(text.unwrap_or_default()).map(move |piece| Json::object([(name, Json::text(piece))])))
}

/// The parts of an audio: the first has the beginning of each text and all else, the others more of one text.
fn audio<'a>(audio: &'a Json<'a>) -> Vec<Json<'a>> {
    let mut first = audio.clone();
    let mut rest = Vec::new();
    for name in ["data", "transcript"] {
        let Some(text) = audio.get(name).and_then(Json::as_str) else { continue };
        let cut = if name == "data" { base64_pieces(text) } else { pieces(text).collect() };
        let mut cut = cut.into_iter().map(Json::text);
        first.set(name, cut.next().unwrap_or_else(|| Json::text("")));
        rest.extend(cut.map(|piece| Json::object([(name, piece)])));
    }
    rest.insert(0, first);
    rest
}
