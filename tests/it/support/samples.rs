//! Sample questions and answers of each dialect, for scripted upstreams, and sample credentials.

use serde_json::{Value, json};

/// A secret in each header that has credentials.
pub(crate) const CREDENTIALS: [(&str, &str); 7] = [
    ("authorization", "Bearer canary-bearer"),
    ("proxy-authorization", "Basic canary-basic"),
    ("x-api-key", "canary-x-api-key"),
    ("api-key", "canary-api-key"),
    ("x-goog-api-key", "canary-goog"),
    ("x-auth-token", "canary-auth"),
    ("cookie", "session=canary-cookie"),
];

/// A chat's path.
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// A RAG query's path.
pub(crate) const QUERY: &str = "/api/v1/query";

/// A chat's question.
pub(crate) fn chat() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "Who keeps entries?"}]})
}

/// A chat's question for a stream.
pub(crate) fn chat_stream() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "Who keeps entries?"}], "stream": true})
}

/// A chat's answer.
pub(crate) fn chat_answer() -> Value {
    chat_choice(json!({"role": "assistant", "content": "Redis does."}), "stop")
}

/// A chat's answer with this message.
pub(crate) fn chat_choice(message: Value, finish: &str) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m-2",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    })
}

/// A chunk of a chat's stream, as an event.
pub(crate) fn chunk(delta: Value, finish: Option<&str>) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
    data(
        &json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m-2", "choices": [choice]}),
    )
}

/// The last chunk but one of a chat's stream, if the request asked for usage.
pub(crate) fn usage_chunk() -> String {
    data(&json!({
        "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m-2", "choices": [],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }))
}

/// The end of an OpenAI stream.
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// A chat's stream.
pub(crate) fn chat_events() -> Vec<String> {
    vec![
        chunk(json!({"role": "assistant", "content": "Redis"}), None),
        chunk(json!({"content": " does."}), None),
        chunk(json!({}), Some("stop")),
        usage_chunk(),
        DONE.to_owned(),
    ]
}

/// An event with JSON in it.
pub(crate) fn data(content: &Value) -> String {
    format!("data: {content}\n\n")
}

/// An event with a name.
pub(crate) fn named(content: &Value) -> String {
    format!("event: {}\ndata: {content}\n\n", content["type"].as_str().unwrap_or_default())
}

/// A RAG query.
pub(crate) fn query() -> Value {
    json!({"query": "Who keeps entries?"})
}

/// A RAG answer.
pub(crate) fn query_answer() -> Value {
    json!({"answer": "Redis does.", "sources": [{"document_id": "store", "score": 1.5}]})
}

/// The events of an Anthropic stream.
pub(crate) fn anthropic_events() -> Vec<String> {
    let start = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [],
        "stop_reason": null, "usage": {"input_tokens": 7, "output_tokens": 1}});
    [
        json!({"type": "message_start", "message": start}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Redis."}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}),
        json!({"type": "message_stop"}),
    ]
    .iter()
    .map(named)
    .collect()
}

/// A Cohere answer that cites a document.
pub(crate) fn cohere_answer() -> Value {
    json!({"id": "d93f187e-e9ac-44a9-a2d9-bdf2d65fee94",
        "message": {"role": "assistant", "content": [{"type": "text", "text": "Redis."}],
            "citations": [{"start": 0, "end": 5, "text": "Redis", "type": "TEXT_CONTENT",
                "sources": [{"type": "document", "id": "42", "document": {"id": "42", "text": "On Redis."}}]}]},
        "finish_reason": "COMPLETE",
        "usage": {"billed_units": {"input_tokens": 7, "output_tokens": 3},
            "tokens": {"input_tokens": 70, "output_tokens": 4}}})
}

/// The events of a Cohere stream that says the same.
pub(crate) fn cohere_events() -> Vec<String> {
    let answer = cohere_answer();
    let message =
        json!({"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []});
    let in_message = |name: &str, part: Value| json!({"message": {name: part}});
    [
        json!({"id": answer["id"], "type": "message-start", "delta": {"message": message}}),
        json!({"type": "content-start", "index": 0, "delta": in_message("content", json!({"type": "text", "text": ""}))}),
        json!({"type": "content-delta", "index": 0, "delta": in_message("content", json!({"text": "Re"}))}),
        json!({"type": "content-delta", "index": 0, "delta": in_message("content", json!({"text": "dis."}))}),
        json!({"type": "citation-start", "index": 0,
            "delta": in_message("citations", answer["message"]["citations"][0].clone())}),
        json!({"type": "citation-end", "index": 0}),
        json!({"type": "content-end", "index": 0}),
        json!({"type": "message-end",
            "delta": {"finish_reason": answer["finish_reason"], "usage": answer["usage"]}}),
    ]
    .iter()
    .map(named)
    .collect()
}

/// The events of a Responses stream.
pub(crate) fn responses_events() -> Vec<String> {
    [
        json!({"type": "response.created", "response": {"id": "r1", "status": "in_progress"}}),
        json!({"type": "response.output_text.delta", "delta": "Redis."}),
        json!({"type": "response.completed", "response": responses_answer()}),
    ]
    .iter()
    .map(named)
    .collect()
}

/// An answer of Responses.
pub(crate) fn responses_answer() -> Value {
    json!({
        "id": "r1", "object": "response", "status": "completed", "model": "m-2",
        "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Redis."}]}],
        "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10},
    })
}

/// The lines of an Ollama chat.
pub(crate) fn ollama_lines() -> Vec<String> {
    [
        json!({"model": "llama3", "message": {"role": "assistant", "content": "Redis"}, "done": false}),
        json!({"model": "llama3", "message": {"role": "assistant", "content": " does."}, "done": false}),
        json!({"model": "llama3", "message": {"role": "assistant", "content": ""}, "done": true,
            "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3}),
    ]
    .iter()
    .map(|line| format!("{line}\n"))
    .collect()
}

/// The answer of a hit: one with vectors reports a usage of zero.
pub(crate) fn on_a_hit(answer: &Value) -> Value {
    let mut answer = answer.clone();
    if answer["data"].is_array() && answer["usage"].is_object() {
        answer["usage"] = json!({"prompt_tokens": 0, "total_tokens": 0});
    }
    answer
}

/// A built-in route's request and its answer.
pub(crate) struct Case {
    pub(crate) target: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) question: Value,
    pub(crate) answer: Value,
}

/// One for each built-in route that is asked by `POST`.
pub(crate) fn cases() -> Vec<Case> {
    let case = |target, kind, question, answer| Case { target, kind, question, answer };
    let messages = json!([{"role": "user", "content": "Who?"}]);
    let completion =
        json!({"model": "m-2", "choices": [{"index": 0, "text": "Redis.", "finish_reason": "stop"}]});
    let anthropic = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
        "content": [{"type": "text", "text": "Redis."}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 7, "output_tokens": 3}});
    let vectors = json!({"object": "list", "model": "e", "usage": {"prompt_tokens": 2, "total_tokens": 2},
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]});
    let ollama =
        json!({"model": "llama3", "message": {"role": "assistant", "content": "Redis."}, "done": true});
    let generated = json!({"model": "llama3", "response": "Redis.", "done": true, "done_reason": "stop"});
    vec![
        case(CHAT, "query", chat(), chat_answer()),
        case("/some/prefix/v1/chat/completions", "query", chat(), chat_answer()),
        case("/v1/completions", "query", json!({"model": "m", "prompt": "Who?"}), completion.clone()),
        case("/v1/responses", "query", json!({"model": "m", "input": "Who?"}), responses_answer()),
        case(
            "/v1/messages",
            "query",
            json!({"model": "claude", "max_tokens": 9, "messages": messages}),
            anthropic,
        ),
        case(
            "/openai/deployments/gpt/chat/completions?api-version=1",
            "query",
            json!({"messages": messages}),
            chat_answer(),
        ),
        case("/openai/deployments/gpt/completions", "query", json!({"prompt": "Who?"}), completion),
        case("/v2/chat", "query", json!({"model": "command", "messages": messages}), cohere_answer()),
        case("/api/chat", "query", json!({"model": "llama3", "messages": messages, "stream": false}), ollama),
        case(
            "/api/generate",
            "query",
            json!({"model": "llama3", "prompt": "Who?", "stream": false}),
            generated,
        ),
        case("/api/chat", "query", json!({"message": "Who?"}), query_answer()),
        case("/api/v1/chat", "query", json!({"question": "Who?"}), query_answer()),
        case(QUERY, "query", query(), query_answer()),
        case("/v1/embeddings", "embedding", json!({"model": "e", "input": "Who?"}), vectors.clone()),
        case("/openai/deployments/e/embeddings", "embedding", json!({"input": ["Who?"]}), vectors),
        case(
            "/api/embed",
            "embedding",
            json!({"model": "e", "input": "Who?"}),
            json!({"model": "e", "embeddings": [[0.1, 0.2]]}),
        ),
        case(
            "/api/embeddings",
            "embedding",
            json!({"model": "e", "prompt": "Who?"}),
            json!({"embedding": [0.1, 0.2]}),
        ),
    ]
    .into_iter()
    .chain(item_cases())
    .collect()
}

/// Those of APIs whose requests have several inputs, but for OpenAI's and Ollama's.
fn item_cases() -> Vec<Case> {
    let case = |target, kind, question, answer| Case { target, kind, question, answer };
    let content = json!({"parts": [{"text": "Who?"}]});
    let ranking = json!({"model": "r", "query": "Who?", "documents": ["Redis.", "A river."], "top_n": 1});
    let ranked = json!({"id": "1", "results": [{"index": 0, "relevance_score": 0.9}]});
    let scored = json!({"data": [{"index": 0, "object": "score", "score": 0.9}]});
    let one = json!({"embedding": {"values": [0.1, 0.2]}});
    let batch = json!({"embeddings": [{"values": [0.1, 0.2]}]});
    vec![
        case("/embed", "embedding", json!({"inputs": "Who?"}), json!([[0.1, 0.2]])),
        case("/embed_sparse", "embedding", json!({"inputs": "Who?"}), json!([[{"index": 7, "value": 0.5}]])),
        case(
            "/v2/embed",
            "embedding",
            json!({"model": "e", "input_type": "search_query", "texts": ["Who?"]}),
            json!({"id": "1", "embeddings": {"float": [[0.1, 0.2]]}, "texts": ["Who?"]}),
        ),
        case("/v1/models/e:embedContent", "embedding", json!({"content": content}), one.clone()),
        case("/v1beta/models/e:embedContent", "embedding", json!({"content": content}), one),
        case(
            "/v1/models/e:batchEmbedContents",
            "embedding",
            json!({"requests": [{"content": content}]}),
            batch.clone(),
        ),
        case(
            "/v1beta/models/e:batchEmbedContents",
            "embedding",
            json!({"requests": [{"content": content}]}),
            batch,
        ),
        case(
            "/v1/moderations",
            "query",
            json!({"input": "Who?"}),
            json!({"id": "modr-1", "model": "m", "results": [{"flagged": false}]}),
        ),
        case("/rerank", "rerank", ranking.clone(), ranked.clone()),
        case("/reranking", "rerank", ranking.clone(), ranked.clone()),
        case("/v1/rerank", "rerank", ranking.clone(), ranked.clone()),
        case("/v1/reranking", "rerank", ranking.clone(), ranked.clone()),
        case("/v2/rerank", "rerank", ranking, ranked),
        case("/score", "rerank", json!({"text_1": "Who?", "text_2": "Redis."}), scored.clone()),
        case("/v1/score", "rerank", json!({"queries": "Who?", "documents": ["Redis."]}), scored),
    ]
}
