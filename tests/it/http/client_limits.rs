//! Limits on what clients send: each with its error, and its count in `/health`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    Client, Gate, RawClient, Script, Setup, Sidecache, Upstream, eventually, measured, run,
    samples::{CHAT, chat, chat_answer},
    soon,
};

/// Longer than an idle connection lasts with `header_timeout = "2s"`: up to 4 s over HTTP/2.
const BEYOND_IDLE: Duration = Duration::from_secs(5);

async fn limited(config: &str) -> (Upstream, Sidecache) {
    let upstream = Upstream::always(Script::json(&chat_answer())).await;
    let sidecache = Setup::to(&upstream.url()).config(&format!("[limits]\n{config}")).start().await;
    (upstream, sidecache)
}

/// Waits until `/health` has counted a limit this many times.
async fn assert_counted(sidecache: &Sidecache, limit: &str, times: u64) {
    eventually(&format!("{limit} is counted"), async || {
        let count = sidecache.health().await["limits"][limit].as_u64().expect("a count");
        assert!(count <= times, "{limit}: {count}");
        (count == times).then_some(())
    })
    .await;
}

#[test]
fn max_body_bounds_the_bodies_of_cacheable_requests() {
    run(async {
        let (upstream, sidecache) = limited("max_body = \"1KiB\"").await;
        let padded = json!({"model": "m", "messages": [], "pad": "x".repeat(2000)}).to_string();
        let by_length = sidecache.client().post_text(CHAT, &[], &padded).await;
        assert_eq!(
            (by_length.status, by_length.json()["error"].as_str()),
            (413, Some("FileTooLargeException"))
        );
        assert_eq!(by_length.json()["path"], CHAT);

        let mut raw = RawClient::connect(sidecache.address()).await;
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
fn header_timeout_closes_a_connection_without_a_whole_head() {
    run(async {
        let (_upstream, sidecache) = limited("header_timeout = \"200ms\"").await;
        for (number, begun) in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: a\r\n"].into_iter().enumerate() {
            let mut raw = RawClient::connect(sidecache.address()).await;
            raw.send(begun).await;
            let received = raw.rest().await;
            assert!(!received.starts_with("HTTP/1.1 2"), "{begun:?}: {received}");
            assert_counted(&sidecache, "header_timeout", number as u64 + 1).await;
        }
    });
}

#[test]
fn body_timeout_closes_a_connection_whose_body_stalls() {
    run(async {
        let (upstream, sidecache) = limited("body_timeout = \"200ms\"").await;
        for (number, target) in [CHAT, "/upload"].into_iter().enumerate() {
            let mut raw = RawClient::connect(sidecache.address()).await;
            raw.send(format!(
                "POST {target} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
            ))
            .await;
            let received = raw.rest().await;
            assert_eq!(received, "", "{target}: closed without a word");
            assert_counted(&sidecache, "body_timeout", number as u64 + 1).await;
        }
        assert!(upstream.requests().iter().all(|request| request.target != CHAT));
    });
}

#[test]
fn a_trickling_body_is_cut_after_ten_times_body_timeout() {
    run(async {
        let (upstream, sidecache) = limited("body_timeout = \"100ms\"").await;
        let mut raw = RawClient::connect(sidecache.address()).await;
        raw.send(format!(
            "POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n"
        ))
        .await;
        let trickle = async {
            loop {
                raw.send(" ").await;
                // The pace of the trickle: five bytes in each `body_timeout`, so that only the limit for the whole
                // body can end it.
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
fn connections_beyond_max_connections_wait() {
    run(async {
        let (_upstream, sidecache) = limited("max_connections = 1").await;
        let mut first = RawClient::connect(sidecache.address()).await;
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

#[test]
fn an_idle_connection_is_closed_after_header_timeout_in_http1_and_http2() {
    run(async {
        let go = Gate::new();
        let held = go.clone();
        let rest = Gate::new();
        let paced = Script::chunked("text/plain").chunk("begun").wait(&rest).chunk(" and ended").end();
        let upstream = Upstream::start(move |request| match request.target.as_str() {
            "/stream" => paced.clone(),
            "/held" => Script::raw().wait(&held).then(Script::json(&chat_answer())),
            _ => Script::json(&chat_answer()),
        })
        .await;
        let config = "[limits]\nmax_connections = 1\nheader_timeout = \"2s\"";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        for connect in [Client::h2c, Client::new] {
            let idle = connect(sidecache.address());
            assert_eq!(idle.get("/some").await.status, 200);
            // The client keeps it open; sidecache closes it.
            let (next, began) = (connect(sidecache.address()), Instant::now());
            assert_eq!(soon("the next has its place", next.get("/some")).await.status, 200);
            measured(format_args!("the next is served after {:.1?}, with a limit of 2 s", began.elapsed()));
            drop((idle, next));
        }
        // A connection is not idle while it waits for an answer or receives one. sidecache does not show when it
        // checks a connection and leaves it open, so this waits longer than an idle one would last.
        let busy = Client::h2c(sidecache.address());
        let waiting = tokio::spawn(async move { busy.get("/held").await });
        eventually("asked", async || {
            upstream.requests().iter().any(|request| request.target == "/held").then_some(())
        })
        .await;
        tokio::time::sleep(BEYOND_IDLE).await;
        go.open();
        assert_eq!(soon("an answer", waiting).await.expect("no panic").json(), chat_answer());
        let busy = Client::h2c(sidecache.address());
        let mut stream = busy.open("GET", "/stream", &[], "").await;
        stream.until("begun").await;
        tokio::time::sleep(BEYOND_IDLE).await;
        // This connection is still open: it holds the only place, so a request over a new one would wait.
        assert_eq!(soon("on the same connection", busy.get("/some")).await.status, 200);
        rest.open();
        assert_eq!(stream.rest().await.expect("whole"), "begun and ended");
    });
}

#[test]
fn an_upgraded_connection_counts_as_a_connection_while_open() {
    run(async {
        let upstream = Upstream::serve(|mut conn| async move {
            let Some(head) = conn.head().await else { return };
            if head.target == "/socket" {
                conn.send("HTTP/1.1 101 Switching\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
                    .await;
                conn.drain().await;
            } else {
                conn.play(Script::json(&chat_answer())).await;
            }
        })
        .await;
        let upgrade = "GET /socket HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        let asks = async |sidecache: &Sidecache| sidecache.client().get("/some").await.status;
        let sidecache = Setup::to(&upstream.url()).config("[limits]\nmax_connections = 1").start().await;
        let mut tunnel = RawClient::connect(sidecache.address()).await;
        tunnel.send(upgrade).await;
        assert!(tunnel.head().await.starts_with("HTTP/1.1 101"));
        let early = tokio::time::timeout(Duration::from_millis(200), asks(&sidecache)).await;
        assert!(early.is_err(), "{early:?}");
        drop(tunnel);
        let began = Instant::now();
        eventually("there is room again", async || (asks(&sidecache).await == 200).then_some(())).await;
        measured(format_args!("room again {:.1?} after its end", began.elapsed()));
        // A tunnel does not count in `max_upstream_requests`.
        let sidecache =
            Setup::to(&upstream.url()).config("[limits]\nmax_upstream_requests = 1").start().await;
        let mut tunnel = RawClient::connect(sidecache.address()).await;
        tunnel.send(upgrade).await;
        assert!(tunnel.head().await.starts_with("HTTP/1.1 101"));
        assert_eq!(asks(&sidecache).await, 200);
    });
}
