//! Which requests are retried, by how their connection ends.

use std::{
    future::Future,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::net::TcpStream;

use super::{NUMBER, Seen, answer, before, bytes, kinds, retried};
use crate::support::{
    Client, Gate, Received, Script, Setup, Upstream, eventually, measured, run, soon, upstream::Conn,
};

/// What the service does with a request, by how many came before it over the same connection.
type Behavior = fn(&Received, before: usize) -> Script;

/// A request that is always answered: it leaves a used connection in the pool.
const FIRST: &str = "/first";

/// A service that answers [`FIRST`], and hands each other request over to `handle`: the connection, the head, and how
/// many requests came before it over the connection. `handle` returns the connection if it is still in use.
async fn serving<F>(
    seen: &Seen,
    handle: impl Fn(Conn, Received, usize) -> F + Clone + Send + Sync + 'static,
) -> Upstream
where
    F: Future<Output = Option<Conn>> + Send + 'static,
{
    let seen = seen.clone();
    Upstream::serve(move |mut conn| {
        let (seen, handle) = (seen.clone(), handle.clone());
        async move {
            for before in 0.. {
                let Some(mut request) = conn.head().await else { return };
                seen.note(&request, before);
                if request.target == FIRST {
                    request.body = conn.body(&request).await;
                    conn.send(bytes(&request)).await;
                } else {
                    let Some(kept) = handle(conn, request, before).await else { return };
                    conn = kept;
                }
            }
        }
    })
    .await
}

/// A service that reads each request, and then does this.
async fn behaving(behavior: Behavior, seen: &Seen) -> Upstream {
    serving(seen, move |mut conn, mut request, before| async move {
        request.body = conn.body(&request).await;
        conn.play(behavior(&request, before)).await.then_some(conn)
    })
    .await
}

fn when_reused(request: &Received, before: usize, script: Script) -> Script {
    if before > 0 { script } else { answer(request) }
}

/// Sends requests with `send`, each with a number of its own, until one goes over a used connection first. Returns the
/// result, and for each arrival of that request how many came before it over its connection.
async fn over_a_used_connection<T>(
    client: &Client,
    seen: &Seen,
    numbers: &AtomicUsize,
    send: impl AsyncFn(usize) -> T,
) -> (T, Vec<usize>) {
    eventually("a request over a used connection", async || {
        assert_eq!(client.get(FIRST).await.status, 200);
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let received = send(number).await;
        let arrivals = seen.of(number);
        // The pooled connection may not have been ready yet.
        (arrivals.first() != Some(&0)).then_some((received, arrivals))
    })
    .await
}

/// Checks the status and the number of arrivals of repeatable requests (`safe`) and of all others (`once`).
async fn assert_arrivals(what: &str, behavior: Behavior, safe: (u16, usize), once: (u16, usize)) {
    let seen = Seen::default();
    let upstream = behaving(behavior, &seen).await;
    let sidecache = before(&upstream.url()).await;
    let (client, numbers) = (sidecache.client(), AtomicUsize::new(0));
    for kind in kinds() {
        let send = async |number| {
            let before = retried(&sidecache).await;
            let status = kind.ask(&client, number).await.status;
            (status, retried(&sidecache).await - before)
        };
        let ((status, retries), arrivals) = over_a_used_connection(&client, &seen, &numbers, send).await;
        let expected = if kind.is_safe { safe } else { once };
        assert_eq!((status, arrivals.len()), expected, "{what}, {}: {arrivals:?}", kind.name());
        assert_eq!(retries, arrivals.len() as u64 - 1, "{what}, {}", kind.name());
        let are_new = arrivals[1..].iter().all(|before| *before == 0);
        assert!(are_new, "{what}, {}: retried over a new connection: {arrivals:?}", kind.name());
    }
    measured(format_args!("{what}: {} kinds of requests as they should be", kinds().len()));
}

#[test]
fn a_repeatable_request_is_retried_once_before_the_first_byte() {
    run(async {
        let closes: Behavior = |request, before| when_reused(request, before, Script::raw().close());
        assert_arrivals("closed", closes, (200, 2), (502, 1)).await;
        let resets: Behavior = |request, before| when_reused(request, before, Script::raw().reset());
        assert_arrivals("reset", resets, (200, 2), (502, 1)).await;
    });
}

#[test]
fn no_request_is_retried_after_the_first_byte() {
    run(async {
        let byte: Behavior = |request, before| when_reused(request, before, Script::raw().send("H").close());
        assert_arrivals("a byte", byte, (502, 1), (502, 1)).await;
        let half: Behavior = |request, before| {
            let all = bytes(request);
            when_reused(request, before, Script::raw().send(&all[..20]).close())
        };
        assert_arrivals("half a head", half, (502, 1), (502, 1)).await;
        let interim: Behavior = |request, before| {
            let interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
            when_reused(request, before, Script::raw().send(interim).reset())
        };
        assert_arrivals("an interim response", interim, (502, 1), (502, 1)).await;
        let garbage: Behavior =
            |request, before| when_reused(request, before, Script::raw().send("* OK\r\n\r\n"));
        assert_arrivals("no HTTP", garbage, (502, 1), (502, 1)).await;
    });
}

#[test]
fn no_request_is_sent_a_third_time() {
    run(async {
        assert_arrivals("closed always", |_, _| Script::raw().close(), (502, 2), (502, 1)).await;
    });
}

#[test]
fn no_request_is_retried_if_its_connection_was_new() {
    run(async {
        let seen = Seen::default();
        let upstream = behaving(|_, _| Script::raw().close(), &seen).await;
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
        let upstream = serving(&seen, |mut conn, mut request, before| async move {
            if before > 0 {
                // Closes in the middle of the body.
                conn.some().await;
                return None;
            }
            request.body = conn.body(&request).await;
            conn.send(bytes(&request)).await;
            Some(conn)
        })
        .await;
        let sidecache = before(&upstream.url()).await;
        let (client, numbers) = (sidecache.client(), AtomicUsize::new(0));
        let large = "x".repeat(8 << 20);
        let send = async |number: usize| {
            let number = number.to_string();
            client.request("POST", "/upload", &[(NUMBER, &number)], large.clone()).await.status
        };
        let (status, arrivals) = over_a_used_connection(&client, &seen, &numbers, send).await;
        assert_eq!((status, arrivals.len(), retried(&sidecache).await), (502, 1, 0), "{arrivals:?}");
    });
}

#[test]
fn first_byte_timeout_covers_both_tries_and_starts_no_retry() {
    run(async {
        let (seen, numbers) = (Seen::default(), AtomicUsize::new(0));
        let upstream = serving(&seen, |mut conn, request, before| async move {
            conn.body(&request).await;
            // Closes late on a used connection, and never on a new one.
            let patience = Duration::from_millis(if before > 0 { 1500 } else { 60_000 });
            let _ = tokio::time::timeout(patience, conn.some()).await;
            None
        })
        .await;
        let start = async |limit: &str| {
            let config = format!("[upstream]\nfirst_byte_timeout = \"{limit}\"");
            Setup::to(&upstream.url()).config(&config).start().await
        };
        let ask = async |client: &Client| {
            let send = async |number: usize| {
                let (began, number) = (Instant::now(), number.to_string());
                let body = json!({"query": "Who?"});
                let received = client.post_with(super::QUERY, &[(NUMBER, &number)], &body).await;
                (received.status, began.elapsed())
            };
            over_a_used_connection(client, &seen, &numbers, send).await
        };
        // If the second try had a limit of its own, this would end after 4.5 s. A busy machine may delay a round.
        let sidecache = start("3s").await;
        let mut took = Duration::MAX;
        for round in 1..=5 {
            let ((status, time), arrivals) = ask(&sidecache.client()).await;
            assert_eq!((status, arrivals.len(), retried(&sidecache).await), (504, 2, round), "{arrivals:?}");
            assert_eq!(arrivals[1], 0, "retried over a new connection: {arrivals:?}");
            took = took.min(time);
            if took < Duration::from_millis(4400) {
                break;
            }
        }
        assert!(took < Duration::from_millis(4400), "{took:?}");
        measured(format_args!("504 after {took:.1?}, with a limit of 3 s and a close after 1.5 s"));
        // If the time is over during the first try, there is no second one.
        let sidecache = start("300ms").await;
        let ((status, _), arrivals) = ask(&sidecache.client()).await;
        assert_eq!((status, arrivals.len(), retried(&sidecache).await), (504, 1, 0), "{arrivals:?}");
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
