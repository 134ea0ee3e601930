//! A chat completion as a stream of OpenAI's chunks.

use super::answer::Usage;
use super::http::{Reply, event, stream_reply};
use super::openai::Completion;
use super::text;
use bytes::Bytes;
use serde::Serialize;
use std::time::Duration;

/// The stream of a completion, spread over the time that the model would take.
pub(super) fn reply(completion: &Completion, include_usage: bool, over: Duration) -> Reply {
    stream_reply(chunks(completion, include_usage), over)
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    /// Where the usage was not asked for, there is no such member; where it was, it is null in all chunks but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    delta: Delta<'a>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

/// Each choice begins with its role, goes on with its words, and ends with its reason; several choices take turns. The
/// usage, if wanted, comes last in a chunk without choices.
fn chunks(completion: &Completion, include_usage: bool) -> Vec<Bytes> {
    let chunk = |choices: &[Choice<'_>], usage: Option<Usage>| {
        let Completion { id, created, model, .. } = completion;
        let usage = include_usage.then_some(usage);
        event(&Chunk { id, object: "chat.completion.chunk", created: *created, model, choices, usage })
    };
    let part = |index: usize, delta: Delta<'_>, finish_reason: Option<&'static str>| {
        chunk(&[Choice { index, delta, logprobs: None, finish_reason }], None)
    };
    let pieces: Vec<Vec<String>> =
        completion.choices.iter().map(|choice| text::word_groups(&choice.content)).collect();
    let longest = pieces.iter().map(Vec::len).max().unwrap_or(0);

    let mut chunks = Vec::new();
    for index in 0..pieces.len() {
        chunks.push(part(index, Delta { role: Some("assistant"), content: Some("") }, None));
    }
    for step in 0..longest {
        for (index, pieces) in pieces.iter().enumerate() {
            if let Some(piece) = pieces.get(step) {
                chunks.push(part(index, Delta { role: None, content: Some(piece) }, None));
            }
        }
    }
    for (index, choice) in completion.choices.iter().enumerate() {
        chunks.push(part(index, Delta::default(), Some(choice.finish_reason)));
    }
    if include_usage {
        chunks.push(chunk(&[], Some(completion.usage)));
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::super::http::read_event;
    use super::super::openai::Choice;
    use super::{Completion, Usage, chunks};
    use serde_json::{Value, json};

    fn read(include_usage: bool) -> Vec<Value> {
        chunks(&completion(), include_usage).iter().map(|event| read_event(event)).collect()
    }

    fn completion() -> Completion {
        let choice = |content: &str| Choice { content: content.to_owned(), finish_reason: "stop" };
        Completion {
            id: "chatcmpl-1".into(),
            created: 1,
            model: "m".into(),
            choices: vec![choice("one two three four"), choice("five")],
            usage: Usage::new(2, 5),
        }
    }

    #[test]
    fn each_choice_can_be_put_together_again() {
        let chunks = read(false);
        let of = |index: usize| -> String {
            let choices =
                chunks.iter().map(|chunk| &chunk["choices"][0]).filter(|choice| choice["index"] == index);
            choices.filter_map(|choice| choice["delta"]["content"].as_str()).collect()
        };
        assert_eq!((of(0).as_str(), of(1).as_str()), ("one two three four", "five"));
        assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
    }

    #[test]
    fn usage_comes_last_and_only_if_wanted() {
        let chunks = read(true);
        let (last, others) = chunks.split_last().expect("chunks");
        assert_eq!(last["usage"]["total_tokens"], 7);
        assert_eq!(last["choices"], json!([]));
        assert!(others.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
    }
}
