//! From a chat's document to its stream (platform.openai.com/docs/api-reference/chat-streaming/streaming).
//!
//! Of each choice: its role, with all that is empty; its reasoning, text, refusal, audio, annotations and calls,
//! each in one piece; its end. What is not known here goes where the stream tells it once and `to_whole` finds
//! it: a message's member with the role, a choice's with its end, the document's in the first chunk.

use super::rules::{CHOICE, MESSAGE, NAMES, TOOL_CALL};
use crate::{
    dialect::openai::stream::{Choice, Chunks},
    json::{Json, Member},
};

/// The stream that says what a document says.
pub(super) fn to_stream(whole: &Json<'_>, with_usage: bool) -> Option<Vec<u8>> {
    let mut chunks = Chunks::of(whole, NAMES, with_usage)?;
    let choices = Choice::all(whole)?;
    let places = places(&choices);
    let mut said = Vec::new();
    // All choices begin before any goes on: clients count on their coming in order.
    for choice in &choices {
        let deltas = Deltas::of(choice, &places)?;
        chunks.choice(choice.part(("delta", Json::Object(deltas.opening)), None));
        said.push(deltas.said);
    }
    for (choice, said) in choices.iter().zip(said) {
        let mut logprobs = choice.logprobs;
        for delta in said {
            chunks.choice(choice.part(("delta", Json::Object(vec![delta])), logprobs.take()));
        }
        let others = choice.others.iter().filter(|member| member.name != "message");
        let others = others.map(|member| (*member).clone());
        chunks.choice(choice.last_part(("delta", Json::Object(Vec::new())), logprobs, others));
    }
    Some(chunks.end())
}

/// A message as a stream says it.
struct Deltas<'a> {
    /// With its role, and all that is null, empty, or not known here.
    opening: Vec<Member<'a>>,
    /// What it says, one member a delta.
    said: Vec<Member<'a>>,
}

impl<'a> Deltas<'a> {
    /// `None` where the choice has something that a stream could not say.
    fn of(choice: &Choice<'_, 'a>, places: &'a [String]) -> Option<Self> {
        let mut message = None;
        for member in &choice.others {
            match &*member.name {
                "message" => message = Some(&member.value),
                // What a chunk calls the message.
                "delta" => return None,
                name => CHOICE.rule(name).takes(&member.value).then_some(())?,
            }
        }
        choice.logprobs.is_none_or(|value| CHOICE.rule("logprobs").takes(value)).then_some(())?;
        let message = message.filter(|message| message.is_object())?.members();

        let mut deltas = Self { opening: Vec::new(), said: Vec::new() };
        if !message.iter().any(|member| member.name == "role") {
            deltas.opening.push(Member::new("role", Json::text("assistant")));
        }
        let mut said: Vec<_> = Vec::new();
        for member in message {
            deltas.add(member, places, &mut said)?;
        }
        // Nobody thinks after speaking.
        said.sort_by_key(|member| order(&member.name));
        deltas.said = said;
        Some(deltas)
    }

    fn add(&mut self, member: &Member<'a>, places: &'a [String], said: &mut Vec<Member<'a>>) -> Option<()> {
        let Member { name, value, .. } = member;
        let new = |value| Member::new(name.clone(), value);
        match (&**name, value) {
            ("role", Json::String(_)) | (_, Json::Null) => self.opening.push(member.clone()),
            ("role", _) => return None,
            ("content" | "refusal" | "reasoning_content" | "reasoning", Json::String(text)) => {
                // A text begins with an empty one; so does the API's own stream.
                if text.is_empty() || matches!(&**name, "content" | "refusal") {
                    self.opening.push(new(Json::text("")));
                }
                if !text.is_empty() {
                    said.push(member.clone());
                }
            }
            ("tool_calls", Json::Array(calls)) if !calls.is_empty() => {
                for (place, call) in places.iter().zip(calls) {
                    said.extend(tool_call(place, call)?.map(|part| new(Json::Array(vec![part]))));
                }
            }
            ("function_call", Json::Object(_)) => {
                MESSAGE.rule(name).takes(value).then_some(())?;
                let (opening, rest) = split_text(value, "arguments");
                said.push(new(opening));
                said.extend(rest.map(new));
            }
            ("audio", Json::Object(_)) => {
                MESSAGE.rule(name).takes(value).then_some(())?;
                said.push(member.clone());
            }
            ("annotations", Json::Array(items)) if !items.is_empty() => said.push(member.clone()),
            // `tool_calls: []`, `annotations: []` and whatever is not known here; all else a stream cannot say.
            _ => {
                MESSAGE.rule(name).takes(value).then_some(())?;
                self.opening.push(member.clone());
            }
        }
        Some(())
    }
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

/// The numbers of the choices' tool calls, which chunks tell and documents do not.
fn places(choices: &[Choice<'_, '_>]) -> Vec<String> {
    let messages = choices.iter().flat_map(|choice| &choice.others).map(|member| &member.value);
    let calls = messages.filter_map(|message| message.get("tool_calls")).map(|calls| calls.items().len());
    (0..calls.max().unwrap_or(0)).map(|place| place.to_string()).collect()
}

/// The parts of one tool call: who is called, then with what.
fn tool_call<'a>(place: &'a str, call: &Json<'a>) -> Option<impl Iterator<Item = Json<'a>>> {
    let index = || Member::new("index", Json::Number(place));
    let (mut opening, mut rest) = (vec![index()], Vec::new());
    if !call.is_object() {
        return None;
    }
    for member in call.members() {
        let Member { name, value, .. } = member;
        // Some servers number the calls of a document too.
        if name == "index" {
            (*value == Json::Number(place)).then_some(())?;
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

/// An object with the text `name` empty, and one with nothing but that text, where it has any.
fn split_text<'a>(object: &Json<'a>, name: &'static str) -> (Json<'a>, Option<Json<'a>>) {
    let (mut first, mut rest) = (object.clone(), None);
    if let Json::Object(members) = &mut first
        && let Some(member) = members.iter_mut().find(|member| member.name == name)
        && member.value.as_str().is_some_and(|text| !text.is_empty())
    {
        let text = std::mem::replace(&mut member.value, Json::text(""));
        rest = Some(Json::object([(name, text)]));
    }
    (first, rest)
}
