//! Clients that send their request and close their half of the connection at once always get what sidecache
//! answers by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::{Value, json};

use crate::support::{
    Gate, RawClient, RedisServer, Script, Setup, Sidecache, Upstream, eventually, post, run,
    samples::{CHAT, chat, chat_answer},
};

/// How often each request is tried.
const TIMES: usize = 200;

/// Keeps the machine busy until it is dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn start() -> Self {
        let is_over = Arc::<AtomicBool>::default();
        for _ in 0..4 {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(is_over)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends these pieces one after the other, closes the client's half, and returns the response.
async fn received(sidecache: &Sidecache, pieces: &[&str]) -> String {
    let mut raw = RawClient::connect(sidecache.address()).await;
    for piece in pieces {
        raw.send(piece).await;
    }
    raw.close_half().await;
    raw.rest().await
}

/// Sends the request many times; each response must have this status and these parts.
async fn always(sidecache: &Sidecache, pieces: &[&str], status: &str, has: &[&str]) {
    for time in 0..TIMES {
        let received = received(sidecache, pieces).await;
        assert!(received.starts_with(&format!("HTTP/1.1 {status} ")), "{time}: {received:?} to {pieces:?}");
        for part in has {
            assert!(received.contains(part), "{time}: no {part:?} in {received:?}");
        }
    }
}

async fn answering() -> Upstream {
    Upstream::start(|request| match request.target.as_str() {
        "/v1/embeddings" => {
            let input = request.json()["input"].clone();
            let count = input.as_array().map_or(1, Vec::len);
            let vector = |index| json!({"object": "embedding", "index": index, "embedding": [0.5, index]});
            let data: Vec<_> = (0..count).map(vector).collect();
            let usage = json!({"prompt_tokens": 1, "total_tokens": 1});
            Script::json(&json!({"object": "list", "data": data, "model": "m", "usage": usage}))
        }
        _ => Script::json(&chat_answer()),
    })
    .await
}

#[test]
fn a_half_closed_client_always_gets_a_hit_from_memory() {
    run(async {
        let upstream = answering().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        assert_eq!(sidecache.client().post(CHAT, &chat()).await.cache(), "MISS");
        let _busy = Busy::start();
        let text = chat_answer().to_string();
        always(&sidecache, &[&post(CHAT, "", &chat().to_string())], "200", &["x-cache: HIT", &text]).await;
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn a_half_closed_client_always_gets_a_hit_from_redis() {
    run(async {
        let (upstream, redis) = (answering().await, RedisServer::start());
        let sidecache = Setup::to(&upstream.url())
            .arguments(&["--redis", &redis.url()])
            .config("[store]\ntimeout = \"10s\"\nnear_memory = 0")
            .admin()
            .start()
            .await;
        assert_eq!(sidecache.client().post(CHAT, &chat()).await.cache(), "MISS");
        sidecache.settled().await;
        let _busy = Busy::start();
        let text = chat_answer().to_string();
        always(&sidecache, &[&post(CHAT, "", &chat().to_string())], "200", &["x-cache: HIT", &text]).await;
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn a_half_closed_client_always_gets_the_health_page() {
    run(async {
        let upstream = answering().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let _busy = Busy::start();
        always(&sidecache, &["GET /health HTTP/1.1\r\nhost: a\r\n\r\n"], "200", &["\"status\""]).await;
    });
}

/// A request with a body in chunks.
fn chunked(body: &str) -> Vec<String> {
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let (one, two) = body.split_at(body.len() / 2);
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    vec![head, chunk(one), chunk(two), "0\r\n\r\n".to_owned()]
}

#[test]
fn a_half_closed_client_is_answered_however_its_request_is_split() {
    run(async {
        let upstream = answering().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let batch = json!({"model": "m", "input": ["a", "b"]}).to_string();
        assert_eq!(client.post(CHAT, &chat()).await.cache(), "MISS");
        assert_eq!(client.post_text("/v1/embeddings", &[], &batch).await.cache(), "MISS");
        let calls = upstream.calls();
        let body = chat().to_string();
        let whole = post(CHAT, "", &body);
        let (head, text) = whole.split_at(whole.len() - body.len());
        let other = json!({"model": "m", "messages": [{"role": "user", "content": "Another?"}]}).to_string();
        let chunks = chunked(&body);
        let chunks: Vec<_> = chunks.iter().map(String::as_str).collect();
        let all_chunks = chunks.concat();
        let only = post(CHAT, "cache-control: only-if-cached\r\n", &other);
        let embeddings = post("/v1/embeddings", "", &batch);
        let old = whole.replace("HTTP/1.1", "HTTP/1.0");
        let _busy = Busy::start();
        for (pieces, status, has) in [
            (&[head, text][..], "200", "x-cache: HIT"),
            (&[head, &text[..5], &text[5..9], &text[9..]], "200", "x-cache: HIT"),
            (&[&whole[..10], &whole[10..]], "200", "x-cache: HIT"),
            (&chunks, "200", "x-cache: HIT"),
            (&[&all_chunks], "200", "x-cache: HIT"),
            (&[chunks[0], &chunks[1..].concat()], "200", "x-cache: HIT"),
            (&[&embeddings], "200", "x-cache: HIT"),
            (&[&only], "504", "NotCachedException"),
            (&["GET / HTTP/1.1\r\nhost: user@a\r\n\r\n"], "400", "InvalidRequest"),
            (&["HEAD /health HTTP/1.1\r\nhost: a\r\n\r\n"], "200", "x-request-id"),
        ] {
            for time in 0..20 {
                let received = received(&sidecache, pieces).await;
                assert!(
                    received.starts_with(&format!("HTTP/1.1 {status} ")),
                    "{time}: {received:?} to {pieces:?}"
                );
                assert!(received.contains(has), "{time}: {received:?} to {pieces:?}");
            }
        }
        for _ in 0..20 {
            assert!(received(&sidecache, &[&old]).await.starts_with("HTTP/1.0 200 "));
            // Pipelined over one connection.
            let received = received(&sidecache, &[&whole.repeat(5)]).await;
            assert_eq!(received.matches("x-cache: HIT").count(), 5, "{received}");
        }
        assert_eq!(upstream.calls(), calls);
    });
}

#[test]
fn a_truncated_request_and_a_client_that_leaves_during_the_upstream_call_get_nothing() {
    run(async {
        let (asked, never) = (Gate::new(), Gate::new());
        let script = Script::raw().tell(&asked).wait(&never).then(Script::json(&chat_answer()));
        let upstream = Upstream::always(script).await;
        let route = format!("[[route]]\nmatch = \"POST {CHAT}\"\nkind = \"query\"\non_abandon = \"cancel\"");
        let sidecache = Setup::to(&upstream.url()).config(&route).start().await;
        let body = chat().to_string();
        let whole = post(CHAT, "x-request-id: left\r\n", &body);
        let chunks = chunked(&body);
        for pieces in [
            vec![&whole[..whole.len() - 1]],
            vec![&whole[..whole.len() - body.len()]],
            vec![&whole[..20]],
            vec![&chunks[0], &chunks[1]],
            vec![&chunks[0], &chunks[1], &chunks[2], "0\r\n"],
            vec![&chunks[0], "5"],
        ] {
            let received = received(&sidecache, &pieces).await;
            assert!(!received.contains(" 200 "), "{received:?} to {pieces:?}");
        }
        assert_eq!(upstream.calls(), 0);
        let mut raw = RawClient::connect(sidecache.address()).await;
        raw.send(&whole).await;
        asked.passed().await;
        raw.close_half().await;
        assert_eq!(raw.rest().await, "");
        let is = |line: &Value| line["request_id"] == "left" && line["status_code"] == 499;
        sidecache.log.wait_for("it is known to have left", is).await;
        eventually("nothing is left of it", async || {
            (sidecache.health().await["cache"]["coalesced"] == 0).then_some(())
        })
        .await;
    });
}
