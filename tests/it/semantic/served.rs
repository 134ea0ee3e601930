//! A certified hit: what the client, the log and the counters learn, in both forms, for each dialect.

use serde_json::{Value, json};

use super::*;
use crate::support::{
    Script, Setup, Upstream, run,
    samples::{CHAT, DONE, chat_choice, chunk},
};

#[test]
fn a_certified_hit_asks_nobody_and_says_whose_answer_it_is() {
    run(async {
        let world = World::serving("").await;
        let asked_before = world.certify("refund").await;
        let (calls, served) = (world.upstream.calls(), world.route().await["served"].clone());
        assert_eq!(served, 0);
        let client = world.sidecache.client();
        let asked = chat(&question("refund", 100));
        let answer = client.post_with(CHAT, &[("x-request-id", "similar")], &asked).await;
        assert_eq!((answer.status, answer.cache(), answer.detail()), (200, "SIMILAR", Some("similar")));
        assert!(answer.header("cache-status").starts_with("sidecache; hit; ttl="), "{answer:?}");
        let similarity: f64 = answer.header("sidecache-similarity").parse().expect("a number");
        assert!((0.97..0.99).contains(&similarity), "{similarity}");
        let original = answer.header("sidecache-original").to_owned();
        assert!(original.contains(":query:") && original != answer.key(), "{original}");
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "this is all about the refund");
        let line = world.sidecache.log.response("similar").await;
        assert_eq!(line["cache"]["status"], "SIMILAR");
        assert_eq!(line["cache"]["original"], json!(original));
        assert_eq!(line["cache"]["key"], json!(answer.key()));
        let is_saved = |line: &Value| line["event_type"] == "llm_call" && line["request_id"] == "similar";
        let saved = world.sidecache.log.wait_for("the saved call", is_saved).await;
        assert_eq!((&saved["cached"], &saved["total_tokens"]), (&json!(true), &json!(10)));
        // It may be audited, and is then stored under its own key: asked at most once.
        assert!(world.upstream.calls() <= calls + 1);
        world.until("served", json!(1)).await;
        let cache = &world.sidecache.health().await["cache"];
        assert_eq!((&cache["similar"], &cache["misses"]), (&json!(1), &json!(asked_before)));
        // The original itself is an exact hit, as ever.
        let known = question("refund", 0);
        assert_eq!(world.ask(&known).await.cache(), "HIT");
    });
}

#[test]
fn equal_questions_at_once_are_each_served() {
    run(async {
        let world = World::serving("").await;
        world.certify("refund").await;
        let asked = chat(&question("refund", 100));
        let all: Vec<_> = (0..8).map(|_| world.sidecache.asking(CHAT, "one", &asked)).collect();
        for answer in all {
            let answer = answer.await.expect("no panic");
            // Its audit may have been quicker.
            assert!(["SIMILAR", "HIT"].contains(&answer.cache()), "{answer:?}");
            assert_eq!(answer.json()["choices"][0]["message"]["content"], "this is all about the refund");
        }
    });
}

/// A dialect: its path, how a question is asked in both forms, and what it answers in each.
struct Case {
    target: &'static str,
    stream_target: &'static str,
    ask: fn(&str, bool) -> Value,
    whole: fn(&str) -> Value,
    media: &'static str,
    events: fn(&str) -> Vec<String>,
    /// Where the text is in the whole form.
    text: &'static str,
}

fn data(content: &Value) -> String {
    format!("data: {content}\n\n")
}

fn named(content: &Value) -> String {
    format!("event: {}\ndata: {content}\n\n", content["type"].as_str().unwrap_or_default())
}

fn message(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

const CASES: [Case; 6] = [
    Case {
        target: CHAT,
        stream_target: CHAT,
        ask: |text, stream| {
            let mut chat = json!({"model": "m", "messages": message(text), "stream": stream});
            if stream {
                chat["stream_options"] = json!({"include_usage": true});
            }
            chat
        },
        whole: |text| chat_choice(json!({"role": "assistant", "content": text}), "stop"),
        media: "text/event-stream",
        events: |text| {
            vec![
                chunk(json!({"role": "assistant", "content": text}), None),
                chunk(json!({}), Some("stop")),
                data(
                    &json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m-2", "choices": [],
                    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}),
                ),
                DONE.to_owned(),
            ]
        },
        text: "/choices/0/message/content",
    },
    Case {
        target: "/v1/messages",
        stream_target: "/v1/messages",
        ask: |text, stream| json!({"model": "m", "max_tokens": 99, "messages": message(text), "stream": stream}),
        whole: |text| {
            json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
                "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": null,
                "usage": {"input_tokens": 7, "output_tokens": 3}})
        },
        media: "text/event-stream",
        events: |text| {
            let start = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [],
                "stop_reason": null, "usage": {"input_tokens": 7, "output_tokens": 1}});
            [
                json!({"type": "message_start", "message": start}),
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
                json!({"type": "content_block_stop", "index": 0}),
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}),
                json!({"type": "message_stop"}),
            ]
            .iter()
            .map(named)
            .collect()
        },
        text: "/content/0/text",
    },
    Case {
        target: "/v1beta/models/gemini-2.5-flash:generateContent",
        stream_target: "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        ask: |text, _| json!({"contents": [{"role": "user", "parts": [{"text": text}]}]}),
        whole: |text| {
            json!({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP",
                "index": 0}], "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10},
                "modelVersion": "gemini-2.5-flash", "responseId": "r1"})
        },
        media: "text/event-stream",
        events: |text| {
            vec![data(&json!({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]},
                "finishReason": "STOP", "index": 0}], "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3,
                "totalTokenCount": 10}, "modelVersion": "gemini-2.5-flash", "responseId": "r1"}))]
        },
        text: "/candidates/0/content/parts/0/text",
    },
    Case {
        target: "/v2/chat",
        stream_target: "/v2/chat",
        ask: |text, stream| json!({"model": "m", "messages": message(text), "stream": stream}),
        whole: |text| {
            json!({"id": "c1", "message": {"role": "assistant", "content": [{"type": "text", "text": text}]},
                "finish_reason": "COMPLETE", "usage": {"billed_units": {"input_tokens": 7, "output_tokens": 3},
                "tokens": {"input_tokens": 70, "output_tokens": 4}}})
        },
        media: "text/event-stream",
        events: |text| {
            let message = json!({"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []});
            [
                json!({"id": "c1", "type": "message-start", "delta": {"message": message}}),
                json!({"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}}),
                json!({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}}),
                json!({"type": "content-end", "index": 0}),
                json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage":
                    {"billed_units": {"input_tokens": 7, "output_tokens": 3}, "tokens": {"input_tokens": 70, "output_tokens": 4}}}}),
            ]
            .iter()
            .map(named)
            .collect()
        },
        text: "/message/content/0/text",
    },
    Case {
        target: "/api/chat",
        stream_target: "/api/chat",
        ask: |text, stream| json!({"model": "m", "messages": message(text), "stream": stream}),
        whole: |text| {
            json!({"model": "m", "created_at": "2024-01-01T00:00:00Z", "message": {"role": "assistant", "content": text},
                "done": true, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3})
        },
        media: "application/x-ndjson",
        events: |text| {
            let line = |value: Value| format!("{value}\n");
            vec![
                line(json!({"model": "m", "created_at": "2024-01-01T00:00:00Z",
                    "message": {"role": "assistant", "content": text}, "done": false})),
                line(json!({"model": "m", "created_at": "2024-01-01T00:00:00Z",
                    "message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop",
                    "prompt_eval_count": 7, "eval_count": 3})),
            ]
        },
        text: "/message/content",
    },
    Case {
        target: "/api/v1/query",
        stream_target: "/api/v1/query",
        ask: |text, _| json!({"query": text}),
        whole: |text| json!({"answer": text, "sources": [{"document_id": "store", "score": 1.5}]}),
        media: "",
        events: |_| Vec::new(),
        text: "/answer",
    },
];

#[test]
fn every_dialect_is_served_in_both_forms() {
    for case in &CASES {
        for asked_as_stream in [false, true] {
            if case.media.is_empty() && asked_as_stream {
                continue;
            }
            run(both_forms(case, asked_as_stream));
        }
    }
}

/// Certifies with answers in one form, and asks for both.
async fn both_forms(case: &'static Case, certified_as_stream: bool) {
    let upstream = Upstream::start(move |request| {
        let body = request.json().to_string();
        let topic = world::TOPICS.iter().find(|topic| body.contains(**topic)).unwrap_or(&"nothing");
        let text = format!("this is all about the {topic}");
        let streams = request.json()["stream"] == true || request.target.contains(":stream");
        if streams && !case.media.is_empty() {
            (case.events)(&text).iter().fold(Script::chunked(case.media), Script::chunk).end()
        } else {
            Script::json(&(case.whole)(&text))
        }
    })
    .await;
    let embeddings = world::Embeddings::start().await;
    let config = format!(
        "[semantic]\nembeddings = \"{}/v1/embeddings\"\nmodel = \"e\"\n{SERVING}\n\
         [[route]]\nname = \"ask\"\nmatch = \"POST {}\"\nkind = \"query\"\nsemantic = true\n",
        embeddings.upstream.url(),
        match case.target.split_once(':') {
            Some(_) => "/**",
            None => case.target,
        },
    );
    let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
    let client = sidecache.client();
    let target = |stream: bool| if stream { case.stream_target } else { case.target };
    let ask = async |wording: usize, stream: bool| {
        client.post(target(stream), &(case.ask)(&question("refund", wording), stream)).await
    };
    let labels = async |count: usize| {
        let what = format!("{} {certified_as_stream}: {count} labels", case.target);
        crate::support::eventually(&what, async || {
            let section = sidecache.health().await["semantic"].clone();
            let has_entry = section["entries"].as_u64() > Some(0);
            (has_entry && section["routes"][0]["labels"] == json!(count)).then_some(())
        })
        .await;
    };
    for wording in 0.. {
        assert_eq!(ask(wording, certified_as_stream).await.cache(), "MISS", "{} {wording}", case.target);
        labels(wording).await;
        if sidecache.health().await["semantic"]["routes"][0]["threshold"].is_number() {
            break;
        }
        assert!(wording < 100, "{}: nothing is certified", case.target);
    }
    for stream in [false, true] {
        if case.media.is_empty() && stream {
            continue;
        }
        let answer = ask(100 + usize::from(stream), stream).await;
        assert_eq!(answer.cache(), "SIMILAR", "{} {certified_as_stream} {stream}: {answer:?}", case.target);
        let media = answer.header("content-type");
        if stream {
            assert!(media.starts_with(case.media), "{media}");
            assert!(answer.text().contains("this is all about the refund"), "{}", answer.text());
        } else {
            assert!(media.starts_with("application/json"), "{media}");
            assert_eq!(answer.json().pointer(case.text), Some(&json!("this is all about the refund")));
        }
    }
}
