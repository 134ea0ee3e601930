//! Answers that are not stored, each with its reason in `Cache-Status` and in the log.

mod answers;
mod streams;

use std::sync::Arc;

use serde_json::json;

use crate::support::{
    Gate, RedisServer, Script, Setup, Sidecache, Upstream, eventually, run,
    samples::{
        CHAT, DONE, anthropic_events, chat, chat_answer, chat_choice, chat_events, chat_stream, chunk, data,
        ollama_lines, query, query_answer, responses_answer,
    },
};

/// The routes of these tests, and a `max_entry` that only one answer exceeds.
const CONFIG: &str = r#"
[store]
max_entry = "4KiB"
[[route]]
match = "POST /ask"
kind = "query"
dialect = "rag"
[[route]]
match = "POST /no-tools"
kind = "query"
dialect = "openai-chat"
cache_tool_calls = false
[[route]]
match = "POST /skip"
kind = "query"
dialect = "rag"
set_cookie = "skip"
[[route]]
match = "POST /anything"
kind = "other"
dialect = "none"
"#;

const DOCUMENT: &str = "/api/v1/documents/d1";

/// A request whose answer is not stored.
struct Case {
    reason: &'static str,
    target: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
    script: Script,
    /// The response is a stream: its head is sent before the reason is known, so only the log has the reason.
    is_stream: bool,
}

impl Case {
    fn new(reason: &'static str, target: &'static str, body: impl ToString, script: Script) -> Self {
        Self { reason, target, headers: Vec::new(), body: body.to_string(), script, is_stream: false }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn stream(self) -> Self {
        Self { is_stream: true, ..self }
    }
}

/// Sends each case twice: neither answer is stored.
async fn assert_not_stored(cases: Vec<Case>) {
    let scripts: Arc<Vec<Script>> = Arc::new(cases.iter().map(|case| case.script.clone()).collect());
    let upstream = Upstream::start(move |request| {
        let case: usize = request.header("x-case").expect("a case").parse().expect("a number");
        scripts[case].clone()
    })
    .await;
    let sidecache = Setup::to(&upstream.url()).config(CONFIG).start().await;
    for (index, case) in cases.iter().enumerate() {
        for turn in ["first", "second"] {
            assert_asked(&sidecache, &upstream, index, case, turn).await;
        }
    }
}

async fn assert_asked(sidecache: &Sidecache, upstream: &Upstream, index: usize, case: &Case, turn: &str) {
    let Case { reason, target, .. } = case;
    let what = format!("{reason}, case {index}, {target}, {turn}");
    let (number, calls) = (index.to_string(), upstream.calls());
    let id = format!("{reason}-{index}-{turn}");
    let mut headers = case.headers.clone();
    headers.extend([("x-case", number.as_str()), ("x-request-id", id.as_str())]);
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        headers.push(("content-type", "application/json"));
    }
    let method = if *target == DOCUMENT { "GET" } else { "POST" };
    let answer = sidecache.client().open(method, target, &headers, case.body.clone()).await;
    assert!(["MISS", "BYPASS"].contains(&answer.cache()), "{what}: {:?}", answer.headers);
    let detail = detail(&answer.headers);
    assert!(!answer.headers["cache-status"].to_str().expect("text").contains("; stored"), "{what}");
    answer.rest().await.expect("a whole body");
    assert_eq!(upstream.calls(), calls + 1, "{what}");
    let line = sidecache.log.response(&id).await;
    assert_eq!(line["cache"]["reason"], *reason, "{what}: {line}");
    let last = format!("last-not-stored:{reason}");
    let is_last = detail.as_ref() == Some(&last);
    assert!(!is_last || turn == "second", "{what}: nothing came before");
    if case.is_stream {
        // Its head has gone before the reason is known, and tells that of the answer before.
        assert!(is_last || (turn == "first" && detail.is_none()), "{what}: {detail:?}");
    } else {
        match detail {
            Some(detail) if !is_last => assert_eq!(detail, *reason, "{what}"),
            // The head waits 50 ms for the end of its body, which may be too short on a busy machine.
            _ => {
                headers.retain(|(name, _)| *name != "x-request-id");
                let received = eventually(&what, async || {
                    let again = sidecache.client().request(method, target, &headers, case.body.clone()).await;
                    again.detail().filter(|detail| *detail != last).map(str::to_owned)
                });
                assert_eq!(received.await, *reason, "{what}");
            }
        }
    }
}

fn detail(headers: &http::HeaderMap) -> Option<String> {
    let status = headers["cache-status"].to_str().expect("text");
    status.split("; ").find_map(|part| part.strip_prefix("detail=")).map(str::to_owned)
}

fn whole_chat() -> Script {
    Script::json(&chat_answer())
}

fn chat_with(headers: &[(&str, &str)]) -> Script {
    Script::json_with(200, headers, &chat_answer())
}

fn says(message: serde_json::Value, finish: &str) -> Script {
    Script::json(&chat_choice(message, finish))
}

fn events(events: &[String]) -> Script {
    Script::events(&events.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn requests_that_cannot_be_cached_have_a_reason() {
    run(async {
        let deep = format!("{{\"model\":\"m\",\"messages\":[{}{}]}}", "[".repeat(5000), "]".repeat(5000));
        assert_not_stored(vec![
            Case::new("request-no-store", CHAT, chat(), whole_chat()).with("cache-control", "no-store"),
            Case::new("request-range", CHAT, chat(), whole_chat()).with("range", "bytes=0-1"),
            Case::new("request-encoded", CHAT, "zip", whole_chat()).with("content-encoding", "gzip"),
            Case::new("request-not-json", CHAT, r#"{"model":"m","messages":["#, whole_chat()),
            Case::new("request-not-json", "/ask", "query=who", whole_chat())
                .with("content-type", "application/x-www-form-urlencoded"),
            Case::new("request-not-in-dialect", "/ask", r#"{"ask":"who"}"#, whole_chat()),
            Case::new(
                "request-repeated-member",
                CHAT,
                r#"{"model":"m","model":"n","messages":[]}"#,
                whole_chat(),
            ),
            Case::new(
                "request-repeated-member",
                CHAT,
                r#"{"model":"m","messages":[{"role":"user","content":"a","c\u006fntent":"b"}]}"#,
                whole_chat(),
            ),
            Case::new("request-lone-surrogate", CHAT, r#"{"model":"\ud800","messages":[]}"#, whole_chat()),
            Case::new("request-too-deep", CHAT, deep, whole_chat()),
            Case::new("ttl-zero", CHAT, chat(), whole_chat()).with("x-cache-ttl", "0"),
        ])
        .await;
    });
}

#[test]
fn answers_that_only_look_uncacheable_are_stored() {
    run(async {
        let upstream = Upstream::start(|request| match request.header("x-case") {
            Some("no-cache") => chat_with(&[("cache-control", "no-cache")]),
            Some("vary") => chat_with(&[("vary", "Accept-Encoding, Origin, Authorization")]),
            Some("identity") => chat_with(&[("content-encoding", "identity")]),
            Some("cookie") => chat_with(&[("set-cookie", "a=b")]),
            Some("length") => says(json!({"role": "assistant", "content": "a"}), "length"),
            Some("refusal") => says(json!({"role": "assistant", "content": null, "refusal": "no"}), "stop"),
            Some("unframed") => Script::raw()
                .head(200, &[("content-type", "application/json")])
                .send(chat_answer().to_string())
                .close(),
            _ => Script::json_with(404, &[], &json!({"detail": "not found"})),
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let mut limited = chat();
        limited["max_tokens"] = 5.into();
        for case in ["no-cache", "vary", "identity", "cookie", "length", "refusal", "unframed"] {
            for turn in ["MISS", "HIT"] {
                let question = if case == "length" { &limited } else { &chat() };
                let answer = client.post_with(CHAT, &[("x-case", case)], question).await;
                assert_eq!(answer.cache(), turn, "{case}: {:?}", answer.headers);
            }
        }
        for turn in ["MISS", "HIT"] {
            let absent = client.get(DOCUMENT).await;
            assert_eq!((absent.status, absent.cache()), (404, turn));
        }
        let hit = client.get(DOCUMENT).await;
        let ttl = hit.header("cache-status").split("; ").find_map(|part| part.strip_prefix("ttl="));
        let ttl: u64 = ttl.expect("a ttl").parse().expect("seconds");
        assert!(ttl <= 30, "{ttl}");
    });
}
