//! What is never served by meaning, although an answer is near and certified.

use serde_json::{Value, json};

use super::*;
use crate::support::{run, samples::CHAT};

const ASKED: &str = "please tell me about my refund said the walrus while it was eating the celery";

/// A chat with these messages before the question.
fn after(earlier: Value, question: &str) -> Value {
    let mut messages = earlier.as_array().cloned().expect("a list");
    messages.push(json!({"role": "user", "content": question}));
    json!({"model": "m", "messages": messages})
}

/// A plain chat with another member.
fn with(member: &str, value: Value) -> Value {
    let mut chat = chat(ASKED);
    chat[member] = value;
    chat
}

#[test]
fn each_of_these_is_asked_of_the_service() {
    run(async {
        let world = World::serving("").await;
        world.certify("refund").await;
        let client = world.sidecache.client();
        // It is near: without a reason to refuse, it is served.
        let control = world.ask(ASKED).await;
        assert_eq!(control.cache(), "SIMILAR", "{control:?}");
        let call = json!({"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
        let tool = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
        let image = json!([{"type": "text", "text": question("refund", 201)},
            {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]);
        let cases: Vec<(&str, Value)> = vec![
            // Another partition.
            ("another system prompt", after(json!([{"role": "system", "content": "Be brief."}]), ASKED)),
            (
                "an earlier turn",
                after(
                    json!([{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]),
                    ASKED,
                ),
            ),
            ("another model", with("model", json!("other"))),
            ("tools", with("tools", json!([tool]))),
            ("another parameter", with("max_tokens", json!(77))),
            ("another temperature", with("temperature", json!(0.3))),
            ("a response format", with("response_format", json!({"type": "json_object"}))),
            // Never.
            (
                "a tool's result",
                json!({"model": "m", "messages": [
                {"role": "user", "content": ASKED}, {"role": "assistant", "content": null, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "done"}]}),
            ),
            ("an image", json!({"model": "m", "messages": [{"role": "user", "content": image}]})),
            ("a high temperature", with("temperature", json!(1.5))),
            ("a text that is too short", chat("refund")),
            ("a text that is too long", chat(&"refund please now ".repeat(600))),
            // Guards.
            ("another number", chat("please tell me about my refund of 30 coins said the walrus")),
            (
                "a negation",
                chat("please do not tell me about my refund said the walrus while it was eating the celery"),
            ),
            (
                "a name",
                chat("please tell me about my refund said the walrus while Anna was eating the celery"),
            ),
            (
                "a quoted text",
                chat(
                    "please tell me about my refund in \"the blue book\" said the walrus while it was eating the celery",
                ),
            ),
            ("a URL", chat("please tell me about my refund at https://example.org/a said the walrus")),
        ];
        for (why, body) in cases {
            let calls = world.upstream.calls();
            let answer = client.post(CHAT, &body).await;
            assert_eq!((answer.status, answer.cache()), (200, "MISS"), "{why}: {answer:?}");
            assert!(world.upstream.calls() > calls, "{why}");
        }
    });
}

#[test]
fn a_client_can_refuse() {
    run(async {
        let world = World::serving("").await;
        world.certify("refund").await;
        let client = world.sidecache.client();
        let cases = [
            ("cache-control", "no-cache", "BYPASS"),
            ("cache-control", "no-store", "BYPASS"),
            ("cache-control", "max-age=0", "MISS"),
            ("x-cache-ttl", "0", "MISS"),
            ("x-cache-similar", "no", "MISS"),
            ("x-cache-similar", "No", "MISS"),
            ("x-cache-similar", "whatever", "MISS"),
            ("x-cache-similar", "yes", "SIMILAR"),
        ];
        for (at, (name, value, expected)) in cases.into_iter().enumerate() {
            let asked = chat(&question("refund", 100 + at));
            let answer = client.post_with(CHAT, &[(name, value)], &asked).await;
            assert_eq!((answer.status, answer.cache()), (200, expected), "{name}: {value}");
            let is_similar = expected == "SIMILAR";
            assert_eq!(answer.header("sidecache-original").is_empty(), !is_similar, "{name}: {value}");
            // It is for sidecache alone, and does not tell requests apart.
            if name == "x-cache-similar" && !is_similar {
                assert_eq!(world.upstream.last().header(name), None);
                assert_eq!(world.ask(&question("refund", 100 + at)).await.cache(), "HIT");
            }
        }
        let only = chat(&question("refund", 150));
        let refused = client.post_with(CHAT, &[("cache-control", "only-if-cached")], &only).await;
        assert_eq!((refused.status, refused.cache()), (504, "MISS"));
    });
}

#[test]
fn who_refuses_is_labelled_all_the_same() {
    run(async {
        let world = World::serving("").await;
        let asked = world.certify("refund").await;
        let refuses = [("x-cache-similar", "no")];
        world.sidecache.client().post_with(CHAT, &refuses, &chat(&question("refund", 100))).await;
        world.until("labels", json!(asked)).await;
    });
}
