//! From a stream of Ollama's to its answer (github.com/ollama/ollama, docs/api.md): the last line, with the
//! texts and lists of all lines joined, which is what Ollama answers without a stream.

use super::TextMember;
use crate::{dialect::api::has, http::sse, json::Json};

/// The answer that a complete stream says; `None` if a line says anything that would be lost.
pub(super) fn to_whole(text: &TextMember, events: &[sse::Event]) -> Option<Vec<u8>> {
    let lines: Result<Vec<_>, _> = events.iter().map(|event| Json::parse(event.data.as_bytes())).collect();
    let lines: Vec<_> = lines.ok()?.into_iter().filter(|line| !line.is_null()).collect();
    let (last, earlier) = lines.split_last()?;
    let is_open = |line: &Json<'_>| matches!(line.get("done"), Some(Json::Bool(false) | Json::Null));
    if last.get("done").and_then(Json::as_bool) != Some(true) || !earlier.iter().all(is_open) {
        return None;
    }
    let mut joined = Joined::default();
    for line in earlier {
        read_line(text, line, &mut joined, |name, value| {
            matches!(name, "created_at" | "done") || last.get(name).is_some_and(|own| same(own, value))
        })?;
    }
    read_line(text, last, &mut joined, |_, _| true)?;

    let mut out = Vec::new();
    write_answer(text, last, joined).write(&mut out);
    Some(out)
}

/// Reads what a line adds to the answer. `None` if it says anything else for which `is_in_last` is false.
fn read_line<'e>(
    text: &TextMember,
    line: &Json<'e>,
    joined: &mut Joined<'e>,
    is_in_last: impl Fn(&str, &Json<'_>) -> bool,
) -> Option<()> {
    if !line.is_object() || has(line, "error") {
        return None;
    }
    for member in line.members().iter().filter(|member| !member.value.is_null()) {
        match (&*member.name, text) {
            ("message", TextMember::Message) if !member.value.is_object() => return None,
            ("message", TextMember::Message) => {
                for inner in member.value.members().iter().filter(|inner| !inner.value.is_null()) {
                    match &*inner.name {
                        "role" => joined.agree("role", &inner.value)?,
                        "content" => joined.add("content", &inner.value)?,
                        "thinking" => joined.add("thinking", &inner.value)?,
                        "tool_calls" => joined.add("tool_calls", &inner.value)?,
                        _ => return None,
                    }
                }
            }
            ("response", TextMember::Response) => joined.add("response", &member.value)?,
            ("thinking", TextMember::Response) => joined.add("thinking", &member.value)?,
            ("tool_calls", TextMember::Response) => joined.add("tool_calls", &member.value)?,
            ("logprobs", _) => joined.add("logprobs", &member.value)?,
            (name, _) if is_in_last(name, &member.value) => {}
            _ => return None,
        }
    }
    Some(())
}

fn write_answer<'e>(text: &TextMember, last: &Json<'e>, mut joined: Joined<'e>) -> Json<'e> {
    let mut answer = last.clone();
    let logprobs = joined.take("logprobs");
    match text {
        TextMember::Message => {
            let names = ["role", "content", "thinking", "tool_calls"];
            let mut message =
                Json::object(names.into_iter().filter_map(|name| Some((name, joined.take(name)?))));
            // What is null in the last line, such as `images`.
            for member in last.get("message").map_or(&[][..], Json::members) {
                if message.get(&member.name).is_none() && member.value.is_null() {
                    message.set(member.name.clone(), Json::Null);
                }
            }
            answer.set("message", message);
        }
        TextMember::Response => {
            for name in ["response", "thinking", "tool_calls"] {
                if let Some(value) = joined.take(name) {
                    answer.set(name, value);
                }
            }
        }
    }
    if let Some(logprobs) = logprobs {
        answer.set("logprobs", logprobs);
    }
    answer
}

/// What the lines so far say together, by the name of the member.
#[derive(Default)]
struct Joined<'e>(Vec<(&'static str, Json<'e>)>);

impl<'e> Joined<'e> {
    fn entry(&mut self, name: &'static str) -> &mut Json<'e> {
        let place = self.0.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            self.0.push((name, Json::Null));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }

    /// Adds a text to the text, or a list to the list so far.
    fn add(&mut self, name: &'static str, value: &Json<'e>) -> Option<()> {
        match (self.entry(name), value) {
            (so_far @ Json::Null, Json::String(_) | Json::Array(_)) => *so_far = value.clone(),
            (Json::String(so_far), Json::String(more)) => so_far.to_mut().push_str(more),
            (Json::Array(so_far), Json::Array(more)) => so_far.extend(more.iter().cloned()),
            _ => return None,
        }
        Some(())
    }

    /// Takes what must be the same in every line.
    fn agree(&mut self, name: &'static str, value: &Json<'e>) -> Option<()> {
        let so_far = self.entry(name);
        if so_far.is_null() {
            *so_far = value.clone();
        }
        same(so_far, value).then_some(())
    }

    fn take(&mut self, name: &str) -> Option<Json<'e>> {
        let place = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.swap_remove(place).1)
    }
}

fn same(a: &Json<'_>, b: &Json<'_>) -> bool {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    a.write(&mut left);
    b.write(&mut right);
    left == right
}
