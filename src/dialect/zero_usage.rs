//! An answer that says that it took no tokens (`usage_on_hit = "zero"`). Every other byte is the recorded one.

use std::ops::Range;

use bytes::Bytes;

use super::{name::Dialect, usage::zeroed};
use crate::{
    http::sse::{Event, Framing},
    json::{Json, Member, splice::Splicer},
};

/// The objects that have nothing but the usage: of OpenAI, Anthropic and most services, and of Gemini.
const OBJECTS: [&str; 2] = ["usage", "usageMetadata"];

/// Where such an object may be besides the top: in Anthropic's first event, in all events of Responses with the
/// response in them, and in Cohere's last event.
const PARENTS: [&str; 3] = ["message", "response", "delta"];

/// Ollama's counts are members of the answer itself. Its durations say nothing of tokens.
const OLLAMA: [&str; 2] = ["prompt_eval_count", "eval_count"];

/// `body` with zero for each number of its usage; `None` if it has no usage.
pub(crate) fn with_zero_usage(dialect: Dialect, framing: Framing, body: &Bytes) -> Option<Bytes> {
    let mut zeroing = Zeroing { dialect, edits: Vec::new() };
    match framing.all_events(body) {
        Some(events) => {
            let mut end = 0;
            for event in &events {
                let start = std::mem::replace(&mut end, event.end);
                zeroing.read_event(event, start);
            }
        }
        None => zeroing.read(body, 0),
    }
    zeroing.apply(body).map(Bytes::from)
}

struct Zeroing {
    dialect: Dialect,
    /// What goes where, in the order of the text.
    edits: Vec<(Range<usize>, Vec<u8>)>,
}

impl Zeroing {
    /// Reads an event that begins at `start`.
    fn read_event(&mut self, event: &Event, start: usize) {
        // Most events have no usage. This keeps them from being parsed.
        if !OBJECTS.iter().chain(self.counts()).any(|name| event.data.contains(name)) {
            return;
        }
        if let Some(span) = &event.span {
            return self.read(event.data.as_bytes(), span.start);
        }
        // Its data is on several lines: it is written again.
        let mut of_data = Self { edits: Vec::new(), ..*self };
        of_data.read(event.data.as_bytes(), 0);
        let Some(data) = of_data.apply(event.data.as_bytes()) else { return };
        let lines = data.split(|byte| *byte == b'\n').map(|line| [b"data: ", line, b"\n"].concat());
        let name = if event.name.is_empty() { String::new() } else { format!("event: {}\n", event.name) };
        let whole = [name.into_bytes(), lines.collect::<Vec<_>>().concat(), b"\n".to_vec()].concat();
        self.edits.push((start..event.end, whole));
    }

    /// Reads the text of a document that begins at `start`: an answer, or a list of answers (Gemini's streams without
    /// `alt=sse`).
    fn read(&mut self, text: &[u8], start: usize) {
        let Ok(json) = Json::parse(text) else { return };
        for answer in std::iter::once(&json).chain(json.items()) {
            for member in answer.members() {
                let name = &*member.name;
                if (OBJECTS.contains(&name) && member.value.is_object()) || self.counts().contains(&name) {
                    self.zero(member, start);
                } else if PARENTS.contains(&name) {
                    let inner = member.value.members().iter();
                    inner
                        .filter(|inner| OBJECTS.contains(&&*inner.name))
                        .for_each(|inner| self.zero(inner, start));
                }
            }
        }
    }

    /// The names of counts that are members of the answer itself.
    fn counts(&self) -> &'static [&'static str] {
        match self.dialect {
            Dialect::OllamaChat | Dialect::OllamaGenerate => &OLLAMA,
            _ => &[],
        }
    }

    fn zero(&mut self, member: &Member<'_>, start: usize) {
        let mut zero = Vec::new();
        zeroed(member.value.clone()).write(&mut zero);
        self.edits.push((start + member.span.start..start + member.span.end, zero));
    }

    /// `text` with the edits; `None` if there are none.
    fn apply(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut splicer = Splicer::new(text);
        self.edits.iter().for_each(|(span, zero)| splicer.replace(span.clone(), zero));
        (!self.edits.is_empty()).then(|| splicer.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zero(dialect: Dialect, framing: Framing, body: &str) -> String {
        let body = Bytes::from(body.to_owned());
        let zero = with_zero_usage(dialect, framing, &body).unwrap_or(body);
        String::from_utf8(zero.to_vec()).expect("UTF-8")
    }

    /// Each number of a usage is zero, wherever the usage is, and every other byte is as it was. `#` is such a number.
    #[test]
    fn only_the_numbers_of_the_usage_are_zero() {
        use Dialect::{
            Anthropic, CohereChat, Json, OllamaChat, OllamaGenerate, OpenAiChat, OpenAiResponses, Rag,
        };
        let usage = r##""usage":{"input_tokens":#,"details":{"cached_tokens":#},"tier":"x","cost":#,"by":[#,{"n":#}],"none":null}"##;
        let gemini = r##"{"candidates":[{"tokenCount":5}], "usageMetadata":{"promptTokenCount":#,"promptTokensDetails":[{"modality":"TEXT","tokenCount":#}]}}"##;
        let ollama = r##"{"message":{"content":"a"},"total_duration":5,"prompt_eval_count":#,"eval_count":#,"eval_duration":7}"##;
        for (dialect, framing, body) in [
            (
                OpenAiChat,
                Framing::Whole,
                format!(r#"{{ "n" : 1.50,"choices":[{{"usage":{{"n":1}}}}], {usage} }}"#),
            ),
            (
                OpenAiChat,
                Framing::Events,
                format!(
                    "data: {{\"usage\":null}}\r\n\r\n: c\n\ndata: {{\"choices\":[],{usage}}}\nid: 7\n\ndata: [DONE]\n\n"
                ),
            ),
            (OpenAiResponses, Framing::Whole, format!(r#"{{"output":[],{usage}}}"#)),
            (
                OpenAiResponses,
                Framing::Events,
                format!("event: response.completed\ndata: {{\"response\":{{\"output\":[3],{usage}}}}}\n\n"),
            ),
            (
                Anthropic,
                Framing::Events,
                format!(
                    "event: message_start\ndata: {{\"message\":{{\"n\":1,{usage}}}}}\n\ndata: {{\"i\":3,{usage}}}\n\n"
                ),
            ),
            (CohereChat, Framing::Whole, format!(r#"{{"message":{{"content":[]}},{usage}}}"#)),
            (
                CohereChat,
                Framing::Events,
                format!(
                    "event: message-end\ndata: {{\"type\":\"message-end\",\"delta\":{{\"n\":1,{usage}}}}}\n\n"
                ),
            ),
            (OllamaChat, Framing::Whole, ollama.to_owned()),
            (OllamaGenerate, Framing::Lines, format!("{{\"response\":\"eval_count\",\"n\":1}}\n{ollama}\n")),
            (Rag, Framing::Events, format!("event: done\ndata: {{\"answer\":\"a\",{usage}}}\n\n")),
            (Json, Framing::Whole, gemini.to_owned()),
            (Json, Framing::Whole, format!("[{gemini}\n,{gemini}]")),
            (Json, Framing::Events, format!("data: {gemini}\n\ndata: {gemini}\n\n")),
            (
                Json,
                Framing::Events,
                format!("event: e\n\nevent: f\ndata: {{\"a\":1,\ndata: {usage}}}\n\ndata: 1\n\n"),
            ),
        ] {
            let recorded = body.replace('#', "17");
            assert_eq!(zero(dialect, framing, &recorded), body.replace('#', "0"), "{dialect:?}");
        }
    }

    #[test]
    fn what_has_no_usage_is_served_as_it_is() {
        for body in [
            "",
            "usage",
            r#"{"usage":7,"a":{"usage":{"n":1}}}"#,
            r#"{"prompt_eval_count":5}"#,
            "data: usage\n\n",
        ] {
            for framing in [Framing::Whole, Framing::Events, Framing::Lines, Framing::Text] {
                assert_eq!(with_zero_usage(Dialect::Rag, framing, &Bytes::from(body)), None, "{body}");
            }
        }
    }
}
