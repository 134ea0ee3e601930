//! Streams: passed on event by event, stored after their proper end, replayed byte for byte.

use serde_json::{Value, json};

use crate::support::{
    Gate, RawClient, Script, Setup, Sidecache, Upstream, eventually, post, run,
    samples::{
        CHAT, DONE, QUERY, anthropic_events, chat_answer, chat_events, chat_stream, data, ollama_lines,
        query, responses_events,
    },
};

const SSE: &str = "text/event-stream";

/// A request for a stream, and the stream.
struct Case {
    target: &'static str,
    question: Value,
    content_type: &'static str,
    events: Vec<String>,
    model: &'static str,
}

fn cases() -> Vec<Case> {
    let messages = json!([{"role": "user", "content": "Who?"}]);
    let usage = json!({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10});
    let rag = vec![
        data(&json!({"delta": "Redis"})),
        data(&json!({"sources": [], "model": "r", "usage": usage})),
        "event: done\ndata: {}\n\n".to_owned(),
    ];
    let case = |target, question, content_type, events, model| Case {
        target,
        question,
        content_type,
        events,
        model,
    };
    vec![
        case(CHAT, chat_stream(), SSE, chat_events(), "m-2"),
        case(
            "/v1/messages",
            json!({"model": "claude", "max_tokens": 9, "messages": messages, "stream": true}),
            SSE,
            anthropic_events(),
            "claude",
        ),
        case(
            "/v1/responses",
            json!({"model": "m", "input": "Who?", "stream": true}),
            SSE,
            responses_events(),
            "m-2",
        ),
        case(
            "/api/chat",
            json!({"model": "llama3", "messages": messages}),
            "application/x-ndjson",
            ollama_lines(),
            "llama3",
        ),
        case(QUERY, json!({"query": "Who?", "stream": true}), SSE, rag, "r"),
    ]
}

#[test]
fn each_event_is_passed_on_before_the_next_one_comes() {
    run(async {
        for Case { target, question, content_type, events, model } in cases() {
            let gates: Vec<Gate> = events.iter().map(|_| Gate::new()).collect();
            // Each event waits until the client has the one before it; the first event waits for the head.
            let paced = events.iter().zip(&gates);
            let script = paced
                .fold(Script::chunked(content_type), |script, (event, gate)| script.wait(gate).chunk(event))
                .end();
            let upstream = Upstream::always(script).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let client = sidecache.client();
            let mut stream = client.stream(target, &question).await;
            assert_eq!((stream.status, stream.cache()), (200, "MISS"), "{target}");
            assert_eq!(stream.headers["content-type"], content_type);
            for (event, gate) in events.iter().zip(&gates) {
                gate.open();
                stream.until(event).await;
            }
            let received = stream.rest().await.expect("a whole stream");
            assert_eq!(received, events.concat(), "{target}");

            let replayed = client.post_with(target, &[("x-request-id", "replay")], &question).await;
            assert_eq!((replayed.cache(), replayed.text()), ("HIT", received), "{target}");
            assert_eq!(replayed.header("content-type"), content_type);
            assert_eq!(upstream.calls(), 1, "{target}");
            for cached in [false, true] {
                let is = |line: &Value| line["event_type"] == "llm_call" && line["cached"] == cached;
                let call = sidecache.log.wait_for("the model's call", is).await;
                let tokens =
                    ["prompt_tokens", "completion_tokens", "total_tokens"].map(|name| call[name].as_u64());
                assert_eq!(call["model"], model, "{target}: {call}");
                assert_eq!(tokens, [Some(7), Some(3), Some(10)], "{target}: {call}");
                assert_eq!(call["request_id"] == "replay", cached);
            }
        }
    });
}

#[test]
fn a_stream_is_replayed_with_its_framing() {
    run(async {
        // Comments, names, ids, both kinds of line ends, and events in pieces.
        let text = ": hello\r\n\r\nevent: part\r\nid: 1\r\ndata: {\"delta\": \"\u{e9}\"}\r\n\r\n\
            retry: 10\n\ndata: {\"delta\":\ndata:  \"two lines\"}\n\ndata: [DONE]\n\n: after\n\n";
        let bytes = text.as_bytes();
        let pieces = [&bytes[..5], &bytes[5..45], &bytes[45..46], &bytes[46..]];
        let script =
            pieces.iter().fold(Script::chunked("text/event-stream; charset=utf-8"), Script::chunk).end();
        let upstream = Upstream::always(script).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let question = json!({"query": "Who?", "stream": true});
        for turn in ["MISS", "HIT"] {
            let answer = sidecache.client().post(QUERY, &question).await;
            assert_eq!((answer.cache(), answer.text().as_str()), (turn, text));
            assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
        }
    });
}

#[test]
fn a_route_can_name_its_streams_end() {
    run(async {
        let events = ["data: {\"delta\": \"a\"}\n\n", "event: finished\ndata: {}\n\n"];
        let upstream = Upstream::always(Script::events(&events)).await;
        let routes = "[[route]]\nmatch = \"POST /rag\"\nkind = \"query\"\nstream_end = \"finished\"\n\
            [[route]]\nmatch = \"POST /json\"\nkind = \"other\"\ndialect = \"json\"\nstream_end = \"finished\"\n\
            [[route]]\nmatch = \"POST /unnamed\"\nkind = \"query\"\n";
        let sidecache = Setup::to(&upstream.url()).config(routes).start().await;
        for (target, second) in [("/rag", "HIT"), ("/json", "HIT"), ("/unnamed", "MISS")] {
            for turn in ["MISS", second] {
                assert_eq!(sidecache.client().post(target, &query()).await.cache(), turn, "{target}");
            }
        }
    });
}

/// All bytes that a client gets for a request for a stream.
async fn raw_answer(sidecache: &Sidecache, question: &Value) -> String {
    let mut raw = RawClient::connect(sidecache.address()).await;
    raw.send(post(CHAT, "connection: close\r\n", &question.to_string())).await;
    raw.rest().await
}

#[test]
fn a_cut_stream_reaches_the_client_as_a_cut_and_is_not_stored() {
    run(async {
        let events = chat_events();
        for whole_events in 1..=events.len() {
            let begun = events[..whole_events].iter().fold(Script::chunked(SSE), Script::chunk);
            // Cut within a chunk, or after the last chunk: the end of the body is missing then too.
            let cut = match events.get(whole_events) {
                Some(next) => begun.send(format!("{:x}\r\n{}", next.len(), &next[..next.len() / 2])),
                None => begun,
            };
            let upstream = Upstream::always(cut.close()).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            for calls in 1..=2 {
                let answer = raw_answer(&sidecache, &chat_stream()).await;
                assert!(answer.starts_with("HTTP/1.1 200"), "{whole_events}: {answer:?}");
                assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
                assert!(!answer.ends_with("0\r\n\r\n"), "{whole_events} events: the cut is hidden: {answer}");
                assert!(answer.contains(events[0].trim()), "{whole_events}: {answer}");
                assert_eq!(upstream.calls(), calls, "{whole_events} events");
            }
        }
    });
}

#[test]
fn a_stream_whose_client_left_is_finished_and_stored() {
    run(async {
        let events = chat_events();
        let (go_on, finished) = (Gate::new(), Gate::new());
        let rest =
            events[1..].iter().fold(Script::chunked(SSE).chunk(&events[0]).wait(&go_on), Script::chunk);
        let upstream = Upstream::always(rest.end().tell(&finished)).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let headers = [("content-type", "application/json"), ("x-request-id", "early")];
        let mut stream = client.open("POST", CHAT, &headers, chat_stream().to_string()).await;
        stream.until(&events[0]).await;
        drop((stream, client));
        // Once the response is logged, sidecache knows that its client left.
        let line = sidecache.log.response("early").await;
        assert_eq!(line["bytes"], events[0].len());
        go_on.open();
        finished.passed().await;
        sidecache.log.wait_for("stored", |line| line["operation"] == "cache_store").await;
        let hit = sidecache.client().post(CHAT, &chat_stream()).await;
        assert_eq!((hit.cache(), hit.text()), ("HIT", events.concat()));
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn an_answer_whose_client_left_before_its_head_is_finished_and_stored() {
    run(async {
        let (asked, go_on) = (Gate::new(), Gate::new());
        let events = chat_events();
        let rest = events.iter().fold(
            Script::raw()
                .tell(&asked)
                .wait(&go_on)
                .head(200, &[("content-type", SSE), ("transfer-encoding", "chunked")]),
            Script::chunk,
        );
        let upstream = Upstream::always(rest.end()).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let mut raw = RawClient::connect(sidecache.address()).await;
        raw.send(post(CHAT, "", &chat_stream().to_string())).await;
        asked.passed().await;
        drop(raw);
        go_on.open();
        sidecache.log.wait_for("stored", |line| line["operation"] == "cache_store").await;
        assert_eq!(sidecache.client().post(CHAT, &chat_stream()).await.cache(), "HIT");
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn a_stream_too_large_to_store_arrives_whole() {
    run(async {
        let large = data(&json!({"delta": "x".repeat(40_000)}));
        let script = (0..50).fold(Script::chunked(SSE), |script, _| script.chunk(&large)).chunk(DONE).end();
        let upstream = Upstream::always(script).await;
        let sidecache = Setup::to(&upstream.url()).config("[store]\nmax_entry = \"1MiB\"").start().await;
        let question = json!({"query": "Who?", "stream": true});
        for calls in 1..=2 {
            let answer = sidecache.client().post(QUERY, &question).await;
            assert_eq!((answer.cache(), answer.body.len()), ("MISS", 50 * large.len() + DONE.len()));
            assert_eq!(upstream.calls(), calls);
        }
        let count = eventually("it is counted", async || {
            let health = sidecache.health().await;
            health["limits"]["max_entry"].as_u64().filter(|count| *count == 2)
        });
        count.await;
    });
}

#[test]
fn a_json_answer_to_a_request_for_a_stream_stays_json() {
    run(async {
        let answer = chat_answer();
        let upstream = Upstream::always(Script::json(&answer)).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let received = sidecache.client().post(CHAT, &chat_stream()).await;
        assert_eq!((received.cache(), received.header("content-type")), ("MISS", "application/json"));
        assert_eq!(received.json(), answer);
    });
}
