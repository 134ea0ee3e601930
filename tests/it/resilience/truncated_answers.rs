//! An upstream whose answer breaks off at any byte: an error, or a cut that the client can see, and nothing is stored.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{SSE, TARGETS};
use crate::support::{
    Client, Script, Setup, Sidecache, Upstream, measured, run,
    samples::{CHAT, chat, chat_answer, chat_events, chat_stream},
};

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
            assert!(["MISS", "PASS"].contains(&cache.as_str()), "{context}: {cache}");
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
