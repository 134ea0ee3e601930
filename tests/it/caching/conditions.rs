//! What a route's own conditions say of requests, answers and the ends of streams.

use serde_json::{Value, json};

use crate::support::{Answer, Gate, Script, Setup, Sidecache, Upstream, run};

const JSON: (&str, &str) = ("content-type", "application/json");
const NDJSON: &str = "application/x-ndjson";

/// A service like LightRAG: answers are lines of JSON, and the end of the body is their only end.
const LINES: [&str; 3] = [
    "{\"references\": [{\"reference_id\": \"1\", \"file_path\": \"paris.txt\"}]}\n",
    "{\"response\": \"Gustave\"}\n",
    "{\"response\": \" Eiffel\"}\n",
];

fn lines(lines: &[&str]) -> Script {
    lines.iter().fold(Script::chunked(NDJSON), Script::chunk)
}

async fn in_front_of(script: Script, keys: &str) -> (Upstream, Sidecache) {
    let upstream = Upstream::always(script).await;
    let route = format!("[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\n{keys}\n");
    let sidecache = Setup::to(&upstream.url()).config(&route).start().await;
    (upstream, sidecache)
}

async fn ask(sidecache: &Sidecache) -> Answer {
    sidecache.client().post("/ask", &json!({"query": "Who built it?"})).await
}

/// Asks twice; whether the second time is a hit.
async fn is_stored(sidecache: &Sidecache) -> bool {
    assert_eq!(ask(sidecache).await.cache(), "MISS");
    ask(sidecache).await.cache() == "HIT"
}

#[test]
fn the_next_route_is_tried_where_a_condition_of_a_request_does_not_hold() {
    run(async {
        let upstream = Upstream::always(Script::json(&json!({"answer": "Eiffel."}))).await;
        let config = "[[route]]\nname = \"queries\"\nmatch = \"POST /ask\"\nkind = \"query\"\n\
            when = [\"/mode = \\\"query\\\"\", \"!/reset\"]\n\
            [[route]]\nname = \"off\"\nmatch = \"POST /ask\"\nkind = \"query\"\nwhen = [\"/mode = \\\"off\\\"\"]\ncache = false\n\
            [[route]]\nname = \"sessions\"\nmatch = \"POST /ask\"\nkind = \"other\"\nwhen = [\"/session\"]\nignore = [\"/trace\"]\n";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        // One connection: what it remembers of the head is not what the body says.
        let client = sidecache.client();
        for (question, kind) in [
            (json!({"query": "q", "mode": "query"}), Some("query")),
            (json!({"query": "q", "mode": "query", "reset": null}), Some("query")),
            (json!({"query": "q", "mode": "query", "reset": true}), None),
            (json!({"query": "q", "mode": "query", "reset": true, "session": 1}), Some("other")),
            (json!({"query": "q", "mode": "chat"}), None),
            (json!({"query": "q", "mode": "off", "session": 1}), None),
            (json!({"query": "q", "session": 1}), Some("other")),
            (json!(["query"]), None),
        ] {
            for turn in ["MISS", "HIT", "HIT"] {
                let answer = client.post("/ask", &question).await;
                let status = answer.header("cache-status");
                assert_eq!(matches!(answer.cache(), "MISS" | "HIT"), kind.is_some(), "{question}: {status}");
                if let Some(kind) = kind {
                    assert_eq!(answer.cache(), turn, "{question}");
                    assert!(status.contains(&format!(":{kind}:")), "{question}: {status}");
                }
            }
        }
        let text = client.post_text("/ask", &[("content-type", "text/plain")], "mode=query").await;
        assert!(!matches!(text.cache(), "MISS" | "HIT"), "a text meets no condition");
    });
}

#[test]
fn what_a_route_calls_an_error_is_not_stored_whatever_its_status() {
    run(async {
        let error = "error = [\"/code != 0\", \"/llm_generated = false\"]";
        for (status, answer, stored) in [
            (200, json!({"code": 0, "answer": "Eiffel."}), true),
            (200, json!({"answer": "Eiffel."}), true),
            (200, json!({"code": 200, "answer": "Eiffel."}), false),
            (200, json!({"code": "0", "answer": "Eiffel."}), false),
            (200, json!({"response": "No relevant context found.", "llm_generated": false}), false),
            (200, json!({"response": "Eiffel.", "llm_generated": true}), true),
            (404, json!({"code": 7, "detail": "no"}), false),
        ] {
            for dialect in ["", "dialect = \"rag\"", "dialect = \"json\"", "dialect = \"none\""] {
                let script = Script::json_with(status, &[], &answer);
                let (_upstream, sidecache) = in_front_of(script, &format!("{error}\n{dialect}")).await;
                assert_eq!(is_stored(&sidecache).await, stored, "{status} {answer} {dialect}");
                let first = ask(&sidecache).await;
                if !stored && status == 200 {
                    assert!(first.header("cache-status").contains("answer-error"), "{:?}", first.headers);
                }
            }
        }
        let error_line = [LINES[0], LINES[1], "{\"response\": \"\", \"llm_generated\": false}\n"];
        let keys = format!("{error}\nstream_end = \"eof\"");
        let (_upstream, sidecache) = in_front_of(lines(&error_line).end(), &keys).await;
        assert!(!is_stored(&sidecache).await, "an event that is an error");
    });
}

#[test]
fn an_answer_without_what_a_route_requires_is_not_stored() {
    run(async {
        let require = "require = [\"/answer\", \"/sources/*/id\"]";
        for (answer, stored) in [
            (json!({"answer": "Eiffel.", "sources": [{"id": 1}]}), true),
            (json!({"answer": "Eiffel.", "sources": [{"no": 1}, {"id": 1}]}), true),
            (json!({"answer": "Eiffel.", "sources": []}), false),
            (json!({"answer": "Eiffel."}), false),
        ] {
            for dialect in ["", "dialect = \"json\"", "dialect = \"none\""] {
                let keys = format!("{require}\n{dialect}");
                let (_upstream, sidecache) = in_front_of(Script::json(&answer), &keys).await;
                assert_eq!(is_stored(&sidecache).await, stored, "{answer} {dialect}");
                if !stored {
                    let again = ask(&sidecache).await;
                    assert!(
                        again.header("cache-status").contains("answer-incomplete"),
                        "{:?}",
                        again.headers
                    );
                }
            }
        }
        for (required, stored) in [("/references/*/file_path", true), ("/response_time", false)] {
            let keys = format!("require = [\"{required}\"]\nstream_end = \"eof\"");
            let (_upstream, sidecache) = in_front_of(lines(&LINES).end(), &keys).await;
            assert_eq!(is_stored(&sidecache).await, stored, "{required}, in some event of a stream");
        }
    });
}

#[test]
fn followers_do_not_join_what_a_route_calls_an_error() {
    run(async {
        let (asked, go) = (Gate::new(), Gate::new());
        let failure = Script::json(&json!({"code": 7, "answer": "busy"}));
        let fine = Script::json(&json!({"code": 0, "answer": "Eiffel."}));
        let upstream =
            Upstream::in_turn(vec![Script::raw().tell(&asked).wait(&go).then(failure), fine]).await;
        let config = "[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\ndialect = \"none\"\nerror = [\"/code != 0\"]\n";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let spawn = |id: &'static str| {
            let client = sidecache.client();
            let headers = [("x-request-id", id)];
            tokio::spawn(async move { client.post_with("/ask", &headers, &json!({"query": "q"})).await })
        };
        let leader = spawn("leader");
        asked.passed().await;
        let follower = spawn("follower");
        sidecache.log.looked_up("follower").await;
        go.open();
        assert_eq!(leader.await.expect("no panic").json()["answer"], "busy");
        assert_eq!(follower.await.expect("no panic").json()["answer"], "Eiffel.");
        assert_eq!(upstream.calls(), 2);
    });
}

#[test]
fn a_stream_ends_where_a_condition_says() {
    run(async {
        let event = |data: Value| format!("data: {data}\n\n");
        let (word, end) = (event(json!({"answer": "Eiffel"})), event(json!({"event": "message_end"})));
        let done = event(json!({"event": "usage", "done": true}));
        for (stream_end, events, stored) in [
            ("'/event = \"message_end\"'", vec![&word, &end], true),
            ("'/event = \"message_end\"'", vec![&word, &done, &end], true),
            // The route's end is the only one.
            ("'/event = \"message_end\"'", vec![&word, &done], false),
            ("'/event = \"message_end\"'", vec![&word], false),
            ("'/event'", vec![&word, &end], true),
            ("'!/answer'", vec![&word, &end], true),
            ("'@event = \"over\"'", vec![&word, &end], false),
        ] {
            for dialect in ["rag", "json", "none"] {
                let events: Vec<_> = events.iter().map(|event| event.as_str()).collect();
                let keys = format!("dialect = \"{dialect}\"\nstream_end = {stream_end}");
                let (_upstream, sidecache) = in_front_of(Script::events(&events), &keys).await;
                assert_eq!(is_stored(&sidecache).await, stored, "{dialect} {stream_end} {events:?}");
            }
        }
        let named = ["data: {\"answer\": \"Eiffel\"}\n\n", "event: over\ndata: bye\n\n"];
        let (_upstream, sidecache) =
            in_front_of(Script::events(&named), "stream_end = '@event = \"over\"'").await;
        assert!(is_stored(&sidecache).await);
    });
}

#[test]
fn with_eof_a_stream_is_stored_only_if_its_body_ended_cleanly() {
    run(async {
        for dialect in ["rag", "json", "none"] {
            let keys = format!("dialect = \"{dialect}\"\nstream_end = \"eof\"");
            let (_upstream, sidecache) = in_front_of(lines(&LINES).end(), &keys).await;
            assert!(is_stored(&sidecache).await, "{dialect}");
            assert_eq!(ask(&sidecache).await.text(), LINES.concat());
            // The whole response, cut before each byte of its body and of the framing.
            let whole = String::from_utf8(lines(&LINES).end().bytes()).expect("text");
            let body_at = whole.find("\r\n\r\n").expect("a head") + 4;
            let served = whole.clone();
            let upstream = Upstream::start(move |request| {
                let cut = request.json()["cut"].as_u64().expect("a number") as usize;
                Script::raw().send(&served[..cut]).close()
            })
            .await;
            let route = format!("[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\n{keys}\n");
            let sidecache = Setup::to(&upstream.url()).config(&route).start().await;
            for cut in body_at..whole.len() {
                let question = json!({"query": "Who built it?", "cut": cut}).to_string();
                for _ in 0..2 {
                    let sent = sidecache.client().try_open("POST", "/ask", &[JSON], question.clone()).await;
                    if let Ok(stream) = sent {
                        assert!(stream.rest().await.is_err(), "{dialect}: the cut at {cut} is hidden");
                    }
                }
            }
            assert_eq!(upstream.calls(), 2 * (whole.len() - body_at), "{dialect}: a cut answer was stored");
            // A body that only the end of its connection ends may have been cut.
            let unframed = Script::raw().head(200, &[("content-type", NDJSON)]).send(LINES.concat()).close();
            let (_upstream, sidecache) = in_front_of(unframed, &keys).await;
            assert!(!is_stored(&sidecache).await, "{dialect}: a mere close");
        }
    });
}

/// Whoever comes after an event that the route calls an error asks the service again.
#[test]
fn nobody_joins_a_stream_after_its_error() {
    run(async {
        let go = Gate::new();
        let bad = Script::chunked(NDJSON).chunk(LINES[0]).chunk("{\"error\": \"down\"}\n").wait(&go).end();
        let upstream = Upstream::in_turn(vec![bad, lines(&LINES).end()]).await;
        let keys = "error = ['/error']\nstream_end = \"eof\"\nopens = []";
        let route = format!("[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\n{keys}\n");
        let sidecache = Setup::to(&upstream.url()).config(&route).start().await;
        let question = json!({"query": "Who built it?"});
        let mut first = sidecache.client().stream("/ask", &question).await;
        first.until("down\"}\n").await;
        let second = ask(&sidecache).await;
        assert_eq!((second.cache(), second.text()), ("MISS", LINES.concat()));
        go.open();
        assert!(first.rest().await.expect("a whole stream").contains("down"));
    });
}
