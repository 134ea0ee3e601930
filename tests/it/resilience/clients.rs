//! Clients that leave, stall, or send malformed bodies: each costs little, and does not affect others.

use std::{io::Write, time::Instant};

use super::{answer, ask, knowing, question};
use crate::support::{
    Gate, RawClient, Script, Setup, Sidecache, Times, Upstream, eventually, measured, post, run,
    samples::{CHAT, chat, chat_answer, chat_events, chat_stream},
};

/// Waits until no more files and sockets are open than `before`, except a few idle connections.
async fn assert_nothing_is_left(sidecache: &Sidecache, before: usize) {
    eventually("connections are closed", async || (sidecache.open_files() <= before + 8).then_some(())).await;
}

#[test]
fn a_client_that_hangs_up_at_any_byte_leaks_nothing() {
    run(async {
        let upstream = knowing().await;
        let sidecache = Setup::to(&upstream.url()).start().await;
        ask(&sidecache.client(), 0).await;
        let before = sidecache.open_files();
        let bytes = post(CHAT, "", &question(1).to_string());
        let mut others = Times::default();
        for at in 0..=bytes.len() {
            let mut raw = RawClient::connect(sidecache.address()).await;
            raw.send(&bytes[..at]).await;
            drop(raw);
            if at % 16 == 0 {
                let other = others.of(ask(&sidecache.client(), 0)).await;
                assert_eq!(other.cache(), "HIT", "others are served");
            }
        }
        assert_nothing_is_left(&sidecache, before).await;
        let after = sidecache.open_files();
        measured(format_args!("{} left; files: {before}, then {after}; others: {others}", bytes.len() + 1));
        // The answer to the whole request is fetched and stored, though its client left.
        eventually("stored", async || (ask(&sidecache.client(), 1).await.cache() == "HIT").then_some(()))
            .await;
        assert_eq!(upstream.calls(), 2);
    });
}

#[test]
fn a_client_that_hangs_up_during_its_answer_leaks_nothing() {
    run(async {
        let events = chat_events();
        let stream = events.iter().fold(Script::chunked("text/event-stream"), Script::chunk).end();
        let upstream = Upstream::always(stream.clone()).await;
        let sidecache = Setup::to(&upstream.url()).start().await;
        let before = sidecache.open_files();
        for bytes in [1, 20, 200, 400, 600, 800] {
            let mut raw = RawClient::connect(sidecache.address()).await;
            raw.send(post(CHAT, "", &chat_stream().to_string())).await;
            raw.some(bytes).await;
        }
        assert_nothing_is_left(&sidecache, before).await;
        let received = sidecache.client().post(CHAT, &chat_stream()).await;
        assert_eq!(received.text(), events.concat());
        assert_eq!(upstream.calls(), 1, "the first call was finished for all who came later");
        let after = sidecache.open_files();
        measured(format_args!("6 left, one call; files: {before}, then {after}"));
    });
}

#[test]
fn a_half_closed_client_does_not_delay_others() {
    run(async {
        let (asked, go) = (Gate::new(), Gate::new());
        let upstream =
            Upstream::always(Script::raw().tell(&asked).wait(&go).then(Script::json(&chat_answer()))).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let mut raw = RawClient::connect(sidecache.address()).await;
        raw.send(post(CHAT, "", &chat().to_string())).await;
        asked.passed().await;
        raw.close_half().await;
        go.open();
        // The client may get its answer or count as gone; either way the connection ends.
        let began = Instant::now();
        let received = raw.rest().await;
        measured(format_args!("{} bytes and the end after {:.1?}", received.len(), began.elapsed()));
        assert!(received.is_empty() || received.contains("Redis does."), "{received}");
        eventually("stored", async || {
            (sidecache.client().post(CHAT, &chat()).await.cache() == "HIT").then_some(())
        })
        .await;
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    run(async {
        let upstream = knowing().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let mut raw = RawClient::connect(sidecache.address()).await;
        let all: String = (0..20).map(|number| post(CHAT, "", &question(number % 7).to_string())).collect();
        raw.send(&all).await;
        for number in 0..20 {
            let head = raw.head().await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            raw.until(&answer(&question(number % 7)).to_string()).await;
        }
        assert_eq!(upstream.calls(), 7);
        measured("20 in one piece, 20 answers in order, 7 calls");
    });
}

#[test]
fn expect_100_continue_is_answered() {
    run(async {
        let upstream = knowing().await;
        let sidecache = Setup::to(&upstream.url()).config("[limits]\nmax_body = \"1KiB\"").start().await;
        for target in [CHAT, "/some/thing"] {
            let body = question(1).to_string();
            let mut raw = RawClient::connect(sidecache.address()).await;
            raw.send(format!(
                "POST {target} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
                body.len()
            ))
            .await;
            assert!(raw.head().await.starts_with("HTTP/1.1 100"), "{target}");
            raw.send(&body).await;
            assert!(raw.head().await.starts_with("HTTP/1.1 200"), "{target}");
            assert_eq!(upstream.last().header("expect"), None, "{target}: it has the body");
        }
        // A client that announces too many bytes gets a 413 before it sends them.
        let mut raw = RawClient::connect(sidecache.address()).await;
        raw.send(format!(
            "POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 5000\r\n\r\n"
        ))
        .await;
        let began = Instant::now();
        assert!(raw.head().await.starts_with("HTTP/1.1 413"));
        measured(format_args!("413 after {:.1?}, no byte of a body sent", began.elapsed()));
    });
}

/// So many MiB of white space, packed.
fn bombs(mebibytes: usize) -> [Vec<u8>; 2] {
    let spaces = vec![b' '; 1 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    (0..mebibytes).for_each(|_| gzip.write_all(&spaces).expect("memory"));
    // A frame with a window of 1 MiB, and blocks that repeat one byte.
    let mut zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (20 - 10) << 3];
    let block: u32 = (128 << 10) << 3 | 1 << 1;
    for _ in 0..mebibytes * 8 {
        zstd.extend_from_slice(&block.to_le_bytes()[..3]);
        zstd.push(b' ');
    }
    zstd.extend_from_slice(&[1, 0, 0]);
    [gzip.finish().expect("memory"), zstd]
}

#[test]
fn bodies_that_are_not_plain_json_are_passed_on_unchanged() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let before = sidecache.memory();
        let nested = format!("{{\"messages\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let unclosed = format!("{{\"messages\": {}", "{\"a\":".repeat(100_000));
        let damaged = [&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], &[0; 1 << 20]].concat();
        // Each is 256 MiB.
        let [gzip, zstd] = bombs(256);
        for (what, headers, body) in [
            ("nested deep", &[][..], nested.into_bytes()),
            ("nested deep and not closed", &[], unclosed.into_bytes()),
            ("cut off", &[], b"{\"model\": \"m\", \"messages\": [".to_vec()),
            ("no JSON", &[], b"question=Who?".to_vec()),
            ("bad UTF-8", &[], b"{\"model\": \"m\", \"messages\": [\"\xff\xfe\"]}".to_vec()),
            ("a lone surrogate", &[], br#"{"model": "m", "messages": ["\ud800"]}"#.to_vec()),
            ("a member twice", &[], br#"{"model": "m", "messages": [], "messages": [1]}"#.to_vec()),
            ("two documents", &[], br#"{"model": "m", "messages": []}{}"#.to_vec()),
            ("nothing", &[], Vec::new()),
            ("packed and damaged", &[("content-encoding", "gzip")], damaged),
            ("packed with gzip", &[("content-encoding", "gzip")], gzip),
            ("packed with zstd", &[("content-encoding", "zstd")], zstd),
        ] {
            let all = [&[("content-type", "application/json")], headers].concat();
            for _ in 0..2 {
                let received = client.request("POST", CHAT, &all, body.clone()).await;
                assert_eq!((received.status, received.json()), (200, chat_answer()), "{what}");
                assert!(matches!(received.cache(), "BYPASS" | "PASS"), "{what}: {}", received.cache());
                assert!(upstream.last().body == body, "{what}: the upstream got another body");
            }
        }
        assert_eq!(client.post(CHAT, &chat()).await.cache(), "MISS");
        let after = sidecache.memory();
        assert!(after < before + 64 * 1024, "{before} KiB before, {after} KiB after");
        measured(format_args!("12 kinds of body, memory {before} KiB, then {after} KiB"));
    });
}

#[test]
fn stalled_clients_are_disconnected_and_delay_no_others() {
    run(async {
        let upstream = knowing().await;
        let config = "[limits]\nheader_timeout = \"1s\"\nbody_timeout = \"1s\"";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let before = sidecache.open_files();
        let whole = post(CHAT, "", &question(1).to_string());
        let mut crowd = Vec::new();
        for number in 0..300 {
            let mut raw = RawClient::connect(sidecache.address()).await;
            raw.send(&whole[..number % whole.len()]).await;
            crowd.push(raw);
        }
        let (mut others, began) = (Times::default(), Instant::now());
        for number in 0..20 {
            others.of(ask(&sidecache.client(), number)).await;
        }
        for raw in crowd {
            raw.rest().await;
        }
        let gone = began.elapsed();
        measured(format_args!(
            "300 stalled, all sent away in {gone:.1?}, with limits of 1 s; others: {others}"
        ));
        assert_nothing_is_left(&sidecache, before).await;
    });
}

#[test]
fn slow_readers_of_large_answers_cost_bounded_memory() {
    run(async {
        let large = "x".repeat(64 << 20);
        let upstream = Upstream::start(move |request| match request.target.as_str() {
            "/large" => Script::whole(200, &[], &large),
            _ => Script::json(&answer(&request.json())),
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let mut readers = Vec::new();
        for _ in 0..8 {
            let mut raw = RawClient::connect(sidecache.address()).await;
            raw.send("GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await;
            raw.head().await;
            readers.push(raw);
        }
        let mut others = Times::default();
        for number in 0..20 {
            others.of(ask(&sidecache.client(), number)).await;
        }
        let memory = sidecache.memory();
        measured(format_args!("8 x 64 MiB not read: {} MiB; others: {others}", memory >> 10));
        assert!(memory < 160 * 1024, "{memory} KiB for half a GiB that is not read");
        let before = sidecache.open_files();
        drop(readers);
        eventually("they are gone", async || (sidecache.open_files() + 8 <= before).then_some(())).await;
    });
}
