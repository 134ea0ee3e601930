//! Limits on what clients send: each with its error, and its count in `/health`.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    Client, Raw, Script, Setup, Sidecache, Upstream,
    answers::{CHAT, chat, chat_answer},
    eventually, measured, run,
};

async fn limited(config: &str) -> (Upstream, Sidecache) {
    let upstream = Upstream::always(Script::json(&chat_answer())).await;
    let sidecache = Setup::to(&upstream.url()).config(&format!("[limits]\n{config}")).start().await;
    (upstream, sidecache)
}

/// Waits until `/health` has counted a limit so often.
async fn assert_counted(sidecache: &Sidecache, limit: &str, times: u64) {
    eventually(&format!("{limit} is counted"), async || {
        let count = sidecache.health().await["limits"][limit].as_u64().expect("a count");
        assert!(count <= times, "{limit}: {count}");
        (count == times).then_some(())
    })
    .await;
}

#[test]
fn bodies_of_cacheable_requests_are_bounded() {
    run(async {
        let (upstream, sidecache) = limited("max_body = \"1KiB\"").await;
        let padded = json!({"model": "m", "messages": [], "pad": "x".repeat(2000)}).to_string();
        let by_length = sidecache.client().post_text(CHAT, &[], &padded).await;
        assert_eq!(
            (by_length.status, by_length.json()["error"].as_str()),
            (413, Some("FileTooLargeException"))
        );
        assert_eq!(by_length.json()["path"], CHAT);

        let mut raw = Raw::connect(sidecache.address()).await;
        raw.send(format!(
            "POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        ))
        .await;
        for piece in padded.as_bytes().chunks(400) {
            raw.send(format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).expect("text"))).await;
        }
        let by_chunks = raw.rest().await;
        assert!(by_chunks.starts_with("HTTP/1.1 413"), "{by_chunks}");
        assert!(by_chunks.contains("FileTooLargeException"), "{by_chunks}");
        assert_eq!(upstream.calls(), 0);
        assert_counted(&sidecache, "max_body", 2).await;
        measured("2 of 2 refused, no call");

        // Other routes have no bound, and what fits passes.
        let passed = sidecache.client().post_text("/upload", &[], &padded).await;
        assert_eq!((passed.status, upstream.last().body.len()), (200, padded.len()));
        assert_eq!(sidecache.client().post(CHAT, &chat()).await.cache(), "MISS");
    });
}

#[test]
fn a_head_must_come_in_time() {
    run(async {
        let (_upstream, sidecache) = limited("header_timeout = \"200ms\"").await;
        for (number, begun) in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: a\r\n"].into_iter().enumerate() {
            let mut raw = Raw::connect(sidecache.address()).await;
            raw.send(begun).await;
            let told = raw.rest().await;
            assert!(!told.starts_with("HTTP/1.1 2"), "{begun:?}: {told}");
            assert_counted(&sidecache, "header_timeout", number as u64 + 1).await;
        }
    });
}

#[test]
fn a_body_must_keep_coming() {
    run(async {
        let (upstream, sidecache) = limited("body_timeout = \"200ms\"").await;
        for (number, target) in [CHAT, "/upload"].into_iter().enumerate() {
            let mut raw = Raw::connect(sidecache.address()).await;
            raw.send(format!(
                "POST {target} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
            ))
            .await;
            let told = raw.rest().await;
            assert_eq!(told, "", "{target}: closed without a word");
            assert_counted(&sidecache, "body_timeout", number as u64 + 1).await;
        }
        assert!(upstream.requests().iter().all(|request| request.target != CHAT));
    });
}

#[test]
fn a_body_that_trickles_has_ten_times_as_long_in_all() {
    run(async {
        let (upstream, sidecache) = limited("body_timeout = \"100ms\"").await;
        let mut raw = Raw::connect(sidecache.address()).await;
        raw.send(format!(
            "POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n"
        ))
        .await;
        let trickle = async {
            loop {
                raw.send(" ").await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = trickle => {}
            () = assert_counted(&sidecache, "body_timeout", 1) => {}
        }
        assert_eq!(upstream.calls(), 0);
    });
}

#[test]
fn connections_beyond_the_limit_wait() {
    run(async {
        let (_upstream, sidecache) = limited("max_connections = 1").await;
        let mut first = Raw::connect(sidecache.address()).await;
        let get = "GET /some HTTP/1.1\r\nhost: a\r\n\r\n";
        first.send(get).await;
        assert!(first.head().await.starts_with("HTTP/1.1 200"));
        let client = Client::new(sidecache.address());
        let mut second = tokio::spawn(async move { client.get("/some").await.status });
        let early = tokio::time::timeout(Duration::from_millis(100), &mut second).await;
        assert!(early.is_err(), "it was not to be served: {early:?}");
        drop(first);
        assert_eq!(second.await.expect("an answer"), 200);
    });
}
