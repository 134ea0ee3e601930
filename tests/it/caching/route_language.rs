//! What a route can say of a service: where its conversations are, what counts in the key, how its streams are
//! divided.

use serde_json::{Value, json};

use crate::support::{Answer, Gate, Received, Script, Setup, Sidecache, Upstream, run, samples::CHAT, soon};

async fn with_routes(upstream: &Upstream, routes: &str) -> Sidecache {
    Setup::to(&upstream.url()).config(routes).admin().start().await
}

fn route(keys: &str) -> String {
    format!("[[route]]\nname = \"own\"\nkind = \"query\"\n{keys}\n")
}

async fn answering(answer: &Value, keys: &str) -> (Upstream, Sidecache) {
    let upstream = Upstream::always(Script::json(answer)).await;
    let sidecache = with_routes(&upstream, &route(keys)).await;
    (upstream, sidecache)
}

#[test]
fn a_list_of_patterns_with_text_around_names() {
    run(async {
        let keys = "match = [\"POST /models/{model}:ask\", \"POST /ws-{id}/ask\"]";
        let (_upstream, sidecache) = answering(&json!({"answer": "Yes."}), keys).await;
        for (target, covered) in [
            ("/models/a:ask", true),
            ("/models/b:ask", true),
            ("/ws-7/ask", true),
            ("/models/:ask", false),
            ("/models/a:tell", false),
            ("/ws-/ask", false),
        ] {
            let turns = if covered { ["MISS", "HIT"] } else { ["PASS"; 2] };
            for turn in turns {
                let answer = sidecache.client().post(target, &json!({"query": "q"})).await;
                assert_eq!(answer.cache(), turn, "{target}");
            }
        }
    });
}

#[test]
fn only_the_named_parts_of_a_request_count() {
    run(async {
        let keys = "match = [\"POST /ask\", \"GET /ask\"]\nvary_by = [\"q\", \"top k\"]\n\
            mask = ['\\d{4}-\\d\\d-\\d\\d', 'nonce=[a-z]+']";
        let (upstream, sidecache) = answering(&json!({"answer": "Yes."}), keys).await;
        let ask = async |target: &str, query: &str| {
            sidecache.client().post(target, &json!({"query": query})).await.cache().to_owned()
        };
        for (target, query, expected) in [
            ("/ask?q=a&_=1", "On 2026-12-01?", "MISS"),
            ("/ask?_=2&q=a", "On 2026-12-01?", "HIT"),
            ("/ask?q=a", "On 1999-01-31?", "HIT"),
            ("/ask?q=%61", "On 1999-01-31?", "MISS"),
            ("/ask?q=a&q=b", "On 1999-01-31?", "MISS"),
            ("/ask?q=a&top+k=3&x", "On 1999-01-31?", "MISS"),
            ("/ask?q=a&top%20k=4", "On 1999-01-31?", "MISS"),
            ("/ask?q=a", "On ?", "MISS"),
            ("/ask?q=a", "On 1999-01-31", "MISS"),
            ("/ask?q=a", "On nonce=abc?", "HIT"),
            ("/ask", "On nonce=abc?", "MISS"),
            ("/ask?x=1", "On nonce=xyz?", "HIT"),
        ] {
            assert_eq!(ask(target, query).await, expected, "{target} {query}");
        }
        let first = &upstream.requests()[0];
        assert_eq!(first.target, "/ask?q=a&_=1", "the service gets all of it");
        assert_eq!(first.json(), json!({"query": "On 2026-12-01?"}));
        for (target, expected) in [("/ask?q=z&_=1", "MISS"), ("/ask?q=z&_=2", "HIT"), ("/ask?q=y", "MISS")] {
            assert_eq!(sidecache.client().get(target).await.cache(), expected, "{target}");
        }
    });
}

#[test]
fn a_route_says_where_its_conversations_are() {
    run(async {
        let places = "conversation = [\"/meta/cid\", \"{room}\", \"?s\"]";
        for (keys, target, body, is_turn) in [
            (places, "/r/1/ask", json!({"query": "q"}), true),
            ("conversation = [\"/meta/cid\"]", "/r/1/ask", json!({"query": "q"}), false),
            ("conversation = [\"/meta/cid\"]", "/r/1/ask", json!({"query": "q", "meta": {"cid": 7}}), true),
            ("conversation = [\"/meta/cid\"]", "/r/1/ask", json!({"query": "q", "meta": {"cid": ""}}), false),
            ("conversation = [\"/meta/cid\"]", "/r/1/ask", json!({"query": "q", "session_id": "s"}), false),
            ("conversation = [\"?s\"]", "/r/1/ask?s=x", json!({"query": "q"}), true),
            ("conversation = [\"?s\"]", "/r/1/ask?s=", json!({"query": "q"}), false),
            ("conversation = []", "/r/1/ask?s=x", json!({"query": "q", "session_id": "s"}), false),
            ("", "/r/1/ask", json!({"query": "q", "session_id": "s"}), true),
            ("", "/r/1/ask", json!({"query": "q"}), false),
        ] {
            let keys = format!("match = \"POST /r/{{room}}/ask\"\n{keys}");
            let (_upstream, sidecache) = answering(&json!({"answer": "Yes."}), &keys).await;
            for turn in if is_turn { ["BYPASS"; 2] } else { ["MISS", "HIT"] } {
                let answer = sidecache.client().post(target, &body).await;
                assert_eq!(answer.cache(), turn, "{keys} {target} {body}: {:?}", answer.detail());
            }
        }
        let keys = "match = \"POST /sessions/{session_id}/ask\"";
        let (_upstream, sidecache) = answering(&json!({"answer": "Yes."}), keys).await;
        let answer = sidecache.client().post("/sessions/4/ask", &json!({"query": "q"})).await;
        assert_eq!(answer.detail(), Some("conversation-turn"), "a known name in the path");
    });
}

/// The answer of one who asks first, of one who joins, and of one who comes later.
async fn three(sidecache: &Sidecache, go: &Gate, questions: [&Value; 3]) -> [Answer; 3] {
    let client = sidecache.client();
    let ask = |id: &'static str, question: &Value| {
        let (client, question) = (client.clone(), question.clone());
        tokio::spawn(async move { client.post_with("/ask", &[("x-request-id", id)], &question).await })
    };
    let first = ask("one", questions[0]);
    sidecache.log.looked_up("one").await;
    let second = ask("two", questions[1]);
    sidecache.log.looked_up("two").await;
    for _ in 0..5 {
        sidecache.health().await;
    }
    go.open();
    let first = soon("an answer", first).await.expect("no panic");
    let second = soon("an answer", second).await.expect("no panic");
    sidecache.settled().await;
    [first, second, client.post("/ask", questions[2]).await]
}

/// What a service answers to its n-th request.
type Answering = Box<dyn Fn(&Received, usize) -> Script + Send + Sync>;

/// Answers that have an id of their caller under a name that is no known one: as a document, and as a stream.
fn with_ids(go: &Gate) -> [(&'static str, Answering); 2] {
    let gates = [go.clone(), go.clone()];
    let [one, two] = gates;
    [
        (
            "",
            Box::new(move |_: &Received, n| {
                let answer = json!({"task": format!("made-{n}"), "answer": "Yes.", "deep": {"no": 40 + n}});
                Script::raw().wait(&one).then(Script::json(&answer))
            }),
        ),
        (
            "stream_end = \"eof\"",
            Box::new(move |_: &Received, n| {
                let events = [
                    format!("data: {{\"task\":\"made-{n}\",\"answer\":\"Ye\"}}\n\n"),
                    format!(
                        "data: {{\"answer\":\"s\",\"task\":\"made-{n}\",\"deep\":{{\"no\":{}}}}}\n\n",
                        40 + n
                    ),
                ];
                let start = Script::raw().wait(&two).then(Script::chunked("text/event-stream"));
                events.iter().fold(start, Script::chunk).end()
            }),
        ),
    ]
}

#[test]
fn others_get_what_the_route_says_in_place_of_a_callers_ids() {
    run(async {
        for (opened, number) in
            [("null", "null"), ("empty", "null"), ("drop", ""), ("uuid", "null"), ("alone", "")]
        {
            for form in 0..2 {
                let go = Gate::new();
                let [document, stream] = with_ids(&go);
                let (stream_end, script) = if form == 0 { document } else { stream };
                let calls = std::sync::atomic::AtomicUsize::new(0);
                let upstream = Upstream::start(move |request| {
                    script(request, calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst))
                })
                .await;
                let keys = format!(
                    "match = \"POST /ask\"\nopens = [\"/task\", \"/deep/no\"]\nopened = \"{opened}\"\n{stream_end}"
                );
                let sidecache = with_routes(&upstream, &route(&keys)).await;
                let question = json!({"query": "q"});
                let answers = three(&sidecache, &go, [&question; 3]).await;
                let texts = answers.each_ref().map(Answer::text);
                let own = texts.each_ref().map(|text| text.matches("made-").count());
                assert!(own[0] > 0, "{opened} {form}: the caller has its own id: {}", texts[0]);
                if opened == "alone" {
                    let ids = texts
                        .each_ref()
                        .map(|text| text.split("made-").nth(1).map(|rest| rest[..1].to_owned()));
                    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
                    assert_ne!(answers[2].cache(), "HIT");
                    continue;
                }
                assert_eq!(own[1..], [0, 0], "{opened} {form}: {texts:?}");
                assert_eq!(answers[1].cache(), "COALESCED", "{opened} {form}");
                assert_eq!(answers[2].cache(), "HIT", "{opened} {form}");
                assert_eq!(upstream.calls(), 1);
                let expected = |task: &str| match opened {
                    "drop" => texts[0]
                        .replace("\"task\":\"made-0\",", "")
                        .replace(",\"task\":\"made-0\"", "")
                        .replace("\"no\":40", ""),
                    _ => texts[0].replace("\"made-0\"", task).replace(":40", &format!(":{number}")),
                };
                match opened {
                    "uuid" => {
                        let ids = texts[1..].iter().map(|text| {
                            let id = text.split("\"task\":").nth(1).expect("an id").split([',', '}']).next();
                            id.expect("an id").to_owned()
                        });
                        let ids: Vec<_> = ids.collect();
                        assert_eq!(texts[1], expected(&ids[0]));
                        assert_eq!(texts[2], expected(&ids[1]));
                        assert!(ids[0] != ids[1] && ids.iter().all(|id| id.len() == 38), "{ids:?}");
                        let again = sidecache.client().post("/ask", &question).await.text();
                        assert_ne!(again, texts[2], "a new one for each hit");
                    }
                    "empty" => assert_eq!(texts[1..], [expected("\"\""), expected("\"\"")]),
                    _ => assert_eq!(texts[1..], [expected("null"), expected("null")]),
                }
            }
        }
    });
}

/// A session that the route leaves out of the key is each caller's own, also in the answer that repeats it.
#[test]
fn an_answer_repeats_the_callers_own_session() {
    run(async {
        let go = Gate::new();
        let gate = go.clone();
        let upstream = Upstream::start(move |request| {
            let session = request.json()["session_id"].clone();
            let answer =
                json!({"session_id": session, "answer": "Yes.", "again": {"sessionId": session}, "n": 1});
            Script::raw().wait(&gate).then(Script::json(&answer))
        })
        .await;
        let sidecache =
            with_routes(&upstream, &route("match = \"POST /ask\"\nignore = [\"/session_id\"]")).await;
        let question = |session: Value| json!({"query": "q", "session_id": session});
        let questions = [json!("ann"), json!("b\"ob"), json!(7)].map(question);
        let answers = three(&sidecache, &go, questions.each_ref()).await;
        assert_eq!(answers.each_ref().map(Answer::cache), ["MISS", "COALESCED", "HIT"]);
        for (answer, session) in answers.iter().zip([json!("ann"), json!("b\"ob"), json!(7)]) {
            let expected =
                json!({"session_id": session, "answer": "Yes.", "again": {"sessionId": session}, "n": 1});
            assert_eq!(answer.json(), expected);
        }
        let without = sidecache.client().post("/ask", &json!({"query": "q"})).await;
        assert_eq!(without.cache(), "HIT");
        assert!(without.json()["session_id"].is_null(), "nobody's id for one who has none");
    });
}

#[test]
fn streams_are_divided_as_the_route_says() {
    run(async {
        let lines = "{\"answer\":\"Ye\"}\n{\"answer\":\"s\"}\n";
        for (media, body, keys, stored) in [
            (
                "text/event-stream",
                format!("{lines}{{\"type\":\"stop\"}}\n"),
                "stream_end = '/type = \"stop\"'",
                true,
            ),
            ("text/event-stream", lines.to_owned(), "stream_end = '/type = \"stop\"'", false),
            ("text/event-stream", format!("{lines}{{\"error\":\"x\"}}\n"), "stream_end = \"eof\"", false),
            (
                "text/plain",
                lines.to_owned(),
                "framing = \"ndjson\"\nstream_end = \"eof\"\nrequire = ['/answer = \"s\"']",
                true,
            ),
            (
                "text/plain",
                lines.to_owned(),
                "framing = \"ndjson\"\nstream_end = \"eof\"\nerror = ['/answer = \"s\"']",
                false,
            ),
            ("text/plain", "data: {\"answer\":\"a\"}\n\ndata: [DONE]\n\n".into(), "framing = \"sse\"", true),
            ("text/plain", "data: {\"answer\":\"a\"}\n\n".into(), "framing = \"sse\"", false),
            ("text/plain", "Yes, it is.".into(), "framing = \"text\"\ndialect = \"json\"", true),
            ("text/plain", " \n".into(), "framing = \"text\"\ndialect = \"json\"", false),
            ("text/plain", "{\"error\":\"down\"}".into(), "framing = \"text\"\ndialect = \"json\"", false),
            ("application/json", "{\"answer\":\"a\"}".into(), "framing = \"text\"", true),
            ("application/json", "{\"error\":\"down\"}".into(), "framing = \"text\"", false),
        ] {
            let upstream = Upstream::always(Script::chunked(media).chunk(&body).end()).await;
            let sidecache = with_routes(&upstream, &route(&format!("match = \"POST /ask\"\n{keys}"))).await;
            let question = json!({"query": "q"});
            assert_eq!(sidecache.client().post("/ask", &question).await.text(), body);
            sidecache.settled().await;
            let again = sidecache.client().post("/ask", &question).await;
            assert_eq!((again.cache() == "HIT", again.text()), (stored, body), "{media} {keys}");
        }
    });
}

/// Followers of a text read it as it comes where the route says that it opens no conversation.
#[test]
fn a_text_is_followed_while_it_comes() {
    run(async {
        let go = Gate::new();
        let script = Script::chunked("text/plain").chunk("Yes, ").wait(&go).chunk("it is.").end();
        let upstream = Upstream::always(script).await;
        let keys = "match = \"POST /ask\"\ndialect = \"json\"\nframing = \"text\"\nopens = []";
        let sidecache = with_routes(&upstream, &route(keys)).await;
        let question = json!({"query": "q"});
        let mut first = sidecache.client().stream("/ask", &question).await;
        first.until("Yes, ").await;
        let mut second = sidecache.client().stream("/ask", &question).await;
        assert_eq!(second.cache(), "COALESCED");
        second.until("Yes, ").await;
        go.open();
        assert_eq!(first.rest().await.as_deref(), Ok("Yes, it is."));
        assert_eq!(second.rest().await.as_deref(), Ok("Yes, it is."));
        sidecache.settled().await;
        assert_eq!(sidecache.client().post("/ask", &question).await.cache(), "HIT");
    });
}

#[test]
fn a_service_may_stream_where_the_request_does_not_say() {
    run(async {
        let events = crate::support::samples::chat_events().concat();
        let upstream = Upstream::always(Script::chunked("text/event-stream").chunk(&events).end()).await;
        let keys = format!("match = \"POST {CHAT}\"\nstream_default = true");
        let sidecache = with_routes(&upstream, &route(&keys)).await;
        let question = |stream: Option<bool>| {
            let mut question = json!({"model": "m", "messages": [{"role": "user", "content": "q"}]});
            if let Some(stream) = stream {
                question["stream"] = stream.into();
            }
            question
        };
        assert_eq!(sidecache.client().post(CHAT, &question(None)).await.cache(), "MISS");
        sidecache.settled().await;
        for stream in [None, Some(true)] {
            let hit = sidecache.client().post(CHAT, &question(stream)).await;
            assert_eq!((hit.cache(), hit.text()), ("HIT", events.clone()), "{stream:?}");
        }
        let document = sidecache.client().post(CHAT, &question(Some(false))).await;
        assert_eq!((document.cache(), document.header("content-type")), ("HIT", "application/json"));
    });
}

/// The path of a write says which tag it invalidates, and all else stays.
#[test]
fn a_write_invalidates_the_tag_in_its_path() {
    run(async {
        let upstream = Upstream::start(|request| {
            let asked = String::from_utf8_lossy(&request.body).into_owned();
            let document = if asked.contains("one") { "one" } else { "two/2" };
            Script::json(&json!({"answer": "Yes.", "chunks": [{"document_id": document}]}))
        })
        .await;
        let routes = format!(
            "{}[[route]]\nname = \"writes\"\nmatch = [\"POST /sets/{{set}}/docs/{{doc}}/parse\", \"DELETE /docs-{{doc}}\"]\n\
             kind = \"other\"\ncache = false\ninvalidates = [\"tag:{{doc}}\"]\n",
            route("match = \"POST /ask\"\ntags = [\"/chunks/*/document_id\"]")
        );
        let sidecache = with_routes(&upstream, &routes).await;
        let client = sidecache.client();
        let caches = async |expected: [&str; 2]| {
            for (question, expected) in ["one", "two"].into_iter().zip(expected) {
                let answer = client.post("/ask", &json!({"query": question})).await;
                assert_eq!(answer.cache(), expected, "{question}");
            }
        };
        caches(["MISS", "MISS"]).await;
        caches(["HIT", "HIT"]).await;
        client.post("/sets/s/docs/one/parse", &json!({})).await;
        caches(["MISS", "HIT"]).await;
        client.request("DELETE", "/docs-two%2F2", &[], "").await;
        caches(["HIT", "MISS"]).await;
        client.post("/sets/s/docs/three/parse", &json!({})).await;
        caches(["HIT", "HIT"]).await;
    });
}

/// Model failures that some services put into a text.
#[test]
fn conditions_on_texts_read_a_whole_stream() {
    run(async {
        for (texts, stored) in [
            (&["It is ", "**ERR", "OR**: quota"][..], false),
            (&["It is ", "an **ERROR* *", "."], true),
            (&["**ERROR**: down"], false),
        ] {
            let keys =
                "match = \"POST /ask\"\nstream_end = \"eof\"\nerror = ['/answer ~ \"\\*\\*ERROR\\*\\*\"']";
            let stream = texts.iter().fold(Script::chunked("text/event-stream"), |script, text| {
                script.chunk(format!("data: {}\n\n", json!({"answer": text})))
            });
            let upstream = Upstream::always(stream.end()).await;
            let sidecache = with_routes(&upstream, &route(&keys.replace('\\', "\\\\"))).await;
            sidecache.client().post("/ask", &json!({"query": "q"})).await;
            sidecache.settled().await;
            let again = sidecache.client().post("/ask", &json!({"query": "q"})).await;
            assert_eq!(again.cache() == "HIT", stored, "{texts:?}");
        }
    });
}

/// A form is another one with another part, and not with another boundary.
#[test]
fn multipart_bodies_count_by_their_parts() {
    run(async {
        let keys = "match = \"POST /ask\"\ndialect = \"none\"";
        let (upstream, sidecache) = answering(&json!({"text": "Hello."}), keys).await;
        let form = |boundary: &str, name: &str, file: &str, bytes: &str| {
            let head = format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"");
            format!("--{boundary}\r\n{head}\r\nContent-Type: audio/wav\r\n\r\n{bytes}\r\n--{boundary}--\r\n")
        };
        let ask = async |boundary: &str, body: String| {
            let media = format!("multipart/form-data; boundary={boundary}");
            let headers = [("content-type", media.as_str())];
            sidecache.client().request("POST", "/ask", &headers, body).await.cache().to_owned()
        };
        for (boundary, body, expected) in [
            ("a1", form("a1", "file", "a.wav", "RIFF"), "MISS"),
            ("b2", form("b2", "file", "a.wav", "RIFF"), "HIT"),
            ("b2", form("b2", "file", "a.wav", "riff"), "MISS"),
            ("b2", form("b2", "file", "b.wav", "RIFF"), "MISS"),
            ("b2", form("b2", "voice", "a.wav", "RIFF"), "MISS"),
            ("b2", format!("preamble\r\n{}", form("b2", "file", "a.wav", "RIFF")), "MISS"),
            ("c3", form("b2", "file", "a.wav", "RIFF"), "MISS"),
            ("c3", form("c3", "file", "a.wav", "RIFF"), "HIT"),
        ] {
            assert_eq!(ask(boundary, body.clone()).await, expected, "{boundary} {body}");
        }
        assert!(
            String::from_utf8_lossy(&upstream.requests()[0].body).contains("--a1--"),
            "it goes unchanged"
        );
    });
}

/// An answer that no model may have made is stored for ten seconds.
#[test]
fn an_answer_without_a_generated_token_is_stored_for_a_short_time() {
    run(async {
        for (tokens, is_short) in [(json!(null), true), (json!(0), true), (json!(3), false)] {
            for streams in [false, true] {
                let mut line = json!({"model": "m", "message": {"role": "assistant", "content": "Sorry, no."},
                    "done": true, "done_reason": "stop"});
                if !tokens.is_null() {
                    line["eval_count"] = tokens.clone();
                }
                let media = if streams { "application/x-ndjson" } else { "application/json" };
                let script = Script::chunked(media).chunk(format!("{line}\n")).end();
                let upstream = Upstream::always(script).await;
                let sidecache = with_routes(&upstream, "").await;
                let question =
                    json!({"model": "m", "messages": [{"role": "user", "content": "q"}], "stream": streams});
                let client = sidecache.client();
                assert_eq!(client.post("/api/chat", &question).await.cache(), "MISS");
                sidecache.settled().await;
                let hit = client.post("/api/chat", &question).await;
                assert_eq!(hit.cache(), "HIT", "{tokens} {streams}");
                let status = hit.header("cache-status");
                let ttl = status.split("; ").find_map(|part| part.strip_prefix("ttl=")).expect("a TTL");
                let ttl: u64 = ttl.parse().expect("seconds");
                assert_eq!(ttl <= 10, is_short, "{tokens} {streams}: {status}");
            }
        }
    });
}
