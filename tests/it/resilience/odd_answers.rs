//! Odd answers of an upstream: they arrive unchanged or are rejected, are not stored, and cause no second call.

use serde_json::json;

use super::TARGETS;
use crate::support::{
    Script, Sidecache, Upstream, measured, run,
    samples::{chat, chat_answer, data},
};

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
