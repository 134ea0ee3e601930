//! Limits: the number of followers, and the buffer for slow readers.

use super::*;
use crate::support::{
    RawClient, RedisServer, post,
    samples::{DONE, QUERY},
};

#[test]
fn a_request_beyond_max_followers_makes_its_own_call() {
    run(async {
        let rest = Gate::new();
        let events = chat_events();
        let events: Vec<_> = events.iter().map(String::as_str).collect();
        let upstream = Upstream::in_turn(vec![held_stream(&rest), Script::events(&events)]).await;
        let sidecache = Setup::to(&upstream.url()).config("[coalesce]\nmax_followers = 2").start().await;
        let client = sidecache.client();
        let leader = open_stream(&client, "leader").await;
        let followers = [open_stream(&client, "one").await, open_stream(&client, "two").await];
        assert!(followers.iter().all(|follower| follower.cache() == "COALESCED"));
        assert_eq!(upstream.calls(), 1);
        let own = client.post(CHAT, &chat_stream()).await;
        assert_eq!((own.cache(), upstream.calls()), ("MISS", 2));
        rest.open();
        for reader in followers.into_iter().chain([leader]) {
            assert_eq!(reader.rest().await.expect("whole"), chat_events().concat());
        }
    });
}

/// A client that sends its question and reads only the beginning.
async fn slow(sidecache: &Sidecache, question: &Value) -> RawClient {
    let mut raw = RawClient::connect(sidecache.address()).await;
    raw.send(post(QUERY, "", &question.to_string())).await;
    raw.until("begun").await;
    raw
}

#[test]
fn a_slow_reader_is_not_cut_by_a_faster_one() {
    run(async {
        // More than the sockets on the way hold.
        let large = data(&json!({"delta": "x".repeat(65_000)})).repeat(16);
        let question = json!({"query": "Who?", "stream": true});
        for slow_leads in [true, false] {
            let go = Gate::new();
            let begun = Script::chunked(SSE).chunk("data: {\"delta\": \"begun\"}\n\n").wait(&go);
            let script = (0..12).fold(begun, |script, _| script.chunk(&large));
            let upstream = Upstream::always(script.chunk(DONE).end()).await;
            let sidecache =
                Setup::to(&upstream.url()).config("[coalesce]\nmax_buffer = \"1MiB\"").start().await;
            let client = sidecache.client();
            let early = if slow_leads { Some(slow(&sidecache, &question).await) } else { None };
            let mut fast = client.stream(QUERY, &question).await;
            fast.until("\n\n").await;
            let mut slow = match early {
                Some(early) => early,
                None => slow(&sidecache, &question).await,
            };
            go.open();
            let fast = tokio::spawn(fast.rest());
            // An answer larger than the buffer cannot be joined any more.
            eventually("it has outgrown the buffer", async || {
                (client.stream(QUERY, &question).await.cache() == "MISS").then_some(())
            })
            .await;
            let mut taken = 0;
            while taken < 2 << 20 {
                taken += 64 << 10;
                slow.some(taken).await;
            }
            let slow = slow.rest().await;
            let fast = soon("the fast one's", fast).await.expect("no panic").expect("whole");
            assert!(fast.ends_with(DONE) && fast.len() > 12 * large.len(), "slow leader: {slow_leads}");
            assert!(slow.ends_with("0\r\n\r\n"), "cut after {}; slow leader: {slow_leads}", slow.len());
            assert_eq!(slow.matches("\"delta\"").count(), 12 * 16);
        }
    });
}

/// A request whose answer has a large `Content-Length`.
struct Large {
    method: &'static str,
    target: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: String,
    media: &'static str,
    answer: String,
}

/// Answers of each kind, of 100 KiB each.
fn large() -> Vec<Large> {
    let text = "x".repeat(100 << 10);
    let message = json!({"role": "assistant", "content": &text});
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
    let answer = json!({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage});
    let mut events = chat_events();
    events.insert(
        1,
        data(&json!({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"content": &text}, "finish_reason": null}]})),
    );
    let vector: Vec<_> = (0..50_000).map(|_| 1).collect();
    let vectors = json!({"object": "list", "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1},
        "data": [{"object": "embedding", "index": 0, "embedding": vector}]});
    let large = |method, target, body: &Value, media, answer: String| Large {
        method,
        target,
        headers: if method == "GET" { &[] } else { &[JSON] },
        body: if method == "GET" { String::new() } else { body.to_string() },
        media,
        answer,
    };
    vec![
        large("POST", CHAT, &chat(), "application/json", answer.to_string()),
        large("POST", CHAT, &chat_stream(), SSE, events.concat()),
        large(
            "POST",
            QUERY,
            &json!({"query": "q"}),
            "application/json",
            json!({"answer": &text}).to_string(),
        ),
        large("GET", "/api/v1/documents/42", &Value::Null, "application/pdf", text.clone()),
        large("GET", "/follows/42", &Value::Null, "application/pdf", text),
        large(
            "POST",
            "/v1/embeddings",
            &json!({"model": "m", "input": "a"}),
            "application/json",
            vectors.to_string(),
        ),
    ]
}

/// Sends the request in a task of its own; returns `X-Cache` and the length of the body.
fn call(sidecache: &Sidecache, id: &str, large: &Large) -> JoinHandle<(String, Option<usize>)> {
    let (client, id, target, method) = (sidecache.client(), id.to_owned(), large.target, large.method);
    let (headers, body) = (large.headers, large.body.clone());
    tokio::spawn(async move {
        let headers: Vec<_> = headers.iter().copied().chain([("x-request-id", id.as_str())]).collect();
        let received = client.open(method, target, &headers, body).await;
        (received.cache().to_owned(), received.bytes().await.ok().map(|bytes| bytes.len()))
    })
}

const FOLLOWS: &str = "[[route]]\nmatch = \"GET /follows/{id}\"\nkind = \"document\"\nmode = \"rfc9111\"\n";

#[test]
fn an_answer_that_announces_too_many_bytes_is_not_shared() {
    run(async {
        for (setting, is_stored) in
            [("[coalesce]\nmax_buffer = \"64KiB\"", true), ("[store]\nmax_entry = \"64KiB\"", false)]
        {
            for large in large() {
                // A batch of vectors may be larger than `max_entry`.
                if !is_stored && large.target == "/v1/embeddings" {
                    continue;
                }
                let (head, body, later) = (Gate::new(), Gate::new(), Gate::new());
                let length = large.answer.len().to_string();
                let headers = [
                    ("content-type", large.media),
                    ("content-length", &length),
                    ("cache-control", "max-age=60"),
                ];
                let held = |head: &Gate| {
                    Script::raw().wait(head).head(200, &headers).wait(&body).send(&large.answer)
                };
                let now = Script::raw().head(200, &headers).send(&large.answer);
                let scripts = vec![held(&head), held(&head), held(&head), held(&later), now];
                let upstream = Upstream::in_turn(scripts).await;
                let sidecache =
                    Setup::to(&upstream.url()).config(&format!("{FOLLOWS}{setting}")).start().await;
                let what = format!("{} {} {setting}", large.method, large.target);
                let mut all = vec![call(&sidecache, "leader", &large)];
                await_calls(&upstream, 1).await;
                for id in ["one", "two"] {
                    all.push(call(&sidecache, id, &large));
                    sidecache.log.looked_up(id).await;
                }
                let_followers_join(&sidecache).await;
                assert_eq!(upstream.calls(), 1, "{what}");
                head.open();
                // The body of the first answer is still missing.
                await_calls(&upstream, 3).await;
                // From now on no request waits for another, even before the head.
                all.push(call(&sidecache, "third", &large));
                await_calls(&upstream, 4).await;
                all.push(call(&sidecache, "fourth", &large));
                await_calls(&upstream, 5).await;
                body.open();
                later.open();
                for received in all {
                    let (cache, len) = soon("an answer", received).await.expect("no panic");
                    assert_eq!((cache.as_str(), len), ("MISS", Some(large.answer.len())), "{what}");
                }
                let (cache, len) =
                    soon("one more", call(&sidecache, "last", &large)).await.expect("no panic");
                let expected = if is_stored { "HIT" } else { "MISS" };
                assert_eq!((cache.as_str(), len), (expected, Some(large.answer.len())), "{what}");
                assert_eq!(sidecache.health().await["cache"]["coalesced"], 0, "{what}");
            }
        }
    });
}

#[test]
fn other_replicas_do_not_wait_for_an_answer_that_announces_too_many_bytes() {
    run(async {
        let redis = RedisServer::start();
        for large in
            large().into_iter().filter(|large| large.media != "application/json" || large.target == CHAT)
        {
            let (head, body) = (Gate::new(), Gate::new());
            let length = large.answer.len().to_string();
            let headers =
                [("content-type", large.media), ("content-length", &length), ("cache-control", "max-age=60")];
            let held = Script::raw().wait(&head).head(200, &headers).wait(&body).send(&large.answer);
            let now = Script::raw().head(200, &headers).send(&large.answer);
            let upstream = Upstream::in_turn(vec![held, now]).await;
            let replica = async || {
                Setup::to(&upstream.url())
                    .arguments(&["--redis", &redis.url()])
                    .config(&format!(
                        "{FOLLOWS}[store]\ntimeout = \"5s\"\nmax_entry = \"64KiB\"\n[coalesce]\nreplica_wait = \"80s\""
                    ))
                    .start()
                    .await
            };
            let (one, two) = (replica().await, replica().await);
            let first = call(&one, "first", &large);
            await_calls(&upstream, 1).await;
            let second = call(&two, "second", &large);
            two.log.looked_up("second").await;
            let_followers_join(&two).await;
            head.open();
            // Long before `replica_wait` is over.
            let (cache, len) = soon("the second", second).await.expect("no panic");
            assert_eq!((cache.as_str(), len), ("MISS", Some(large.answer.len())), "{}", large.target);
            body.open();
            let (_, len) = soon("the first", first).await.expect("no panic");
            assert_eq!((len, upstream.calls()), (Some(large.answer.len()), 2), "{}", large.target);
        }
    });
}
