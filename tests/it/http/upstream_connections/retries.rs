//! Which requests are retried, by how their connection ends.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::net::TcpStream;

use super::{Kind, NUMBER, Seen, answer, before, bytes, kinds, retried};
use crate::support::{
    Client, Gate, Received, Script, Setup, Sidecache, Upstream, eventually, measured, run, soon,
};

/// What the service does with a request, by how many came before it over the same connection.
type Deed = fn(&Received, before: usize) -> Script;

/// A request that is always answered: it leaves a used connection in the pool.
const FIRST: &str = "/first";

async fn doing(deed: Deed, seen: &Seen) -> Upstream {
    let seen = seen.clone();
    Upstream::serve(move |mut conn| {
        let seen = seen.clone();
        async move {
            for before in 0.. {
                let Some(mut request) = conn.head().await else { return };
                request.body = conn.body(&request).await;
                seen.note(&request, before);
                let is_first = request.target == FIRST;
                let script = if is_first { answer(&request) } else { deed(&request, before) };
                if !conn.play(script).await {
                    return;
                }
            }
        }
    })
    .await
}

fn answers(request: &Received, _: usize) -> Script {
    Script::raw().send(bytes(request))
}

fn when_reused(request: &Received, before: usize, script: Script) -> Script {
    if before > 0 { script } else { answers(request, before) }
}

/// Sends a request over a used connection; returns its status, its places on the connections, and its
/// retries.
async fn over_a_used_one(
    sidecache: &Sidecache,
    kind: &Kind,
    numbers: &AtomicUsize,
    seen: &Seen,
) -> (u16, Vec<usize>, u64) {
    let client = sidecache.client();
    eventually("a request over a used connection", async || {
        assert_eq!(client.get(FIRST).await.status, 200);
        let before = retried(sidecache).await;
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let received = kind.ask(&client, number).await;
        let came = seen.of(number);
        let again = retried(sidecache).await - before;
        // The pooled connection may not have been ready yet.
        (came.first() != Some(&0)).then_some((received.status, came, again))
    })
    .await
}

async fn assert_deed(what: &str, deed: Deed, safe: (u16, usize), once: (u16, usize)) {
    let seen = Seen::default();
    let upstream = doing(deed, &seen).await;
    let sidecache = before(&upstream.url()).await;
    let numbers = AtomicUsize::new(0);
    for kind in kinds() {
        let (status, came, again) = over_a_used_one(&sidecache, &kind, &numbers, &seen).await;
        let expected = if kind.is_safe { safe } else { once };
        assert_eq!((status, came.len()), expected, "{what}, {}: {came:?}", kind.name());
        assert_eq!(again, came.len() as u64 - 1, "{what}, {}", kind.name());
        assert!(came[1..].iter().all(|before| *before == 0), "{what}, {}: on a new one", kind.name());
    }
    measured(format_args!("{what}: {} kinds of requests as they should be", kinds().len()));
}

#[test]
fn a_repeatable_request_is_retried_once_before_the_first_byte() {
    run(async {
        let closes: Deed = |request, before| when_reused(request, before, Script::raw().close());
        assert_deed("closed", closes, (200, 2), (502, 1)).await;
        let resets: Deed = |request, before| when_reused(request, before, Script::raw().reset());
        assert_deed("reset", resets, (200, 2), (502, 1)).await;
    });
}

#[test]
fn no_request_is_retried_after_the_first_byte() {
    run(async {
        let byte: Deed = |request, before| when_reused(request, before, Script::raw().send("H").close());
        assert_deed("a byte", byte, (502, 1), (502, 1)).await;
        let half: Deed = |request, before| {
            let all = bytes(request);
            when_reused(request, before, Script::raw().send(&all[..20]).close())
        };
        assert_deed("half a head", half, (502, 1), (502, 1)).await;
        let interim: Deed = |request, before| {
            let interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
            when_reused(request, before, Script::raw().send(interim).reset())
        };
        assert_deed("an interim response", interim, (502, 1), (502, 1)).await;
        let garbage: Deed =
            |request, before| when_reused(request, before, Script::raw().send("* OK\r\n\r\n"));
        assert_deed("no HTTP", garbage, (502, 1), (502, 1)).await;
    });
}

#[test]
fn no_request_is_sent_a_third_time() {
    run(async {
        assert_deed("closed always", |_, _| Script::raw().close(), (502, 2), (502, 1)).await;
    });
}

#[test]
fn no_request_is_retried_if_its_connection_was_new() {
    run(async {
        let seen = Seen::default();
        let upstream = doing(|_, _| Script::raw().close(), &seen).await;
        let sidecache = before(&upstream.url()).await;
        for (number, kind) in kinds().iter().enumerate() {
            let received = kind.ask(&sidecache.client(), number).await;
            assert_eq!((received.status, seen.of(number)), (502, vec![0]), "{}", kind.name());
            if kind.method != "HEAD" {
                assert_eq!(received.json()["error"], "UpstreamProtocolException", "{}", kind.name());
            }
        }
        assert_eq!(retried(&sidecache).await, 0);
    });
}

#[test]
fn a_request_is_not_retried_while_its_body_is_being_sent() {
    run(async {
        let seen = Seen::default();
        let noted = seen.clone();
        let upstream = Upstream::serve(move |mut conn| {
            let seen = noted.clone();
            async move {
                for before in 0.. {
                    let Some(mut request) = conn.head().await else { return };
                    seen.note(&request, before);
                    // Closes in the middle of the body.
                    if before > 0 && request.target != FIRST {
                        conn.some().await;
                        return;
                    }
                    request.body = conn.body(&request).await;
                    conn.send(bytes(&request)).await;
                }
            }
        })
        .await;
        let sidecache = before(&upstream.url()).await;
        let client = sidecache.client();
        let large = "x".repeat(8 << 20);
        let mut number = 0;
        let status = eventually("a request over a used connection", async || {
            assert_eq!(client.get(FIRST).await.status, 200);
            number += 1;
            let headers = [(NUMBER, number.to_string())];
            let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
            let received = client.request("POST", "/upload", &headers, large.clone()).await;
            (seen.of(number) == [1]).then_some(received.status)
        })
        .await;
        assert_eq!((status, seen.of(number), retried(&sidecache).await), (502, vec![1], 0));
    });
}

async fn hanging(client: &Client, target: &str, number: usize) -> (u16, Duration) {
    let began = Instant::now();
    let number = number.to_string();
    let received = client.post_with(target, &[(NUMBER, &number)], &json!({"query": "Who?"})).await;
    (received.status, began.elapsed())
}

#[test]
fn first_byte_timeout_covers_both_tries_and_starts_no_retry() {
    run(async {
        let seen = Seen::default();
        let noted = seen.clone();
        let upstream = Upstream::serve(move |mut conn| {
            let seen = noted.clone();
            async move {
                for before in 0.. {
                    let Some(mut request) = conn.head().await else { return };
                    request.body = conn.body(&request).await;
                    seen.note(&request, before);
                    if request.target == FIRST {
                        conn.send(bytes(&request)).await;
                    } else {
                        // Closes late on a used connection, and never on a new one.
                        let patience = Duration::from_millis(if before > 0 { 1500 } else { 60_000 });
                        let _ = tokio::time::timeout(patience, conn.some()).await;
                        return;
                    }
                }
            }
        })
        .await;
        let start = async |limit: &str| {
            let config = format!("[upstream]\nfirst_byte_timeout = \"{limit}\"");
            Setup::to(&upstream.url()).config(&config).start().await
        };
        // If the second try had a limit of its own, this would end after 4.5 s.
        let sidecache = start("3s").await;
        let client = sidecache.client();
        let mut number = 0;
        let (status, took) = eventually("a request over a used connection", async || {
            assert_eq!(client.get(FIRST).await.status, 200);
            number += 1;
            let received = hanging(&client, super::QUERY, number).await;
            (seen.of(number) == [1, 0]).then_some(received)
        })
        .await;
        assert_eq!((status, retried(&sidecache).await), (504, 1));
        assert!(took < Duration::from_millis(4400), "{took:?}");
        measured(format_args!("504 after {took:.1?}, with a limit of 3 s and a close after 1.5 s"));
        // If the time is over during the first try, there is no second one.
        let sidecache = start("300ms").await;
        let client = sidecache.client();
        let (status, came) = eventually("a request over a used connection", async || {
            assert_eq!(client.get(FIRST).await.status, 200);
            number += 1;
            let (status, _) = hanging(&client, super::QUERY, number).await;
            let came = seen.of(number);
            (came.first() == Some(&1)).then_some((status, came))
        })
        .await;
        assert_eq!((status, came, retried(&sidecache).await), (504, vec![1], 0));
    });
}

#[test]
fn a_retry_that_cannot_connect_is_a_502() {
    run(async {
        let (asked, gone) = (Gate::new(), Gate::new());
        let (tell_asked, hear_gone) = (asked.clone(), gone.clone());
        let upstream = Upstream::serve(move |mut conn| {
            let (asked, gone) = (tell_asked.clone(), hear_gone.clone());
            async move {
                let Some(first) = conn.head().await else { return };
                conn.send(bytes(&first)).await;
                if conn.head().await.is_some() {
                    asked.open();
                    gone.passed().await;
                }
            }
        })
        .await;
        let (url, address) = (upstream.url(), upstream.address());
        let sidecache = before(&url).await;
        let client = sidecache.client();
        let received = eventually("a request over a used connection", async || {
            assert_eq!(client.get(FIRST).await.status, 200);
            let client = client.clone();
            let received = tokio::spawn(async move { client.get("/things").await });
            let is_used = tokio::time::timeout(Duration::from_secs(5), asked.passed()).await.is_ok();
            is_used.then_some(received)
        })
        .await;
        drop(upstream);
        eventually("nobody listens", async || TcpStream::connect(address).await.err()).await;
        gone.open();
        let received = soon("an answer", received).await.expect("no panic");
        assert_eq!(
            (received.status, &received.json()["error"]),
            (502, &json!("UpstreamConnectionException"))
        );
    });
}
