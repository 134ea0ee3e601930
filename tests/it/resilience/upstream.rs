//! An upstream that is gone, breaks off at any byte, or answers in odd ways: the right answer, an error, or a
//! cut that can be seen; nothing stored of it, and nothing asked twice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use super::unknown_host;
use crate::support::{
    Client, Gate, RedisServer, Script, Setup, Sidecache, Times, Upstream, eventually, measured, run,
    samples::{CHAT, chat, chat_answer, chat_events, chat_stream, data},
    soon,
};

const SSE: &str = "text/event-stream";

/// A path that is passed through, and a cacheable one.
const TARGETS: [&str; 2] = ["/some/thing", CHAT];

/// The bytes of an answer that can be cut, and the body that is whole.
fn cuttable() -> Vec<(&'static str, Vec<u8>, String)> {
    let (answer, events) = (chat_answer().to_string(), chat_events());
    let bytes = |script: Script| -> Vec<u8> { script.bytes() };
    let chunked = Script::chunked("application/json").chunk(&answer[..9]).chunk(&answer[9..]).end();
    let stream = events.iter().fold(Script::chunked(SSE), Script::chunk).end();
    vec![
        ("a length", bytes(Script::json(&chat_answer())), answer.clone()),
        ("chunks", bytes(chunked), answer),
        ("events", bytes(stream), events.concat()),
    ]
}

/// How the connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Closed,
    Reset,
}

/// An upstream that sends as many bytes of `whole` as a header says.
async fn cutting(whole: Vec<u8>, end: End) -> Upstream {
    Upstream::start(move |request| {
        let at = request.header("x-cut").expect("where to cut").parse().expect("a number");
        let script = Script::raw().send(&whole[..at]);
        match end {
            _ if at == whole.len() => script,
            End::Closed => script.close(),
            End::Reset => script.reset(),
        }
    })
    .await
}

/// How many cuts became a 502, and how many a visible cut.
#[derive(Clone, Default)]
struct Cuts {
    errors: Arc<AtomicUsize>,
    cuts: Arc<AtomicUsize>,
}

/// Requests an answer that is cut after `at` bytes, twice over each path.
async fn assert_cut(client: &Client, question: &str, at: usize, head: usize, body: &str, seen: &Cuts) {
    let cut = at.to_string();
    let headers = [("content-type", "application/json"), ("x-cut", cut.as_str())];
    for target in TARGETS {
        for turn in 1..=2 {
            let received = client.try_open("POST", target, &headers, question.to_owned()).await;
            let received = received.unwrap_or_else(|error| panic!("{target}, {at}, turn {turn}: {error}"));
            let (status, cache) = (received.status, received.cache().to_owned());
            let whole = received.rest().await;
            let context = format!("{target} cut at {at}, turn {turn}: {status} {whole:?}");
            assert!(cache.is_empty() || cache == "MISS", "{context}: {cache}");
            match (status, whole) {
                (502, Ok(text)) => {
                    assert!(text.contains("UpstreamProtocolException"), "{context}");
                    seen.errors.fetch_add(1, Ordering::Relaxed);
                }
                (200, Err(_)) => {
                    assert!(at >= head, "{context}");
                    seen.cuts.fetch_add(1, Ordering::Relaxed);
                }
                (status, whole) => panic!("{target} cut at {at}: {status} {whole:?}, for {body}"),
            }
        }
    }
}

#[test]
fn a_cut_at_every_byte_is_an_error_or_a_visible_cut() {
    run(async {
        let seen = Cuts::default();
        for (what, whole, body) in cuttable() {
            let question = if what == "events" { chat_stream() } else { chat() }.to_string();
            let head = whole.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
            for end in [End::Closed, End::Reset] {
                let upstream = cutting(whole.clone(), end).await;
                let sidecache = Setup::to(&upstream.url())
                    .arguments(&["--log-level", "ERROR"])
                    .after("exec >/dev/null")
                    .start_silent()
                    .await;
                let lanes = (0..4).map(|lane| {
                    let (client, question, body) = (sidecache.client(), question.clone(), body.clone());
                    let seen = seen.clone();
                    let cuts: Vec<_> = (0..whole.len()).filter(|at| at % 4 == lane).collect();
                    tokio::spawn(async move {
                        for at in cuts {
                            assert_cut(&client, &question, at, head, &body, &seen).await;
                        }
                    })
                });
                for lane in lanes.collect::<Vec<_>>() {
                    lane.await.unwrap_or_else(|error| panic!("{what}, {end:?}: {error}"));
                }
                assert_eq!(
                    upstream.calls(),
                    whole.len() * TARGETS.len() * 2,
                    "{what}, {end:?}: once a caller"
                );
                let entries = sidecache.health().await["cache"]["total_keys"].clone();
                assert_eq!(entries, 0, "{what}, {end:?}");

                let all = whole.len().to_string();
                let headers = [("content-type", "application/json"), ("x-cut", all.as_str())];
                for cache in ["MISS", "HIT"] {
                    let received = sidecache.client().request("POST", CHAT, &headers, question.clone()).await;
                    assert_eq!(
                        (received.cache(), received.text()),
                        (cache, body.clone()),
                        "{what}: uncut, it is stored"
                    );
                }
            }
        }
        let [errors, cuts] = [&seen.errors, &seen.cuts].map(|count| count.load(Ordering::Relaxed));
        measured(format_args!("{} cuts: {errors} 502s, {cuts} visible cuts, none stored", errors + cuts));
    });
}

#[test]
fn an_unframed_body_is_stored_only_if_it_shows_its_end() {
    run(async {
        let answer = chat_answer().to_string();
        let head = "HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n";
        let whole = [head, &answer].concat();
        let upstream = Upstream::start(move |request| {
            let at: usize = request.header("x-cut").expect("where to cut").parse().expect("a number");
            Script::raw().send(&whole[..at]).close()
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        for at in 0..=answer.len() {
            let cut = (head.len() + at).to_string();
            let second = if at == answer.len() { "HIT" } else { "MISS" };
            for cache in ["MISS", second] {
                let received = client.post_with(CHAT, &[("x-cut", &cut)], &chat()).await;
                // Without framing, the client cannot see the cut.
                assert_eq!(
                    (received.status, received.text().as_str(), received.cache()),
                    (200, &answer[..at], cache)
                );
            }
        }
        assert_eq!(upstream.calls(), 2 * answer.len() + 1);
        measured(format_args!("{} bodies that were cut and one that was not: one stored", answer.len()));
    });
}

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
            let sidecache = Sidecache::start(&upstream.url()).await;
            let mut statuses = Vec::new();
            for _ in 0..3 {
                statuses.push(sidecache.client().post(target, &chat()).await.status);
            }
            assert_eq!((&statuses[..], upstream.calls()), (&expected.0[..], expected.1), "{target}");
            measured(format_args!("{statuses:?}, {} calls", upstream.calls()));
        }
    });
}

/// An odd answer, and what the client gets.
struct Odd {
    what: &'static str,
    script: Script,
    status: u16,
    /// A part of the body.
    body: String,
    /// A header that must arrive.
    header: Option<(&'static str, &'static str)>,
}

impl Odd {
    fn new(what: &'static str, script: Script, status: u16, body: impl ToString) -> Self {
        Self { what, script, status, body: body.to_string(), header: None }
    }

    fn refused(what: &'static str, script: Script) -> Self {
        Self::new(what, script.close(), 502, "UpstreamProtocolException")
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }
}

fn odd_answers() -> Vec<Odd> {
    let answer = chat_answer();
    let text = answer.to_string();
    let json = ("content-type", "application/json");
    let hints =
        Script::raw().send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n");
    let gzip = "\x1f\u{8b}gzip, or so it says";
    let chunks = format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len());
    let both = [json, ("content-length", "3"), ("transfer-encoding", "chunked")];
    let failure = data(&json!({"error": {"message": "the model fell over"}}));
    let many = "x-a: 1\r\n".repeat(2000);
    let long = "x".repeat(1 << 20);
    let line =
        |line: &str| Script::raw().send(format!("HTTP/1.1 200 OK\r\n{line}\r\ncontent-length: 0\r\n\r\n"));
    let tired = json!({"error": {"message": "tired"}});
    vec![
        Odd::new(
            "no frame",
            Script::raw().head(200, &[("content-type", "text/plain")]).send("some").close(),
            200,
            "some",
        ),
        Odd::new(
            "interim answers, then an error",
            hints.then(Script::json_with(500, &[], &tired)),
            500,
            "tired",
        ),
        Odd::new("nothing", Script::whole(204, &[], ""), 204, ""),
        Odd::new("an unasked 304", Script::whole(304, &[("etag", "\"a\"")], ""), 304, "")
            .with("etag", "\"a\""),
        Odd::new("too many requests", Script::json_with(429, &[("retry-after", "17")], &tired), 429, "tired")
            .with("retry-after", "17"),
        Odd::new("an error", Script::json_with(500, &[], &tired), 500, "tired"),
        Odd::new("overloaded", Script::json_with(503, &[("retry-after", "3")], &tired), 503, "tired")
            .with("retry-after", "3"),
        Odd::new("gzip", Script::whole(200, &[json, ("content-encoding", "gzip")], gzip), 200, gzip)
            .with("content-encoding", "gzip"),
        Odd::new("an error event", Script::events(&[&failure, "data: [DONE]\n\n"]), 200, "fell over"),
        Odd::refused(
            "an unasked 101",
            Script::raw().send("HTTP/1.1 101 Now\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
        ),
        Odd::refused("too many headers", line(&many)),
        Odd::refused("a header too long", line(&format!("x-a: {long}"))),
        Odd::refused("a header without a name", line(": 1")),
        Odd::refused("a header with a NUL", line("x-a: \0")),
        Odd::refused("no colon", line("x-a")),
        Odd::refused("an invalid length", line("content-length: many")),
        Odd::refused("an invalid status", Script::raw().send("HTTP/1.1 2OO OK\r\n\r\n")),
        Odd::refused("another protocol", Script::raw().send("* OK IMAP4 ready\r\n")),
        Odd::refused("a length beside chunks", Script::raw().head(200, &both).send(chunks)),
    ]
    .into_iter()
    .chain(odd_codings())
    .collect()
}

/// Answers with another transfer coding than `chunked`: sidecache cannot decode them.
fn odd_codings() -> impl Iterator<Item = Odd> {
    let answer = chat_answer().to_string();
    let chunks = format!("{:x}\r\n{answer}\r\n0\r\n\r\n", answer.len());
    let codings: [(&str, &[&str], bool); 8] = [
        ("gzip", &["gzip"], false),
        ("gzip in chunks", &["gzip, chunked"], true),
        ("chunks in gzip", &["chunked, gzip"], false),
        ("chunks in chunks", &["chunked, chunked"], true),
        ("identity", &["identity"], false),
        ("a coding of its own", &["x-chunked"], false),
        ("chunks in two lines", &["chunked", "chunked"], true),
        ("gzip in chunks, in two lines", &["gzip", "chunked"], true),
    ];
    codings.into_iter().map(move |(what, codings, is_chunked)| {
        let headers = codings.iter().map(|coding| ("transfer-encoding", *coding));
        let headers: Vec<_> = [("content-type", "application/json")].into_iter().chain(headers).collect();
        let body = if is_chunked { &chunks } else { &answer };
        Odd::refused(what, Script::raw().head(200, &headers).send(body))
    })
}

#[test]
fn odd_answers_arrive_unchanged_or_are_a_502_and_are_never_stored() {
    run(async {
        for Odd { what, script, status, body, header } in odd_answers() {
            let upstream = Upstream::always(script).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            for (calls, target) in [TARGETS[0], TARGETS[1], TARGETS[1]].into_iter().enumerate() {
                let received = sidecache.client().post(target, &chat()).await;
                assert_eq!(received.status, status, "{what}, {target}: {}", received.text());
                assert!(received.text().contains(&body), "{what}, {target}: {}", received.text());
                assert_eq!(upstream.calls(), calls + 1, "{what}, {target}");
                assert_ne!(received.cache(), "HIT", "{what}");
                if let Some((name, value)) = header {
                    assert_eq!(received.header(name), value, "{what}, {target}");
                }
            }
            assert_eq!(sidecache.health().await["cache"]["total_keys"], 0, "{what}");
        }
        let odd = odd_answers().len();
        measured(format_args!("{odd} odd answers, {} requests, as many calls, none stored", 3 * odd));
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
        let closed = Gate::new();
        let received = closed.clone();
        let upstream = Upstream::serve(move |mut conn| {
            let received = received.clone();
            async move {
                let Some(head) = conn.head().await else { return };
                conn.body(&head).await;
                if head.target != CHAT {
                    conn.play(Script::json(&chat_answer())).await;
                    return;
                }
                let event = format!("data: {}\n\n", "x".repeat(60_000));
                let chunk = Script::raw().chunk(&event).bytes();
                let mut open = conn.send(Script::chunked(SSE).bytes()).await;
                while open {
                    open = conn.send(&chunk).await;
                }
                received.open();
            }
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
        assert_eq!(client.post("/some/thing", &chat()).await.cache(), "", "others are served");
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
