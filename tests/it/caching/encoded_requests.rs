//! Requests whose bodies come compressed: they share their answers with those that come plain, and go upstream as they
//! came.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};

use crate::support::{
    Answer, Client, Received, Script, Setup, Sidecache, Upstream, run,
    samples::{CHAT, QUERY, cases, chat, chat_answer, chat_events, chat_stream, query},
};

const CODINGS: [&str; 2] = ["gzip", "zstd"];

fn encoded(coding: &str, text: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text).expect("memory");
            encoder.finish().expect("memory")
        }
        _ => compress_to_vec(text, CompressionLevel::Fastest),
    }
}

async fn send(client: &Client, target: &str, coding: &str, body: Vec<u8>) -> Answer {
    let headers = [("content-type", "application/json"), ("content-encoding", coding)];
    client.request("POST", target, &headers, body).await
}

async fn ask(client: &Client, target: &str, coding: &str, body: &Value) -> Answer {
    send(client, target, coding, encoded(coding, body.to_string().as_bytes())).await
}

/// What a request's body says.
fn text(request: &Received) -> Value {
    assert_eq!(request.header("content-encoding"), None);
    request.json()
}

#[test]
fn an_encoded_request_shares_its_answer_with_the_plain_one() {
    run(async {
        for case in cases() {
            let upstream = Upstream::always(Script::json(&case.answer)).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let client = sidecache.client();
            let mut question = case.question.clone();
            for (turn, coding) in CODINGS.into_iter().enumerate() {
                question["seed"] = turn.into();
                let body = encoded(coding, question.to_string().as_bytes());
                let first = send(&client, case.target, coding, body.clone()).await;
                assert_eq!((first.status, first.cache()), (200, "MISS"), "{} {coding}", case.target);
                let sent = upstream.last();
                if case.kind == "embedding" || case.target.ends_with("/moderations") {
                    // Its inputs have entries of their own, and may be cut out.
                    assert_eq!(text(&sent), question, "{} {coding}", case.target);
                } else {
                    assert_eq!((&sent.body, sent.header("content-encoding")), (&body, Some(coding)));
                    assert_eq!(sent.header("content-length"), Some(&*body.len().to_string()));
                }
                assert_eq!(
                    client.post(case.target, &question).await.cache(),
                    "HIT",
                    "{} {coding}",
                    case.target
                );
                for other in CODINGS {
                    let again = ask(&client, case.target, other, &question).await;
                    assert_eq!((again.cache(), again.key()), ("HIT", first.key()), "{} {other}", case.target);
                }
            }
            assert_eq!(upstream.calls(), CODINGS.len());
        }
    });
}

#[test]
fn what_cannot_be_read_goes_on_as_it_came() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let config = "[limits]\nmax_body = \"256KiB\"\n[[route]]\nname = \"bytes\"\nmatch = \"PUT /bytes\"\nkind = \"other\"\ndialect = \"none\"\n";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        let plain = chat().to_string().into_bytes();
        let mut bodies: Vec<(&str, String, Vec<u8>)> = Vec::new();
        for coding in CODINGS {
            let whole = encoded(coding, &plain);
            // Much larger than it looks, larger than the limit, cut, with something behind it, twice, and not encoded.
            let padded = [&plain[..], &vec![b' '; 200_000]].concat();
            for body in [
                encoded(coding, &padded),
                encoded(coding, &[&plain[..], &vec![b' '; 4_000_000]].concat()),
                whole[..whole.len() - 3].to_vec(),
                [&whole[..], b"x"].concat(),
                [&whole[..], &whole].concat(),
                plain.clone(),
            ] {
                bodies.push(("POST", coding.to_owned(), body));
            }
            bodies.push(("POST", format!("{coding}, {coding}"), encoded(coding, &whole)));
            bodies.push(("PUT", coding.to_owned(), whole[1..].to_vec()));
        }
        for coding in ["deflate", "br", "identity", "aws-chunked"] {
            bodies.push(("POST", coding.to_owned(), plain.clone()));
        }
        for (number, (method, coding, body)) in bodies.into_iter().enumerate() {
            let target = if method == "PUT" { "/bytes" } else { CHAT };
            for turn in 0..2 {
                let headers = [("content-type", "application/json"), ("content-encoding", coding.as_str())];
                let answer = client.request(method, target, &headers, body.clone()).await;
                let what = format!("{number}: {coding}, {turn}");
                assert_eq!((answer.status, answer.cache()), (200, "BYPASS"), "{what}");
                assert_eq!(answer.detail(), Some("request-encoded"), "{what}");
                let sent = upstream.last();
                assert_eq!(
                    (&sent.body, sent.header("content-encoding")),
                    (&body, Some(coding.as_str())),
                    "{what}"
                );
            }
        }
    });
}

#[test]
fn other_routes_take_them_too() {
    run(async {
        let upstream = Upstream::always(Script::json(&json!({"answer": "Yes."}))).await;
        let config = r#"
            [[route]]
            name = "bytes"
            match = "PUT /bytes"
            kind = "other"
            dialect = "none"
            [[route]]
            name = "by mode"
            match = "POST /modes"
            kind = "query"
            when = ['/mode = "query"']
        "#;
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        for coding in CODINGS {
            let text = format!("some bytes, {coding}");
            let put = async |headers: &[(&str, &str)], body: Vec<u8>| {
                client.request("PUT", "/bytes", headers, body).await.cache().to_owned()
            };
            assert_eq!(put(&[("content-encoding", coding)], encoded(coding, text.as_bytes())).await, "MISS");
            assert_eq!(put(&[], text.into_bytes()).await, "HIT");
            let by_mode = json!({"query": coding, "mode": "query"});
            assert_eq!(ask(&client, "/modes", coding, &by_mode).await.cache(), "MISS");
            assert_eq!(client.post("/modes", &by_mode).await.cache(), "HIT");
            let other = ask(&client, "/modes", coding, &json!({"query": coding, "mode": "other"})).await;
            assert_eq!((other.cache(), other.detail()), ("PASS", Some("no-route")));
            // What is passed through is not even looked at.
            let passed = send(&client, "/other", coding, b"rubbish".to_vec()).await;
            assert_eq!((passed.cache(), &upstream.last().body[..]), ("PASS", &b"rubbish"[..]));
        }
    });
}

/// A body that sidecache edits goes upstream without its coding.
#[test]
fn what_is_edited_goes_upstream_plain() {
    run(async {
        let events = chat_events();
        let events: Vec<_> = events.iter().map(String::as_str).collect();
        let upstream = Upstream::always(Script::events(&events)).await;
        let config = "[[route]]\nname = \"chat\"\nmatch = \"POST /v1/chat/completions\"\nkind = \"query\"\nusage = \"ask\"\n";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        for coding in CODINGS {
            let mut body = chat_stream();
            body["seed"] = coding.into();
            let answer = ask(&client, CHAT, coding, &body).await;
            assert_eq!((answer.status, answer.cache()), (200, "MISS"));
            body["stream_options"] = json!({"include_usage": true});
            assert_eq!(text(&upstream.last()), body);
        }
    });
}

#[test]
fn stored_inputs_are_cut_out_of_them() {
    run(async {
        let upstream = Upstream::start(|request| {
            let inputs = request.json()["input"].as_array().expect("inputs").len();
            let vector = |index| json!({"object": "embedding", "index": index, "embedding": [0.5, 0.25]});
            let data: Vec<_> = (0..inputs).map(vector).collect();
            Script::json(&json!({"object": "list", "model": "e", "data": data, "usage": {"prompt_tokens": 2, "total_tokens": 2}}))
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        for coding in CODINGS {
            let inputs = |texts: &[&str]| json!({"model": coding, "input": texts});
            ask(&client, "/v1/embeddings", coding, &inputs(&["a"])).await;
            let answer = ask(&client, "/v1/embeddings", coding, &inputs(&["b", "a"])).await;
            assert_eq!((answer.status, answer.cache()), (200, "PARTIAL"), "{}", answer.text());
            assert_eq!(text(&upstream.last()), inputs(&["b"]));
            assert_eq!(client.post("/v1/embeddings", &inputs(&["a", "b"])).await.cache(), "HIT");
        }
    });
}

/// A service that cannot read them says so; that is no answer for others.
#[test]
fn a_service_that_does_not_understand_them_spoils_nothing() {
    run(async {
        let upstream = Upstream::start(|request| match request.header("content-encoding") {
            Some(_) => Script::json_with(415, &[], &json!({"detail": "not understood"})),
            None => Script::json(&json!({"answer": "Yes.", "sources": []})),
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        for coding in CODINGS {
            let mut body = query();
            body["top_k"] = coding.len().into();
            body["coding"] = coding.into();
            assert_eq!(ask(&client, QUERY, coding, &body).await.status, 415);
            let plain = client.post(QUERY, &body).await;
            assert_eq!((plain.status, plain.cache()), (200, "MISS"));
            let again = ask(&client, QUERY, coding, &body).await;
            assert_eq!((again.status, again.cache()), (200, "HIT"));
        }
    });
}
