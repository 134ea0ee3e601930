//! What an answer says, as one text, where it says nothing in any other way.

use bytes::Bytes;

use super::{api::is_filled, list, name::Dialect};
use crate::{
    http::sse::{Event, Framing},
    json::Json,
};

impl Dialect {
    /// The text of a whole answer that was judged good, in whatever form its body is. `None` if it calls tools, if it has
    /// several choices, or anything that is no text.
    pub(crate) fn answer_text(self, framing: Framing, body: &Bytes) -> Option<String> {
        let api = self.api();
        let events = match framing.events(body) {
            None if api.is_list(body) => Some(list::events(body)?),
            events => events,
        };
        let text = match events {
            Some(events) => api.streamed_text(&events),
            None => api.answer_text(&Json::parse(body).ok()?),
        };
        text.filter(|text| !text.trim().is_empty())
    }
}

/// The text of a message, or of its parts, which are of these types. Parts of the types `thoughts` are no part of the answer.
pub(super) fn text_of_parts(content: &Json<'_>, texts: &[&str], thoughts: &[&str]) -> Option<String> {
    match content {
        Json::String(text) => Some(text.to_string()),
        Json::Array(parts) => {
            let text = |part: &Json<'_>| {
                let kind = part.get("type").and_then(Json::as_str)?;
                match (thoughts.contains(&kind), texts.contains(&kind)) {
                    (true, _) => Some(String::new()),
                    (false, true) => Some(part.get("text")?.as_str()?.to_owned()),
                    (false, false) => None,
                }
            };
            parts.iter().map(text).collect()
        }
        _ => None,
    }
}

/// Whether a message calls tools, or has something beside its text.
pub(super) fn has_more_than_text(message: &Json<'_>) -> bool {
    let is_filled_list = |name| is_filled(message.get(name));
    let has = |name| message.get(name).is_some_and(|value| !value.is_null());
    ["tool_calls", "images"].into_iter().any(is_filled_list)
        || ["function_call", "audio"].into_iter().any(has)
}

/// The text of a stream of chunks that have a part of the only choice, which `said` finds.
pub(super) fn text_of_chunks(events: &[Event], said: impl Fn(&Json<'_>) -> Option<String>) -> Option<String> {
    let mut text = String::new();
    for event in events {
        // `[DONE]` is no JSON.
        let Ok(chunk) = Json::parse(event.data.as_bytes()) else { continue };
        for choice in chunk.get("choices").map_or(&[][..], Json::items) {
            if choice.get("index").and_then(Json::as_u64).is_some_and(|index| index > 0) {
                return None;
            }
            text.push_str(&said(choice)?);
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{Ask, Form, Rendered, serve};

    /// Answers of each API that say `Yes, it is.` and nothing else.
    const ANSWERS: [(Dialect, &str); 13] = [
        (
            Dialect::OpenAiChat,
            r#"{"id":"i","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Yes, it is."},"finish_reason":"stop"}]}"#,
        ),
        (
            Dialect::OpenAiCompletions,
            r#"{"id":"i","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"Yes, it is.","finish_reason":"stop"}]}"#,
        ),
        (
            Dialect::OpenAiResponses,
            r#"{"id":"r","object":"response","status":"completed","model":"m","output":[{"type":"reasoning","id":"a","summary":[]},{"type":"message","id":"b","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Yes, it is.","annotations":[]}]}]}"#,
        ),
        (
            Dialect::Anthropic,
            r#"{"id":"i","type":"message","role":"assistant","model":"m","content":[{"type":"thinking","thinking":"Hm.","signature":"s"},{"type":"text","text":"Yes, it is."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":2}}"#,
        ),
        (
            Dialect::Anthropic,
            r#"{"id":"i","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Yes, "},{"type":"text","text":"it is."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":2}}"#,
        ),
        (
            Dialect::Gemini,
            r#"{"candidates":[{"content":{"parts":[{"text":"Hm.","thought":true},{"text":"Yes, it is."}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2,"totalTokenCount":3}}"#,
        ),
        (
            Dialect::Gemini,
            r#"[{"candidates":[{"content":{"parts":[{"text":"Yes, it "}],"role":"model"}}]},{"candidates":[{"content":{"parts":[{"text":"is."}],"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2,"totalTokenCount":3}}]"#,
        ),
        (
            Dialect::CohereChat,
            r#"{"id":"i","finish_reason":"COMPLETE","message":{"role":"assistant","content":[{"type":"text","text":"Yes, it is."}]},"usage":{"billed_units":{"input_tokens":1,"output_tokens":2},"tokens":{"input_tokens":1,"output_tokens":2}}}"#,
        ),
        (
            Dialect::OllamaChat,
            r#"{"model":"m","created_at":"t","message":{"role":"assistant","content":"Yes, it is."},"done_reason":"stop","done":true,"prompt_eval_count":1,"eval_count":2}"#,
        ),
        (
            Dialect::OllamaGenerate,
            r#"{"model":"m","created_at":"t","response":"Yes, it is.","done_reason":"stop","done":true,"prompt_eval_count":1,"eval_count":2}"#,
        ),
        (Dialect::Rag, r#"{"answer":"Yes, it is.","sources":[{"text":"a source"}],"model":"m"}"#),
        (Dialect::Rag, r#"{"data":{"answer":"Yes, it is."}}"#),
        (Dialect::Rag, r#"{"response":"Yes, it is.","status":"ok"}"#),
    ];

    fn framing_of(media: &str) -> Framing {
        if media.contains("event-stream") { Framing::Events } else { Framing::Lines }
    }

    #[test]
    fn a_document_and_its_stream_have_one_text() {
        let mut converted = 0;
        for (dialect, body) in ANSWERS {
            let body = Bytes::from(body);
            let text = |framing, body: &Bytes| dialect.answer_text(framing, body);
            assert_eq!(text(Framing::Whole, &body).as_deref(), Some("Yes, it is."), "{dialect:?} {body:?}");
            let ask = Ask { form: Form::EVENTS, upstream_form: Form::EVENTS, ..Ask::default() };
            if let Some(Rendered::Converted(media, stream)) = serve(dialect, 0, Framing::Whole, &body, &ask) {
                assert_eq!(
                    text(framing_of(media), &stream).as_deref(),
                    Some("Yes, it is."),
                    "{dialect:?} {stream:?}"
                );
                converted += 1;
            }
        }
        assert!(converted >= 8, "{converted} streams");
    }

    #[test]
    fn the_words_of_a_rag_services_stream_are_its_text() {
        for stream in [
            "data: {\"type\":\"sources\",\"sources\":[{\"text\":\"s\"}]}\n\ndata: {\"token\":\"Yes, \"}\n\ndata: {\"token\":\"it is.\"}\n\ndata: [DONE]\n\n",
            "event: status\ndata: {\"message\":\"searching\"}\n\nevent: token\ndata: {\"content\":\"Yes, it is.\"}\n\nevent: done\ndata: {}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\"Yes, it is.\"}}]}\n\ndata: [DONE]\n\n",
        ] {
            let text = Dialect::Rag.answer_text(Framing::Events, &Bytes::from(stream));
            assert_eq!(text.as_deref(), Some("Yes, it is."), "{stream}");
        }
        let calls = "data: {\"token\":\"a\"}\n\ndata: {\"tool_calls\":[{\"id\":\"1\"}]}\n\ndata: [DONE]\n\n";
        assert_eq!(Dialect::Rag.answer_text(Framing::Events, &Bytes::from(calls)), None);
    }

    #[test]
    fn an_answer_that_is_more_than_a_text_takes_no_part() {
        for stream in [
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}}]}\n\ndata: [DONE]\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\",\"tool_calls\":[{\"index\":0}]}}]}\n\ndata: [DONE]\n\n",
        ] {
            assert_eq!(
                Dialect::OpenAiChat.answer_text(Framing::Events, &Bytes::from(stream)),
                None,
                "{stream}"
            );
        }
        for (dialect, body) in [
            (Dialect::OpenAiChat, r#"{"choices":[{"message":{"content":"a"}},{"message":{"content":"b"}}]}"#),
            (Dialect::OpenAiChat, r#"{"choices":[{"message":{"content":"a","tool_calls":[{"id":"1"}]}}]}"#),
            (
                Dialect::OpenAiChat,
                r#"{"choices":[{"message":{"content":"a","function_call":{"name":"f"}}}]}"#,
            ),
            (Dialect::OpenAiChat, r#"{"choices":[{"message":{"content":null,"audio":{"id":"a"}}}]}"#),
            (Dialect::OpenAiChat, r#"{"choices":[{"message":{"content":"a","images":[{"url":"u"}]}}]}"#),
            (Dialect::OpenAiChat, r#"{"choices":[{"message":{"content":"  "}}]}"#),
            (Dialect::OpenAiChat, r#"{"choices":[]}"#),
            (Dialect::OpenAiCompletions, r#"{"choices":[{"text":"a"},{"text":"b"}]}"#),
            (
                Dialect::OpenAiResponses,
                r#"{"output":[{"type":"function_call","arguments":"{}"},{"type":"message","content":[{"type":"output_text","text":"a"}]}]}"#,
            ),
            (Dialect::OpenAiResponses, r#"{"output":[{"type":"image_generation_call","result":"x"}]}"#),
            (
                Dialect::OpenAiResponses,
                r#"{"output":[{"type":"message","content":[{"type":"refusal","refusal":"a"}]}]}"#,
            ),
            (Dialect::Anthropic, r#"{"content":[{"type":"text","text":"a"},{"type":"tool_use","id":"1"}]}"#),
            (
                Dialect::Gemini,
                r#"{"candidates":[{"content":{"parts":[{"text":"a"},{"inlineData":{"data":"x"}}]}}]}"#,
            ),
            (Dialect::Gemini, r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]}}]}"#),
            (
                Dialect::Gemini,
                r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}},{"content":{"parts":[{"text":"b"}]}}]}"#,
            ),
            (
                Dialect::CohereChat,
                r#"{"message":{"content":[{"type":"text","text":"a"}],"tool_calls":[{"id":"1"}]}}"#,
            ),
            (Dialect::OllamaChat, r#"{"message":{"content":"a","tool_calls":[{"function":{}}]}}"#),
            (Dialect::Rag, r#"{"answer":"a","tool_calls":[{"id":"1"}]}"#),
            (Dialect::Rag, r#"{"sources":[{"text":"a"}]}"#),
            (Dialect::Json, r#"{"answer":"a"}"#),
            (Dialect::OpenAiSearch, r#"{"data":[{"content":[{"type":"text","text":"a"}]}]}"#),
            (Dialect::OpenAiChat, "no JSON"),
        ] {
            assert_eq!(dialect.answer_text(Framing::Whole, &Bytes::from(body)), None, "{dialect:?} {body}");
        }
    }
}
