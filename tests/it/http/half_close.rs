//! Clients that send all they have to say and close their half of the connection at once: what sidecache answers by itself
//! they get, each time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::{Value, json};

use crate::support::{
    Gate, Raw, RedisServer, Script, Setup, Sidecache, Upstream, eventually, post, run,
    samples::{CHAT, chat, chat_answer},
};

/// How often the same is tried.
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

/// What a client is told that sends these pieces, one after the other, and closes its half behind the last one.
async fn told(sidecache: &Sidecache, pieces: &[&str]) -> String {
    let mut raw = Raw::connect(sidecache.address()).await;
    for piece in pieces {
        raw.send(piece).await;
    }
    raw.close_half().await;
    raw.rest().await
}

/// Tries the same again and again: each answer begins and ends like this.
async fn always(sidecache: &Sidecache, pieces: &[&str], status: &str, has: &[&str]) {
    for time in 0..TIMES {
        let told = told(sidecache, pieces).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{time}: {told:?} to {pieces:?}");
        for part in has {
            assert!(told.contains(part), "{time}: no {part:?} in {told:?}");
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
fn a_hit_in_the_process_comes_always() {
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
fn a_hit_in_redis_comes_always() {
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
fn the_health_page_comes_always() {
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
fn whatever_is_answered_from_here_comes_in_whatever_pieces_it_was_asked_for() {
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
                let told = told(&sidecache, pieces).await;
                assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{time}: {told:?} to {pieces:?}");
                assert!(told.contains(has), "{time}: {told:?} to {pieces:?}");
            }
        }
        for _ in 0..20 {
            assert!(told(&sidecache, &[&old]).await.starts_with("HTTP/1.0 200 "));
            // One behind the other, on one connection.
            let told = told(&sidecache, &[&whole.repeat(5)]).await;
            assert_eq!(told.matches("x-cache: HIT").count(), 5, "{told}");
        }
        assert_eq!(upstream.calls(), calls);
    });
}

#[test]
fn half_a_request_is_none_and_who_left_while_the_upstream_is_asked_is_gone() {
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
            let told = told(&sidecache, &pieces).await;
            assert!(!told.contains(" 200 "), "{told:?} to {pieces:?}");
        }
        assert_eq!(upstream.calls(), 0);
        let mut raw = Raw::connect(sidecache.address()).await;
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
