//! An upstream that is absent, slow, silent or endless: the right answer or an error, and no second call.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{SSE, TARGETS, unknown_host};
use crate::support::{
    Gate, RedisServer, Script, Setup, Sidecache, Times, Upstream, eventually, measured, run,
    samples::{CHAT, chat, chat_answer, chat_events, chat_stream},
    soon,
};

#[test]
fn an_absent_upstream_is_a_502() {
    run(async {
        let mut times = Times::default();
        let refused = format!("http://127.0.0.1:{}", RedisServer::free_port());
        for url in [refused, format!("http://{}", unknown_host())] {
            let sidecache = Sidecache::start(&url).await;
            for target in TARGETS {
                let received = times.of(sidecache.client().post(target, &chat())).await;
                assert_eq!(received.status, 502, "{url}: {}", received.text());
                assert_eq!(received.json()["error"], "UpstreamConnectionException");
            }
            assert_eq!(sidecache.health().await["upstream"]["reachable"], false);
            assert_eq!(sidecache.client().get("/health/live").await.status, 200);
        }
        measured(times);
    });
}

#[test]
fn a_request_on_a_closed_idle_connection_is_retried_only_if_repeatable() {
    run(async {
        for (target, expected) in TARGETS.into_iter().zip([(&[201, 502, 200], 3), (&[201, 200, 200], 3)]) {
            let upstream = Upstream::in_turn(vec![
                Script::json_with(201, &[], &chat_answer()),
                Script::raw().close(),
                Script::json(&chat_answer()),
            ])
            .await;
            // Each worker has idle connections of its own.
            let sidecache = Setup::to(&upstream.url()).env("CACHE_WORKERS", "1").start().await;
            let mut statuses = Vec::new();
            for _ in 0..3 {
                statuses.push(sidecache.client().post(target, &chat()).await.status);
            }
            assert_eq!((&statuses[..], upstream.calls()), (&expected.0[..], expected.1), "{target}");
            measured(format_args!("{statuses:?}, {} calls", upstream.calls()));
        }
    });
}

#[test]
fn a_slow_first_byte_is_awaited_up_to_its_timeout() {
    run(async {
        let begin = Gate::new();
        let slow = Script::raw().wait(&begin).then(Script::json(&chat_answer()));
        let upstream = Upstream::in_turn(vec![slow, Script::raw().hang()]).await;
        let config = "[upstream]\nfirst_byte_timeout = \"2s\"";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        let first = tokio::spawn(async move { client.post(CHAT, &chat()).await });
        eventually("asked", async || (upstream.calls() == 1).then_some(())).await;
        begin.open();
        let first = soon("an answer", first).await.expect("no panic");
        assert_eq!((first.status, first.cache()), (200, "MISS"));
        assert_eq!(sidecache.client().post(CHAT, &chat()).await.cache(), "HIT");
        let began = Instant::now();
        let other = sidecache.client().post("/some/thing", &chat()).await;
        measured(format_args!("504 after {:.1?}, with a limit of 2 s", began.elapsed()));
        assert_eq!((other.status, &other.json()["error"]), (504, &json!("UpstreamTimeoutException")));
        assert_eq!(upstream.calls(), 2);
    });
}

#[test]
fn an_endless_stream_passes_in_bounded_memory_and_ends_with_its_client() {
    run(async {
        let (upstream, closed) = Upstream::until_closed(|mut conn| async move {
            if conn.request().await?.target != CHAT {
                conn.play(Script::json(&chat_answer())).await;
                return None;
            }
            let event = format!("data: {}\n\n", "x".repeat(60_000));
            let chunk = Script::raw().chunk(&event).bytes();
            let mut open = conn.send(Script::chunked(SSE).bytes()).await;
            while open {
                open = conn.send(&chunk).await;
            }
            Some(conn)
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let mut stream = client.stream(CHAT, &chat_stream()).await;
        let mut read = 0;
        let mut most = 0;
        while read < 200 << 20 {
            read += stream.skip().await;
            most = most.max(sidecache.memory());
        }
        // The debug binary and two buffers of 8 MiB.
        assert!(most < 160 * 1024, "{most} KiB");
        measured(format_args!("{} MiB passed on in {} MiB", read >> 20, most >> 10));
        assert_eq!(client.post("/some/thing", &chat()).await.cache(), "PASS", "others are served");
        drop((stream, client));
        soon("the upstream's connection is closed", closed.passed()).await;
        assert_eq!(sidecache.health().await["cache"]["total_keys"], 0);
    });
}

#[test]
fn an_idle_stream_is_cut_for_its_client_only() {
    run(async {
        let events = chat_events();
        let upstream = Upstream::start(move |request| match request.json()["stream"].as_bool() {
            Some(true) => Script::chunked(SSE).chunk(&events[0]).hang(),
            _ => Script::json(&chat_answer()),
        })
        .await;
        let sidecache =
            Setup::to(&upstream.url()).config("[upstream]\nidle_timeout = \"300ms\"").start().await;
        let client = sidecache.client();
        let stream = client.stream(CHAT, &chat_stream()).await;
        let begun = Instant::now();
        let cut = tokio::spawn(stream.rest());
        let mut other = chat();
        other["model"] = "another".into();
        assert_eq!(client.post(CHAT, &other).await.status, 200);
        soon("a cut", cut).await.expect("no panic").expect_err("a cut");
        measured(format_args!("cut after {:.1?}, with a limit of 300 ms", begun.elapsed()));
        assert_eq!(client.post(CHAT, &other).await.cache(), "HIT");
        tokio::time::timeout(Duration::from_secs(20), client.get("/health")).await.expect("it serves on");
    });
}
