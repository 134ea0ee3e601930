//! Which answers are stored and which are not, by table, for every dialect and both forms of its answer.
//!
//! Here are the requests and answers that the tables are made of. A new dialect gets a row in each table.

mod ends;
mod failures;
mod requests;
mod tool_calls;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};

use crate::{
    cache::route::{Route, Scope, kind::Kind},
    dialect::{Answer, Dialect, RequestIds, usage::UsageSetting},
    json::Json,
    reason::Reason,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerForm {
    Document,
    Stream,
}

const BOTH: [AnswerForm; 2] = [AnswerForm::Document, AnswerForm::Stream];

/// The dialects whose answers end with a word.
const WITH_ENDS: [Dialect; 8] = [
    Dialect::OpenAiChat,
    Dialect::OpenAiCompletions,
    Dialect::OpenAiResponses,
    Dialect::Anthropic,
    Dialect::CohereChat,
    Dialect::OllamaChat,
    Dialect::OllamaGenerate,
    Dialect::Gemini,
];

/// An answer as a service writes it.
#[derive(Clone, Debug)]
struct Reply {
    media: &'static str,
    body: String,
}

impl Reply {
    fn document(json: &Value) -> Self {
        Self { media: "application/json", body: json.to_string() }
    }

    fn events(events: &[Value]) -> Self {
        let body = events.iter().map(|event| match event {
            Value::String(text) => format!("data: {text}\n\n"),
            event => format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("message")),
        });
        Self { media: "text/event-stream", body: body.collect() }
    }

    fn chunks(chunks: &[Value]) -> Self {
        let body = chunks.iter().map(|chunk| match chunk {
            Value::String(text) => format!("data: {text}\n\n"),
            chunk => format!("data: {chunk}\n\n"),
        });
        Self { media: "text/event-stream", body: body.collect() }
    }

    fn lines(lines: &[Value]) -> Self {
        Self { media: "application/x-ndjson", body: lines.iter().map(|line| format!("{line}\n")).collect() }
    }
}

fn route() -> Route {
    Route::new("POST /**", Kind::Query, std::time::Duration::from_secs(60), Scope::Credential)
        .expect("a route")
}

fn judge(dialect: Dialect, route: &Route, request: &Value, reply: &Reply) -> Answer {
    let text = request.to_string();
    let json = Json::parse(text.as_bytes()).expect("JSON");
    let ask = dialect.ask(&json, UsageSetting::AsAsked, None);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.media));
    dialect.judge(
        route.judging(&ask, Some(RequestIds::default())),
        route.framing(&headers),
        &headers,
        &Bytes::from(reply.body.clone()),
    )
}

fn verdict(dialect: Dialect, request: &Value, reply: &Reply) -> Result<(), Reason> {
    judge(dialect, &route(), request, reply).verdict
}

/// An answer that says `text` and ends with `end`.
fn answer(dialect: Dialect, form: AnswerForm, text: &str, end: Value) -> Reply {
    let finish = |choice: Value| json!({"model": "m", "choices": [choice]});
    match (dialect, form) {
        (Dialect::OpenAiChat, AnswerForm::Document) => Reply::document(&finish(
            json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": end}),
        )),
        (Dialect::OpenAiChat, AnswerForm::Stream) => Reply::chunks(&[
            finish(
                json!({"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": null}),
            ),
            finish(json!({"index": 0, "delta": {}, "finish_reason": end})),
            json!("[DONE]"),
        ]),
        (Dialect::OpenAiCompletions, AnswerForm::Document) => {
            Reply::document(&finish(json!({"index": 0, "text": text, "finish_reason": end})))
        }
        (Dialect::OpenAiCompletions, AnswerForm::Stream) => Reply::chunks(&[
            finish(json!({"index": 0, "text": text, "finish_reason": null})),
            finish(json!({"index": 0, "text": "", "finish_reason": end})),
            json!("[DONE]"),
        ]),
        (Dialect::OpenAiResponses, form) => {
            let part = json!({"type": "output_text", "text": text, "annotations": []});
            let item = json!({"type": "message", "id": "i", "status": "completed", "content": [part]});
            let response = json!({"id": "r", "model": "m", "status": end, "output": [item]});
            match form {
                AnswerForm::Document => Reply::document(&response),
                AnswerForm::Stream => Reply::events(&[
                    json!({"type": "response.created", "response": {"id": "r", "status": "in_progress"}}),
                    json!({"type": "response.completed", "response": response}),
                ]),
            }
        }
        (Dialect::Anthropic, AnswerForm::Document) => Reply::document(
            &json!({"type": "message", "content": [{"type": "text", "text": text}], "stop_reason": end}),
        ),
        (Dialect::Anthropic, AnswerForm::Stream) => Reply::events(&[
            json!({"type": "message_start", "message": {"model": "m", "content": []}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": end}, "usage": {"output_tokens": 1}}),
            json!({"type": "message_stop"}),
        ]),
        (Dialect::CohereChat, AnswerForm::Document) => Reply::document(&json!({"id": "i",
            "message": {"role": "assistant", "content": [{"type": "text", "text": text}]}, "finish_reason": end})),
        (Dialect::CohereChat, AnswerForm::Stream) => {
            let content = |content| json!({"message": {"content": content}});
            let start = content(json!({"type": "text", "text": ""}));
            Reply::events(&[
                json!({"type": "message-start", "id": "i", "delta": {"message": {"role": "assistant"}}}),
                json!({"type": "content-start", "index": 0, "delta": start}),
                json!({"type": "content-delta", "index": 0, "delta": content(json!({"text": text}))}),
                json!({"type": "content-end", "index": 0}),
                json!({"type": "message-end", "delta": {"finish_reason": end}}),
            ])
        }
        (Dialect::OllamaChat, AnswerForm::Document) => Reply::document(
            &json!({"model": "m", "message": {"content": text}, "done": true, "done_reason": end}),
        ),
        (Dialect::OllamaChat, AnswerForm::Stream) => Reply::lines(&[
            json!({"model": "m", "message": {"content": text}, "done": false}),
            json!({"model": "m", "message": {"content": ""}, "done": true, "done_reason": end}),
        ]),
        (Dialect::OllamaGenerate, AnswerForm::Document) => {
            Reply::document(&json!({"model": "m", "response": text, "done": true, "done_reason": end}))
        }
        (Dialect::OllamaGenerate, AnswerForm::Stream) => Reply::lines(&[
            json!({"model": "m", "response": text, "done": false}),
            json!({"model": "m", "response": "", "done": true, "done_reason": end}),
        ]),
        (Dialect::Gemini, form) => {
            let chunk = |text: &str, end: &Value| {
                json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": end}],
                    "usageMetadata": {"promptTokenCount": 1}, "modelVersion": "m"})
            };
            match form {
                AnswerForm::Document => Reply::document(&chunk(text, &end)),
                AnswerForm::Stream => Reply::chunks(&[chunk(text, &Value::Null), chunk("", &end)]),
            }
        }
        (other, _) => panic!("{other:?}"),
    }
}

/// A request that sets a limit, or sets none, and may want JSON.
fn request(dialect: Dialect, limit: bool, wants_json: bool) -> Value {
    let mut request = json!({"model": "m", "messages": [], "prompt": "p", "input": "i"});
    let limits = [
        (Dialect::OpenAiResponses, "max_output_tokens", json!(9)),
        (Dialect::OllamaChat, "options", json!({"num_predict": 9})),
        (Dialect::OllamaGenerate, "options", json!({"num_predict": 9})),
        (Dialect::Gemini, "generationConfig", json!({"maxOutputTokens": 9})),
    ];
    let (name, value) = limits
        .into_iter()
        .find(|(own, ..)| *own == dialect)
        .map_or(("max_tokens", json!(9)), |(_, name, value)| (name, value));
    if limit {
        request[name] = value;
    }
    if wants_json {
        let schema =
            json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}});
        match dialect {
            Dialect::OpenAiResponses => request["text"] = json!({"format": schema}),
            Dialect::Anthropic => request["output_format"] = schema,
            Dialect::OllamaChat | Dialect::OllamaGenerate => request["format"] = json!("json"),
            Dialect::Gemini => request["generationConfig"]["responseMimeType"] = json!("application/json"),
            _ => request["response_format"] = json!({"type": "json_object"}),
        }
    }
    request
}

fn good_end(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAiResponses => "completed",
        Dialect::Anthropic => "end_turn",
        Dialect::CohereChat => "complete",
        _ => "stop",
    }
}
