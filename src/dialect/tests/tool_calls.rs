//! Answers that call tools: stored only if the route allows it, and only with arguments that are JSON.

use serde_json::{Value, json};

use super::*;

/// Each kind of call that a dialect knows, and what it does not know.
#[test]
fn no_call_is_stored_where_calls_are_not() {
    let chat = |message: Value| {
        let end = "tool_calls";
        [
            Reply::document(&json!({"choices": [{"index": 0, "message": message, "finish_reason": end}]})),
            Reply::chunks(&[
                json!({"choices": [{"index": 0, "delta": message, "finish_reason": null}]}),
                json!({"choices": [{"index": 0, "delta": {}, "finish_reason": end}]}),
                json!("[DONE]"),
            ]),
        ]
    };
    let anthropic = |block: Value| {
        [
            Reply::document(
                &json!({"type": "message", "content": [{"type": "text", "text": "x"}, block], "stop_reason": "tool_use"}),
            ),
            Reply::events(&[
                json!({"type": "message_start", "message": {}}),
                json!({"type": "content_block_start", "index": 0, "content_block": block}),
                json!({"type": "content_block_stop", "index": 0}),
                json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}),
                json!({"type": "message_stop"}),
            ]),
        ]
    };
    let responses = |item: Value| {
        let message = json!({"type": "message", "content": [{"type": "output_text", "text": "x"}]});
        let response = json!({"status": "completed", "output": [message, item]});
        [
            Reply::document(&response),
            Reply::events(&[json!({"type": "response.completed", "response": response})]),
        ]
    };
    let ollama = |message: Value| {
        [
            Reply::document(&json!({"message": message, "done": true, "done_reason": "stop"})),
            Reply::lines(&[
                json!({"message": message, "done": false}),
                json!({"message": {"content": ""}, "done": true, "done_reason": "stop"}),
            ]),
        ]
    };
    let cohere = |content: Value, calls: Value| {
        let part = |name: &str, part: Value| json!({"message": {name: part}});
        let whole = json!({"id": "i", "message": {"content": content, "tool_calls": calls}, "finish_reason": "TOOL_CALL"});
        let mut events = vec![json!({"type": "message-start", "id": "i"})];
        for block in content.as_array().expect("blocks") {
            events
                .push(json!({"type": "content-start", "index": 0, "delta": part("content", block.clone())}));
        }
        for call in calls.as_array().expect("calls") {
            events.push(
                json!({"type": "tool-call-start", "index": 0, "delta": part("tool_calls", call.clone())}),
            );
        }
        events.push(json!({"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}}));
        [Reply::document(&whole), Reply::events(&events)]
    };
    let text = json!({"type": "text", "text": "x"});
    let call =
        json!({"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let object = json!({"function": {"name": "f", "arguments": {"a": 1}}});
    let gemini = |part: Value| {
        let chunk = |end: Value| {
            json!({"candidates": [{"content": {"parts": [{"text": "x"}, part]}, "finishReason": end}],
                "usageMetadata": {"promptTokenCount": 1}})
        };
        [Reply::document(&chunk(json!("STOP"))), Reply::chunks(&[chunk(Value::Null), chunk(json!("STOP"))])]
    };
    let rag = |json: Value| {
        [Reply::document(&json), Reply::chunks(&[json!({"answer": "x"}), json, json!("[DONE]")])]
    };
    let without = Route { cache_tool_calls: false, ..route() };
    for (dialect, reply) in [
        (Dialect::OpenAiChat, chat(json!({"content": "x", "tool_calls": [call]}))),
        (
            Dialect::OpenAiChat,
            chat(
                json!({"content": "x", "tool_calls": [{"index": 0, "type": "custom", "custom": {"name": "f", "input": "{"}}]}),
            ),
        ),
        (
            Dialect::OpenAiChat,
            chat(json!({"content": null, "function_call": {"name": "f", "arguments": "{}"}})),
        ),
        (Dialect::OpenAiChat, chat(json!({"content": "x", "executed_tools": [{"type": "search"}]}))),
        (Dialect::Anthropic, anthropic(json!({"type": "tool_use", "id": "t", "name": "f", "input": {}}))),
        (
            Dialect::Anthropic,
            anthropic(json!({"type": "server_tool_use", "id": "t", "name": "web_search", "input": {}})),
        ),
        (Dialect::Anthropic, anthropic(json!({"type": "mcp_tool_use", "id": "t"}))),
        (Dialect::Anthropic, anthropic(json!({"type": "web_search_tool_result", "content": []}))),
        (Dialect::Anthropic, anthropic(json!({"type": "some_new_call"}))),
        (Dialect::OpenAiResponses, responses(json!({"type": "function_call", "arguments": "{}"}))),
        (Dialect::OpenAiResponses, responses(json!({"type": "custom_tool_call", "input": "x"}))),
        (Dialect::OpenAiResponses, responses(json!({"type": "web_search_call", "status": "completed"}))),
        (Dialect::OpenAiResponses, responses(json!({"type": "computer_call"}))),
        (Dialect::OpenAiResponses, responses(json!({"type": "mcp_call", "arguments": "{}"}))),
        (Dialect::OpenAiResponses, responses(json!({"type": "some_new_call"}))),
        (Dialect::CohereChat, cohere(json!([]), json!([call]))),
        (Dialect::CohereChat, cohere(json!([text]), json!([[call]]))),
        (Dialect::CohereChat, cohere(json!([text, {"type": "some_new_call"}]), json!([]))),
        (Dialect::OllamaChat, ollama(json!({"content": "x", "tool_calls": [object]}))),
        (Dialect::Gemini, gemini(json!({"functionCall": {"name": "f", "args": {"a": 1}}}))),
        (Dialect::Gemini, gemini(json!({"functionCall": {"name": "f"}, "thoughtSignature": "QQ=="}))),
        (Dialect::Gemini, gemini(json!({"executableCode": {"language": "PYTHON", "code": "1"}}))),
        (Dialect::Gemini, gemini(json!({"codeExecutionResult": {"outcome": "OUTCOME_OK"}}))),
        (Dialect::Gemini, gemini(json!({"someNewCall": {}}))),
        (Dialect::Rag, rag(json!({"answer": "x", "tool_calls": [call]}))),
        (Dialect::Rag, rag(json!({"answer": "x", "type": "tool_use"}))),
    ] {
        for reply in reply {
            let asked = request(dialect, false, false);
            assert_eq!(
                judge(dialect, &without, &asked, &reply).verdict,
                Err(Reason::ToolCalls),
                "{dialect:?} {}",
                reply.body
            );
            assert_eq!(verdict(dialect, &asked, &reply), Ok(()), "{dialect:?} {}", reply.body);
        }
    }
    for (dialect, reply) in [
        (
            Dialect::OpenAiChat,
            chat(
                json!({"role": "assistant", "content": "x", "refusal": null, "reasoning_content": "r", "annotations": [], "tool_calls": null, "images": null, "new": null, "newer": []}),
            ),
        ),
        (Dialect::Anthropic, anthropic(json!({"type": "text", "text": "x"}))),
        (Dialect::OpenAiResponses, responses(json!({"type": "reasoning", "summary": []}))),
        (Dialect::CohereChat, cohere(json!([{"type": "thinking", "thinking": "t"}, text]), json!([]))),
        (Dialect::OllamaChat, ollama(json!({"content": "x", "tool_calls": null}))),
        (
            Dialect::Gemini,
            gemini(json!({"text": "t", "thought": true, "thoughtSignature": "QQ==", "functionCall": null})),
        ),
        (Dialect::Gemini, gemini(json!({"inlineData": {"mimeType": "image/png", "data": ""}}))),
    ] {
        for reply in reply {
            let asked = request(dialect, false, false);
            let judged = judge(dialect, &without, &asked, &reply).verdict;
            assert_eq!(judged, Ok(()), "{dialect:?} {}", reply.body);
        }
    }
}

/// The arguments of a call are JSON, in every dialect.
#[test]
fn arguments_that_are_no_json_are_not_stored() {
    let call = |arguments: &str| json!({"index": 0, "function": {"name": "f", "arguments": arguments}});
    for (dialect, reply) in [
        (
            Dialect::OpenAiChat,
            Reply::document(
                &json!({"choices": [{"message": {"tool_calls": [call("{\"a\":")]}, "finish_reason": "tool_calls"}]}),
            ),
        ),
        (
            Dialect::OpenAiChat,
            Reply::chunks(&[
                json!({"choices": [{"delta": {"tool_calls": [call("{\"a\":")]}, "finish_reason": "tool_calls"}]}),
                json!("[DONE]"),
            ]),
        ),
        (
            Dialect::OpenAiChat,
            Reply::document(
                &json!({"choices": [{"message": {"function_call": {"arguments": "x"}}, "finish_reason": "function_call"}]}),
            ),
        ),
        (
            Dialect::Anthropic,
            Reply::document(
                &json!({"content": [{"type": "tool_use", "input": "{"}], "stop_reason": "tool_use"}),
            ),
        ),
        (
            Dialect::OpenAiResponses,
            Reply::document(
                &json!({"status": "completed", "output": [{"type": "function_call", "arguments": "{\"a\""}]}),
            ),
        ),
        (
            Dialect::CohereChat,
            Reply::document(
                &json!({"message": {"tool_calls": [call("{\"a\":")]}, "finish_reason": "TOOL_CALL"}),
            ),
        ),
        (
            Dialect::CohereChat,
            Reply::events(&[
                json!({"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": call("{\"a\":")}}}),
                json!({"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}}),
            ]),
        ),
        (
            Dialect::OllamaChat,
            Reply::document(
                &json!({"message": {"tool_calls": [{"function": {"arguments": "{"}}]}, "done": true}),
            ),
        ),
        (
            Dialect::OllamaChat,
            Reply::lines(&[
                json!({"message": {"tool_calls": [{"function": {"arguments": "{"}}]}, "done": true}),
            ]),
        ),
        (
            Dialect::Gemini,
            Reply::document(
                &json!({"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": "{"}}]}, "finishReason": "STOP"}]}),
            ),
        ),
    ] {
        let judged = verdict(dialect, &request(dialect, false, false), &reply);
        assert_eq!(judged, Err(Reason::Invalid), "{dialect:?} {}", reply.body);
    }
}
