//! Conversations: their ids stay with their own caller, and a turn is never answered from the store.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::{
    Client, Gate, RedisServer, Script, Setup, Sidecache, Upstream, eventually, run,
    samples::{
        CHAT, DONE, QUERY, anthropic_events, chat_answer, chat_events, ollama_lines, responses_answer,
        responses_events,
    },
    soon,
};

/// A request and its answer, in one form.
struct Case {
    target: &'static str,
    question: Value,
    media: &'static str,
    body: String,
}

/// Every dialect of the kind `query`, in both forms.
fn cases() -> Vec<Case> {
    let messages = json!([{"role": "user", "content": "Hi"}]);
    let with = |question: Value, stream: bool| {
        let mut question = question;
        question["stream"] = stream.into();
        question
    };
    let chat = json!({"model": "m", "messages": messages});
    let claude = json!({"model": "m", "messages": messages, "max_tokens": 9});
    let responses = json!({"model": "m", "input": "Hi"});
    let rag = json!({"query": "Hi"});
    let message = json!({"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}});
    let line = json!({"model": "m", "message": {"role": "assistant", "content": "Hello"}, "done": true,
        "done_reason": "stop"});
    let (json, sse, lines) = ("application/json", "text/event-stream", "application/x-ndjson");
    [
        (CHAT, with(chat.clone(), false), json, chat_answer().to_string()),
        (CHAT, with(chat, true), sse, chat_events().concat()),
        ("/v1/messages", with(claude.clone(), false), json, message.to_string()),
        ("/v1/messages", with(claude, true), sse, anthropic_events().concat()),
        ("/v1/responses", with(responses.clone(), false), json, responses_answer().to_string()),
        ("/v1/responses", with(responses, true), sse, responses_events().concat()),
        ("/api/chat", with(json!({"model": "m", "messages": messages}), false), json, line.to_string()),
        (
            "/api/chat",
            with(json!({"model": "m", "messages": messages}), true),
            lines,
            ollama_lines().concat(),
        ),
        (QUERY, with(rag.clone(), false), json, json!({"answer": "Hello", "sources": []}).to_string()),
        (QUERY, with(rag, true), sse, format!("data: {{\"answer\":\"Hello\"}}\n\n{DONE}")),
    ]
    .map(|(target, question, media, body)| Case { target, question, media, body })
    .into()
}

/// `body` with `members` in its first object.
fn opening(body: &str, members: &str) -> String {
    body.replacen('{', &format!("{{{members},"), 1)
}

/// Sends the request twice at once, and once more later; the upstream answers after both have joined. With
/// `stored`, waits for the entry before the third request.
async fn asked_by_three(
    sidecache: &Sidecache,
    go: &Gate,
    case: &Case,
    stored: bool,
) -> Vec<(String, String)> {
    let client = sidecache.client();
    let ask = |id: &'static str| {
        let (client, target, question) = (client.clone(), case.target, case.question.clone());
        tokio::spawn(async move { client.post_with(target, &[("x-request-id", id)], &question).await })
    };
    let both = [ask("one"), ask("two")];
    for id in ["one", "two"] {
        sidecache.log.looked_up(id).await;
    }
    for _ in 0..5 {
        sidecache.health().await;
    }
    go.open();
    let mut received = Vec::new();
    for asked in both {
        let answer = soon("an answer", asked).await.expect("no panic");
        received.push((answer.cache().to_owned(), answer.text()));
    }
    if stored {
        sidecache.log.stored(1).await;
    }
    let later = client.post(case.target, &case.question).await;
    received.push((later.cache().to_owned(), later.text()));
    received
}

/// The ids in a text: `opened-1` and so on.
fn ids(text: &str) -> HashSet<String> {
    let parts = text.split("opened-").skip(1);
    parts.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect()).collect()
}

/// Two callers who send the same words at the same moment, and one who sends them later, never share an id:
/// in every dialect, in both forms, with both stores.
#[test]
fn no_caller_gets_the_conversation_id_of_another() {
    run(async {
        let redis = RedisServer::start();
        for redis in [None, Some(redis.url())] {
            for (number, case) in cases().iter().enumerate() {
                for (style, members) in [
                    r#""session_id":"opened-@""#,
                    r#""chatId":"opened-@""#,
                    r#""chat_session_id":"opened-@","message_id":"opened-@""#,
                    r#""data":{"a":[{"Thread-Id":"opened-@"}],"run_id":"opened-@"}"#,
                    r#""conversation":{"id":"opened-@"}"#,
                    r#""parentMessageId":"opened-@""#,
                ]
                .into_iter()
                .enumerate()
                {
                    let (go, body) = (Gate::new(), opening(&case.body, members));
                    let (gate, media) = (go.clone(), case.media);
                    let calls = std::sync::atomic::AtomicUsize::new(0);
                    let upstream = Upstream::start(move |_| {
                        let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        let body = body.replace('@', &call.to_string());
                        Script::raw().wait(&gate).then(Script::whole(200, &[("content-type", media)], body))
                    })
                    .await;
                    let mut setup =
                        Setup::to(&upstream.url()).env("CACHE_NAMESPACE", &format!("n{number}-{style}"));
                    if let Some(url) = &redis {
                        setup = setup.arguments(&["--redis", url]);
                    }
                    let sidecache = setup.start().await;
                    let received = asked_by_three(&sidecache, &go, case, true).await;
                    let what = format!("{} {} {members}: {received:?}", case.target, case.media);
                    let ids: Vec<_> = received.iter().map(|(_, text)| ids(text)).collect();
                    assert_eq!(ids.iter().filter(|ids| !ids.is_empty()).count(), upstream.calls(), "{what}");
                    for (place, own) in ids.iter().enumerate() {
                        let others = ids[..place].iter().flatten().collect::<HashSet<_>>();
                        assert!(own.iter().all(|id| !others.contains(id)), "{what}");
                    }
                    // The answer is shared without the ids.
                    assert_eq!(received[2].0, "HIT", "{what}");
                }
            }
        }
    });
}

/// A response that is not final belongs to the caller who started it.
#[test]
fn a_background_response_is_not_shared() {
    run(async {
        for status in ["queued", "in_progress"] {
            let go = Gate::new();
            let gate = go.clone();
            let calls = std::sync::atomic::AtomicUsize::new(0);
            let upstream = Upstream::start(move |_| {
                let id = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let answer = json!({"id": format!("opened-{id}"), "object": "response", "status": status,
                    "background": true, "output": [], "model": "m"});
                Script::raw().wait(&gate).then(Script::json(&answer))
            })
            .await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            // This service runs in the background though nobody asked it to.
            let question = json!({"model": "m", "input": "b"});
            let body = question.to_string();
            let case = Case { target: "/v1/responses", question, media: "application/json", body };
            let received = asked_by_three(&sidecache, &go, &case, false).await;
            let own: HashSet<_> = received.iter().flat_map(|(_, text)| ids(text)).collect();
            assert_eq!(own.len(), 3, "{status}: {received:?}");
        }
    });
}

/// An upstream that numbers its answers.
async fn counting() -> Upstream {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    Upstream::start(move |_| {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Script::json(&json!({"answer": format!("turn {call}")}))
    })
    .await
}

async fn turn(client: &Client, headers: &[(&str, &str)], body: &Value) -> (String, String, Option<String>) {
    let answer = client.post_with(QUERY, headers, body).await;
    let received = answer.json()["answer"].as_str().expect("an answer").to_owned();
    (answer.cache().to_owned(), received, answer.detail().map(str::to_owned))
}

/// "Continue" reaches the service each time, wherever and however the request names the conversation, with
/// both stores.
#[test]
fn a_conversation_turn_is_never_answered_from_the_store() {
    run(async {
        let redis = RedisServer::start();
        for arguments in [&[][..], &["--redis", &redis.url()]] {
            let upstream = counting().await;
            let sidecache = Setup::to(&upstream.url()).arguments(arguments).start().await;
            let client = sidecache.client();
            for (place, naming) in [
                json!({"conversation_id": "c"}),
                json!({"sessionId": 7}),
                json!({"metadata": {"thread-id": "c"}}),
                json!({"conversation": {"id": "c"}}),
                json!({"overrideConfig": {"a": [{"chatId": "c"}]}}),
                json!({"chat_session_id": "c", "parent_message_id": 3}),
            ]
            .into_iter()
            .enumerate()
            {
                let mut body = naming.clone();
                body["message"] = json!("continue");
                let reason = Some("conversation-turn".to_owned());
                for repeat in 0..3 {
                    let expected = format!("turn {}", place * 3 + repeat);
                    let received = turn(&client, &[], &body).await;
                    assert_eq!(received, ("BYPASS".to_owned(), expected, reason.clone()), "{body}");
                }
                assert_eq!(upstream.last().json(), body, "the service gets the caller's own");
            }
            let only = [("cache-control", "only-if-cached")];
            let answer = client.post_with(QUERY, &only, &json!({"message": "m", "session_id": 1})).await;
            assert_eq!((answer.status, upstream.calls()), (504, 18), "it is in no cache");
        }
    });
}

#[test]
fn a_turn_with_the_same_idempotency_key_is_a_hit() {
    run(async {
        let upstream = counting().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let body = json!({"message": "continue", "session_id": "s"});
        for (key, cache, received) in [
            ("a", "MISS", "turn 0"),
            ("a", "HIT", "turn 0"),
            ("b", "MISS", "turn 1"),
            ("a", "HIT", "turn 0"),
            ("b", "HIT", "turn 1"),
        ] {
            let answer = turn(&client, &[("idempotency-key", key)], &body).await;
            assert_eq!((&*answer.0, &*answer.1), (cache, received), "{key}");
        }
        let other = json!({"message": "go on", "session_id": "s"});
        assert_eq!(turn(&client, &[("idempotency-key", "a")], &other).await.1, "turn 2", "other words");
        assert_eq!(turn(&client, &[], &body).await.1, "turn 3");
        // Without a conversation, `Idempotency-Key` does not change the cache key.
        let question = json!({"query": "q"});
        assert_eq!(turn(&client, &[("idempotency-key", "a")], &question).await.0, "MISS");
        assert_eq!(turn(&client, &[("idempotency-key", "b")], &question).await.0, "HIT");
    });
}

#[test]
fn an_identical_turn_joins_the_running_one() {
    run(async {
        let go = Gate::new();
        let script = Script::raw().wait(&go).then(Script::json(&json!({"answer": "A.", "session_id": "s"})));
        let upstream = Upstream::always(script).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let body = json!({"message": "continue", "session_id": "s"});
        let ask = || {
            let (client, body) = (sidecache.client(), body.clone());
            tokio::spawn(async move { client.post(QUERY, &body).await })
        };
        let both = [ask(), ask()];
        let bypassed = async || (sidecache.health().await["cache"]["bypassed"] == 2).then_some(());
        eventually("both have come", bypassed).await;
        for _ in 0..5 {
            sidecache.health().await;
        }
        go.open();
        let mut caches = Vec::new();
        for asked in both {
            let answer = soon("an answer", asked).await.expect("no panic");
            assert_eq!(answer.json(), json!({"answer": "A.", "session_id": "s"}), "the same conversation");
            caches.push(answer.cache().to_owned());
        }
        caches.sort();
        assert_eq!(caches, ["BYPASS", "COALESCED"]);
        assert_eq!(upstream.calls(), 1);
    });
}
