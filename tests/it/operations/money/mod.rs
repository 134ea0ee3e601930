//! Money: what the answers of a service cost, and what the hits saved, in the health page and in the log.

mod every_dialect;
mod reload;
mod usage_on_hit;
mod what_counts;

use serde_json::{Value, json};

use crate::support::{
    Client, Script, Setup, Sidecache, Upstream, eventually,
    samples::{CHAT, QUERY, data, named},
};

/// Prices by which each sort of token shows in a sum: for a thousand of them 2, 0.5, 4 and 10 thousandths.
const PRICES: &str = "[[price]]\nmodel = \"m-*\"\ninput = 2\ncached_input = 0.5\ncache_write = 4\noutput = 10\ncurrency = \"USD\"\n";

/// A conversation with one service: a question and its answer, as a document and as a stream.
struct Talk {
    name: &'static str,
    /// Where the document is asked for, and where the stream is.
    targets: [&'static str; 2],
    questions: [Value; 2],
    document: Value,
    stream: String,
    media: &'static str,
    /// Whether one form is made from the other.
    converts: bool,
    /// What an answer costs, in billionths.
    cost: i64,
    /// The tokens that the provider's own prompt cache had.
    cached: Option<u64>,
}

impl Talk {
    /// The question in one of the two forms, the second of which is a stream.
    async fn ask(&self, client: &Client, streams: bool, id: &str) -> crate::support::Answer {
        let place = usize::from(streams);
        client.post_with(self.targets[place], &[("x-request-id", id)], &self.questions[place]).await
    }

    fn script(&self, streams: bool) -> Script {
        match streams {
            true => Script::chunked(self.media).chunk(&self.stream).end(),
            false => Script::json(&self.document),
        }
    }

    /// The service, and sidecache in front of it. Its answers are streams where `streams`.
    async fn start(&self, streams: bool, config: &str) -> (Upstream, Sidecache) {
        let upstream = Upstream::always(self.script(streams)).await;
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        (upstream, sidecache)
    }
}

/// An amount in billionths of the currency's unit: all amounts here are whole numbers of them.
#[track_caller]
fn billionths(amount: &Value) -> i64 {
    (amount.as_f64().unwrap_or_else(|| panic!("no amount: {amount}")) * 1e9).round() as i64
}

/// What was spent and what was saved.
async fn spent_and_saved(sidecache: &Sidecache) -> (i64, i64) {
    let cache = &sidecache.health().await["cache"];
    assert_eq!(cache["currency"], "USD");
    (billionths(&cache["cost_spent"]), billionths(&cache["cost_saved"]))
}

/// The `llm_call` line of a request.
async fn call_of(sidecache: &Sidecache, id: &str) -> Value {
    let is = |line: &Value| line["event_type"] == "llm_call" && line["request_id"] == id;
    eventually("the call's line", async || sidecache.log.all().into_iter().find(is)).await
}

/// The question with and without `stream`.
fn both(question: &Value) -> [Value; 2] {
    [false, true].map(|streams| {
        let mut question = question.clone();
        question["stream"] = streams.into();
        question
    })
}

/// A talk in each dialect that tells a usage. Each question takes 1,000
/// tokens, of which the provider's cache has 400 where it tells that, and each answer 50.
fn talks() -> Vec<Talk> {
    vec![
        chat(),
        completions(),
        responses(),
        anthropic(),
        cohere(),
        ollama_chat(),
        ollama_generate(),
        gemini(),
        rag(),
    ]
}

/// OpenAI's words.
fn openai_usage() -> Value {
    json!({"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050,
        "prompt_tokens_details": {"cached_tokens": 400, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 20}})
}

fn chat() -> Talk {
    let choice = |name: &str| json!({"index": 0, name: {"role": "assistant", "content": "Redis."}, "finish_reason": "stop"});
    let answer = |object: &str, choices: Value, usage: Value| json!({"id": "c", "object": object, "created": 1, "model": "m-2", "choices": choices, "usage": usage});
    let name = "chat.completion.chunk";
    let question = json!({"model": "m", "messages": [{"role": "user", "content": "Who?"}]});
    let mut questions = both(&question);
    questions[1]["stream_options"] = json!({"include_usage": true});
    Talk {
        name: "chat",
        targets: [CHAT, CHAT],
        questions,
        document: answer("chat.completion", json!([choice("message")]), openai_usage()),
        stream: data(&answer(name, json!([choice("delta")]), Value::Null))
            + &data(&answer(name, json!([]), openai_usage()))
            + "data: [DONE]\n\n",
        media: "text/event-stream",
        converts: true,
        cost: 1_900_000,
        cached: Some(400),
    }
}

fn completions() -> Talk {
    let answer = |choices: Value, usage: Value| json!({"id": "c", "object": "text_completion", "created": 1, "model": "m-2", "choices": choices, "usage": usage});
    let choice = json!([{"index": 0, "text": "Redis.", "logprobs": null, "finish_reason": "stop"}]);
    let mut questions = both(&json!({"model": "m", "prompt": "Who?"}));
    questions[1]["stream_options"] = json!({"include_usage": true});
    Talk {
        name: "completions",
        targets: ["/v1/completions"; 2],
        questions,
        document: answer(choice.clone(), openai_usage()),
        stream: data(&answer(choice, Value::Null))
            + &data(&answer(json!([]), openai_usage()))
            + "data: [DONE]\n\n",
        ..chat()
    }
}

fn responses() -> Talk {
    let usage = json!({"input_tokens": 1000, "output_tokens": 50, "total_tokens": 1050,
        "input_tokens_details": {"cached_tokens": 400}, "output_tokens_details": {"reasoning_tokens": 20}});
    let text = json!({"type": "output_text", "text": "Redis.", "annotations": []});
    let message = |status: &str, content: Value| json!({"id": "i", "type": "message", "role": "assistant", "status": status, "content": content});
    let response = |status: &str, output: Value, usage: Value| json!({"id": "r", "object": "response", "created_at": 1, "status": status, "model": "m-2", "output": output, "usage": usage});
    let done = response("completed", json!([message("completed", json!([text]))]), usage);
    let at = json!({"output_index": 0, "content_index": 0, "item_id": "i"});
    let with = |kind: &str, more: Value| {
        let mut event = json!({"type": kind});
        for (name, value) in [&at, &more].into_iter().flat_map(|part| part.as_object().expect("an object")) {
            event[name] = value.clone();
        }
        event
    };
    let mut events = [
        json!({"type": "response.created", "response": response("in_progress", json!([]), Value::Null)}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": message("in_progress", json!([]))}),
        with(
            "response.content_part.added",
            json!({"part": {"type": "output_text", "text": "", "annotations": []}}),
        ),
        with("response.output_text.delta", json!({"delta": "Redis."})),
        with("response.output_text.done", json!({"text": "Redis."})),
        with("response.content_part.done", json!({"part": text})),
        json!({"type": "response.output_item.done", "output_index": 0, "item": message("completed", json!([text]))}),
        json!({"type": "response.completed", "response": done}),
    ];
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = number.into();
    }
    Talk {
        name: "responses",
        targets: ["/v1/responses"; 2],
        questions: both(&json!({"model": "m", "input": "Who?"})),
        document: done,
        stream: events.iter().map(named).collect(),
        ..chat()
    }
}

/// Anthropic bills what it writes to its cache, and tells all three sorts of input apart.
fn anthropic() -> Talk {
    let mut usage = json!({"input_tokens": 500, "cache_read_input_tokens": 400, "cache_creation_input_tokens": 100, "output_tokens": 50});
    let message = |content: Value, stop: Value, usage: &Value| json!({"id": "msg", "type": "message", "role": "assistant", "model": "m-2", "content": content, "stop_reason": stop, "stop_sequence": null, "usage": usage});
    let document = message(json!([{"type": "text", "text": "Redis."}]), "end_turn".into(), &usage);
    usage["output_tokens"] = 1.into();
    let events = [
        json!({"type": "message_start", "message": message(json!([]), Value::Null, &usage)}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Redis."}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 50}}),
        json!({"type": "message_stop"}),
    ];
    let messages = json!([{"role": "user", "content": "Who?"}]);
    Talk {
        name: "anthropic",
        targets: ["/v1/messages"; 2],
        questions: both(&json!({"model": "m", "max_tokens": 9, "messages": messages})),
        document,
        stream: events.iter().map(named).collect(),
        cost: 2_100_000,
        ..chat()
    }
}

/// Cohere bills fewer tokens than it counts, and its answers name no model.
fn cohere() -> Talk {
    let usage = json!({"billed_units": {"input_tokens": 1000, "output_tokens": 50},
        "tokens": {"input_tokens": 1480, "output_tokens": 57}, "cached_tokens": 400});
    let content = |content: Value| json!({"message": {"content": content}});
    let message = json!({"role": "assistant", "content": [{"type": "text", "text": "Redis."}]});
    let events = [
        json!({"type": "message-start", "id": "c", "delta": {"message": {"role": "assistant"}}}),
        json!({"type": "content-start", "index": 0, "delta": content(json!({"type": "text", "text": ""}))}),
        json!({"type": "content-delta", "index": 0, "delta": content(json!({"text": "Redis."}))}),
        json!({"type": "content-end", "index": 0}),
        json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}}),
    ];
    let messages = json!([{"role": "user", "content": "Who?"}]);
    Talk {
        name: "cohere",
        targets: ["/v2/chat"; 2],
        questions: both(&json!({"model": "m-2", "messages": messages})),
        document: json!({"id": "c", "message": message, "finish_reason": "COMPLETE", "usage": usage}),
        stream: events.iter().map(named).collect(),
        ..chat()
    }
}

fn ollama_chat() -> Talk {
    let message = |content: &str| json!({"role": "assistant", "content": content});
    let last = |content: &str| {
        json!({"model": "m-2", "created_at": "2026-01-01T00:00:00Z", "message": message(content), "done": true,
            "done_reason": "stop", "total_duration": 5, "prompt_eval_count": 1000, "eval_count": 50, "eval_duration": 4})
    };
    let first = json!({"model": "m-2", "created_at": "2026-01-01T00:00:00Z", "message": message("Redis."), "done": false});
    let messages = json!([{"role": "user", "content": "Who?"}]);
    Talk {
        name: "ollama chat",
        targets: ["/api/chat"; 2],
        questions: both(&json!({"model": "m", "messages": messages})),
        document: last("Redis."),
        stream: format!("{first}\n{}\n", last("")),
        media: "application/x-ndjson",
        cost: 2_500_000,
        cached: None,
        ..chat()
    }
}

fn ollama_generate() -> Talk {
    let line = |text: &str, done: bool| json!({"model": "m-2", "created_at": "2026-01-01T00:00:00Z", "response": text, "done": done});
    let last = |text: &str| {
        let mut last = line(text, true);
        last["done_reason"] = "stop".into();
        last["prompt_eval_count"] = 1000.into();
        last["eval_count"] = 50.into();
        last
    };
    Talk {
        name: "ollama generate",
        targets: ["/api/generate"; 2],
        questions: both(&json!({"model": "m", "prompt": "Who?"})),
        document: last("Redis."),
        stream: format!("{}\n{}\n", line("Redis.", false), last("")),
        ..ollama_chat()
    }
}

fn gemini() -> Talk {
    let part = |said: u64| {
        json!({"candidates": [{"content": {"parts": [{"text": "Redis."}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 1000, "cachedContentTokenCount": 400, "candidatesTokenCount": said,
                "thoughtsTokenCount": 20, "totalTokenCount": 1020 + said,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1000}]},
            "modelVersion": "m-2"})
    };
    let question = json!({"contents": [{"parts": [{"text": "Who?"}]}]});
    Talk {
        name: "gemini",
        targets: ["/v1beta/models/m:generateContent", "/v1beta/models/m:streamGenerateContent?alt=sse"],
        questions: [question.clone(), question],
        document: part(30),
        stream: data(&part(10)) + &data(&part(30)),
        ..chat()
    }
}

fn rag() -> Talk {
    let answer = json!({"answer": "Redis.", "model": "m-2", "usage": openai_usage()});
    Talk {
        name: "rag",
        targets: [QUERY; 2],
        questions: both(&json!({"query": "Who?"})),
        stream: data(&json!({"delta": "Redis."})) + &data(&answer) + "data: [DONE]\n\n",
        document: answer,
        converts: false,
        ..chat()
    }
}
