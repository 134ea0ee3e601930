//! Clients that still send their bodies when they are answered: they get the whole response, each time, and no reset in
//! its place (RFC 9112, section 9.6).

use crate::support::{
    Raw, Script, Setup, Sidecache, Upstream, run,
    samples::{CHAT, chat_answer},
};

/// How often the same is tried.
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
        let mut raw = Raw::connect(address).await;
        raw.send_all(request).await.unwrap_or_else(|error| panic!("{name}, time {time}: {error}"));
        let told = raw.rest_or_error().await.unwrap_or_else(|error| panic!("{name}, time {time}: {error}"));
        let starts = format!("HTTP/1.1 {status} ");
        assert!(told.starts_with(&starts) && told.ends_with(end), "{name}, time {time}: {told}");
    }
}

async fn before(upstream: &str) -> Sidecache {
    Setup::to(upstream).config("[limits]\nmax_body = \"1KiB\"").admin().start().await
}

#[test]
fn an_error_of_ones_own_reaches_a_client_that_still_sends() {
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
fn the_error_of_an_upload_that_the_service_cuts_reaches_its_client() {
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
fn the_early_answer_of_a_service_reaches_its_client() {
    run(async {
        let upstream = Upstream::serve(async move |mut conn| {
            let Some(_) = conn.head().await else { return };
            conn.send("HTTP/1.1 403 No\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno").await;
            while !conn.some().await.is_empty() {}
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
