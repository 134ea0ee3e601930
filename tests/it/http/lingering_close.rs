//! Clients that are still sending when the response comes get the whole response each time, and no reset
//! instead (RFC 9112, section 9.6).

use std::time::{Duration, Instant};

use crate::support::{
    RawClient, Script, Setup, Sidecache, Upstream, eventually, run,
    samples::{CHAT, chat_answer},
};

/// How often each request is tried.
const TIMES: usize = 20;

/// More than the system keeps for a connection, in bytes.
const LARGE: usize = 8 << 20;

/// A request with a large body, by its length or in chunks.
fn large(target: &str, lines: &str, is_chunked: bool) -> Vec<u8> {
    let framing =
        if is_chunked { "transfer-encoding: chunked".to_owned() } else { format!("content-length: {LARGE}") };
    let mut bytes = format!(
        "POST {target} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{lines}{framing}\r\n\r\n"
    )
    .into_bytes();
    let piece = vec![b'x'; 64 << 10];
    for _ in 0..LARGE / piece.len() {
        if is_chunked {
            bytes.extend(format!("{:x}\r\n", piece.len()).as_bytes());
        }
        bytes.extend(&piece);
        if is_chunked {
            bytes.extend(b"\r\n");
        }
    }
    if is_chunked {
        bytes.extend(b"0\r\n\r\n");
    }
    bytes
}

/// Sends the request to its end before it reads anything, again and again.
async fn assert_answered(address: std::net::SocketAddr, name: &str, request: &[u8], status: &str, end: &str) {
    for time in 0..TIMES {
        let mut raw = RawClient::connect(address).await;
        raw.send_all(request).await.unwrap_or_else(|error| panic!("{name}, time {time}: {error}"));
        let received =
            raw.rest_or_error().await.unwrap_or_else(|error| panic!("{name}, time {time}: {error}"));
        let starts = format!("HTTP/1.1 {status} ");
        assert!(received.starts_with(&starts) && received.ends_with(end), "{name}, time {time}: {received}");
    }
}

async fn before(upstream: &str) -> Sidecache {
    Setup::to(upstream).config("[limits]\nmax_body = \"1KiB\"").admin().start().await
}

#[test]
fn an_own_error_reaches_a_client_that_is_still_sending() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = before(&upstream.url()).await;
        for is_chunked in [false, true] {
            let too_large = large(CHAT, "", is_chunked);
            assert_answered(sidecache.address(), "too large", &too_large, "413", "}").await;
            let purge = large("/purge", "", is_chunked);
            assert_answered(sidecache.admin(), "an unknown name", &purge, "403", "}").await;
        }
        let invalid = large(CHAT, "no field line\r\n", false);
        assert_answered(sidecache.address(), "no HTTP", &invalid, "400", "").await;
        let long = format!("x-long: {}\r\n", "y".repeat(LARGE));
        assert_answered(sidecache.address(), "a long head", &large("/", &long, false), "431", "").await;
        assert_eq!(upstream.calls(), 0);
    });
}

#[test]
fn a_502_reaches_the_client_of_an_upload_that_the_upstream_cuts() {
    run(async {
        let upstream = Upstream::serve(async move |mut conn| {
            let _ = conn.head().await;
            conn.some().await;
        })
        .await;
        let sidecache = before(&upstream.url()).await;
        for is_chunked in [false, true] {
            let upload = large("/upload", "", is_chunked);
            assert_answered(sidecache.address(), "cut", &upload, "502", "}").await;
        }
        drop(upstream);
        assert_answered(sidecache.address(), "nobody listens", &large("/upload", "", true), "502", "}").await;
    });
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    run(async {
        let upstream = Upstream::serve(async move |mut conn| {
            let Some(_) = conn.head().await else { return };
            conn.send("HTTP/1.1 403 No\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno").await;
            conn.drain().await;
        })
        .await;
        let sidecache = before(&upstream.url()).await;
        assert_answered(
            sidecache.address(),
            "early",
            &large("/upload", "connection: close\r\n", false),
            "403",
            "no",
        )
        .await;
    });
}

/// Garbage that is answered lingers within its own limits: it is no head that came too late.
#[test]
fn a_connection_that_lingers_is_no_header_timeout() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let config = "[limits]\nheader_timeout = \"1s\"";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let mut raw = RawClient::connect(sidecache.address()).await;
        raw.send("no HTTP\r\n\r\n").await;
        let answer = raw.until("\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        // It does not close its half: sidecache waits for that longer than for a head.
        let began = Instant::now();
        eventually("two seconds without a count", async || {
            assert_eq!(sidecache.health().await["limits"]["header_timeout"], 0);
            (began.elapsed() > Duration::from_secs(2)).then_some(())
        })
        .await;
        raw.rest().await;
    });
}
