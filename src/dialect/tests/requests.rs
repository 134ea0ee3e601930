//! What a request must have to be one of a dialect, and which answers are only for the client that asked.

use serde_json::json;

use super::*;

#[test]
fn a_background_response_is_nobody_elses() {
    for (body, expected) in [
        (json!({"background": true}), true),
        (json!({"background": "yes"}), true),
        (json!({"background": false}), false),
        (json!({"background": null}), false),
        (json!({}), false),
    ] {
        let text = body.to_string();
        let json = Json::parse(text.as_bytes()).expect("JSON");
        let ask = Dialect::OpenAiResponses.ask(&json, UsageSetting::AsAsked, None);
        assert_eq!(ask.runs_in_background, expected, "{body}");
    }
}

/// A built-in route asks for all that its API requires.
#[test]
fn a_request_has_all_that_its_api_requires() {
    let messages = json!([{"role": "user", "content": "q"}]);
    for (dialect, body, strictly, with_the_model_elsewhere) in [
        (Dialect::OpenAiChat, json!({"model": "m", "messages": messages}), true, true),
        (Dialect::OpenAiChat, json!({"messages": messages}), false, true),
        (Dialect::OpenAiChat, json!({"model": 7, "messages": messages}), false, false),
        (Dialect::OpenAiChat, json!({"model": "m", "messages": []}), false, false),
        (Dialect::OpenAiChat, json!({"model": "m", "messages": "q"}), false, false),
        (Dialect::OpenAiChat, json!({"chat_id": "c", "messages": messages}), false, true),
        (Dialect::OpenAiCompletions, json!({"model": "m", "prompt": "p"}), true, true),
        (Dialect::OpenAiCompletions, json!({"prompt": "p"}), false, true),
        (Dialect::OpenAiResponses, json!({"model": "m", "input": "i"}), true, true),
        (Dialect::OpenAiResponses, json!({"input": "i"}), false, true),
        (Dialect::OpenAiResponses, json!({"prompt": {"id": "p"}}), true, true),
        (Dialect::Anthropic, json!({"model": "m", "messages": messages, "max_tokens": 1}), true, true),
        (Dialect::Anthropic, json!({"model": "m", "messages": [], "max_tokens": 1}), false, false),
        (Dialect::Anthropic, json!({"model": "m", "messages": messages}), false, false),
        (Dialect::CohereChat, json!({"model": "m", "messages": messages}), true, true),
        (Dialect::CohereChat, json!({"messages": messages}), false, true),
        (Dialect::CohereChat, json!({"model": "m", "messages": []}), false, false),
        (Dialect::CohereChat, json!({"model": "m", "messages": "q"}), false, false),
        (Dialect::CohereChat, json!({"model": "m", "messages": ["q"]}), false, false),
        (Dialect::CohereChat, json!({"model": "m", "messages": [{"content": "q"}]}), false, false),
        (Dialect::CohereChat, json!({"model": "m", "message": "q"}), false, false),
        (Dialect::OllamaChat, json!({"model": "m", "messages": messages}), true, true),
        (Dialect::OllamaChat, json!({"model": "m", "messages": []}), false, false),
        (Dialect::OllamaGenerate, json!({"model": "m", "prompt": "p"}), true, true),
        (Dialect::OllamaGenerate, json!({"model": "m"}), false, false),
        (Dialect::Gemini, json!({"contents": [{"parts": [{"text": "q"}]}]}), true, true),
        (Dialect::Gemini, json!({"contents": []}), false, false),
        (Dialect::Gemini, json!({"content": {"parts": [{"text": "q"}]}}), false, false),
        (Dialect::Embedding, json!({"model": "m", "input": "i"}), true, true),
        (Dialect::Embedding, json!({"input": "i"}), false, true),
        (Dialect::TeiEmbed, json!({"inputs": [[1], [2]]}), true, true),
        (Dialect::TeiEmbed, json!({"inputs": {"a": 1}}), false, false),
        (Dialect::TeiEmbedSparse, json!({"inputs": "i"}), true, true),
        (Dialect::CohereEmbed, json!({"model": "m", "input_type": "x", "images": ["i"]}), true, true),
        (Dialect::CohereEmbed, json!({"input_type": "x", "inputs": [{"content": []}]}), false, true),
        (Dialect::CohereEmbed, json!({"model": "m", "texts": ["t"]}), false, false),
        (Dialect::GeminiEmbed, json!({"content": {"parts": []}}), true, true),
        (Dialect::GeminiEmbed, json!({"content": "c"}), false, false),
        (Dialect::GeminiBatchEmbed, json!({"requests": [{"content": {}}]}), true, true),
        (Dialect::GeminiBatchEmbed, json!({"requests": []}), false, false),
        (Dialect::OpenAiModerations, json!({"input": [{"type": "text", "text": "t"}]}), true, true),
        (Dialect::OpenAiModerations, json!({"input": ["t", {"type": "text"}]}), false, false),
        (Dialect::Rerank, json!({"query": "q", "documents": ["d", {"text": "d"}]}), true, true),
        (Dialect::Rerank, json!({"query": "q", "documents": "d"}), false, false),
        (Dialect::TeiRerank, json!({"query": "q", "texts": ["t"]}), true, true),
        (Dialect::TeiRerank, json!({"texts": ["t"]}), false, false),
        (Dialect::Score, json!({"text_1": "a", "text_2": ["b", "c"]}), true, true),
        (Dialect::Score, json!({"queries": ["a", "b"], "items": ["b", "c"]}), true, true),
        (Dialect::Score, json!({"text_1": "a", "data_2": "b"}), false, false),
        (Dialect::Rag, json!({"query": "q"}), true, true),
        (Dialect::Rag, json!({"query": ["q"]}), false, false),
    ] {
        let text = body.to_string();
        let json = Json::parse(text.as_bytes()).expect("JSON");
        let fits = [false, true].map(|model_elsewhere| dialect.fits(&json, model_elsewhere));
        assert_eq!(fits, [strictly, with_the_model_elsewhere], "{dialect:?} {body}");
    }
}
