//! The promise: an answer is invalid once a document, a conversation or a kind that it depends on has
//! changed.

mod replicas;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    Answer, Client, ExampleService, Gate, Script, Setup, Sidecache, Upstream, eventually, eventually_within,
    run,
    samples::{QUERY, query},
    soon,
};

/// The time in which every replica knows a change.
const SOON: Duration = Duration::from_millis(100);

const DOCUMENT: &str = "/api/v1/documents/d%201";

/// A question in the RAG shape.
fn ask(text: &str) -> Value {
    json!({"query": text})
}

/// The `X-Cache` of a question.
async fn cache(client: &Client, text: &str) -> String {
    client.post(QUERY, &ask(text)).await.cache().to_owned()
}

/// An upstream whose answers cite the document in the question, and that accepts every write.
async fn citing() -> Upstream {
    Upstream::start(|request| match request.method.as_str() {
        "POST" if request.target == QUERY => {
            let id = request.json()["query"].clone();
            Script::json(&json!({"answer": "A.", "sources": [{"document_id": id}, {"id": 7}]}))
        }
        "GET" => Script::json(&json!({"at": request.target})),
        _ if request.header("x-refuse").is_some() => Script::json_with(422, &[], &json!({})),
        _ => Script::json(&json!({"done": request.target})),
    })
    .await
}

#[test]
fn changing_a_document_invalidates_the_answers_that_cite_it_and_no_others() {
    run(async {
        let rag = ExampleService::start().await;
        let sidecache = Sidecache::start(rag.url()).await;
        let client = sidecache.client();
        change_of_a_cited_document(&client, &client).await;
    });
}

/// Asks through one client, changes a document that is cited through another, and asks again.
async fn change_of_a_cited_document(asker: &Client, writer: &Client) {
    let (about, other) = (ask("How long do entries live?"), ask("What is a replica?"));
    let first = asker.post(QUERY, &about).await;
    let unrelated = sources(&asker.post(QUERY, &other).await);
    let cited = sources(&first);
    let changed = cited.iter().find(|id| !unrelated.contains(id)).expect("a source of its own");
    for question in [&about, &other] {
        assert_eq!(asker.post(QUERY, question).await.cache(), "HIT");
    }

    let body = json!({"title": "Lifetimes", "text": "Entries live for seven years, as everybody knows."});
    let (target, json) = (format!("/api/v1/documents/{changed}"), [("content-type", "application/json")]);
    let put = writer.request("PUT", &target, &json, body.to_string()).await;
    assert!((200..300).contains(&put.status), "{}", put.text());
    let fresh = async || Some(asker.post(QUERY, &about).await).filter(|answer| answer.cache() == "MISS");
    let fresh = eventually_within(SOON, "a fresh answer", fresh).await;
    assert_ne!(fresh.json()["answer"], first.json()["answer"]);
    assert_eq!(asker.post(QUERY, &other).await.cache(), "HIT");
}

fn sources(answer: &Answer) -> Vec<String> {
    let sources = answer.json()["sources"].as_array().expect("sources").clone();
    sources.iter().map(|source| source["document_id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn every_successful_write_at_or_below_a_document_invalidates_it_for_every_caller() {
    run(async {
        let upstream = citing().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let others = [("authorization", "Bearer other")];
        for (method, target, headers, invalidates) in [
            ("PUT", DOCUMENT, vec![], true),
            ("PATCH", DOCUMENT, vec![], true),
            ("DELETE", DOCUMENT, vec![], true),
            ("POST", "/api/v1/documents/d%201/reindex/now", vec![], true),
            ("POST", "/api/v1/documents/d%201/?async=1", vec![], true),
            ("PUT", "/api/v1/documents/d 1".replace(' ', "%20").leak() as &str, vec![others[0]], true),
            ("PUT", DOCUMENT, vec![("x-refuse", "1")], false),
            ("POST", "/api/v1/documents", vec![], false),
            ("PUT", "/api/v1/documents/d%202", vec![], false),
            ("OPTIONS", DOCUMENT, vec![], false),
        ] {
            let get = async |target: &str, headers: &[(&str, &str)]| {
                client.request("GET", target, headers, "").await.cache().to_owned()
            };
            let seen = async || {
                [
                    get(DOCUMENT, &[]).await,
                    get(&format!("{DOCUMENT}?full=1"), &[]).await,
                    get(DOCUMENT, &others).await,
                    cache(&client, "d 1").await,
                ]
            };
            seen().await;
            assert_eq!(seen().await, ["HIT"; 4]);
            assert_eq!(cache(&client, "other").await, if upstream.calls() == 5 { "MISS" } else { "HIT" });
            let written = client.request(method, target, &headers, "{}").await;
            assert_eq!(written.cache(), "", "a write is passed through");
            let expected = if invalidates { "MISS" } else { "HIT" };
            assert_eq!(seen().await, [expected; 4], "{method} {target}");
            assert_eq!(cache(&client, "other").await, "HIT");
        }
    });
}

#[test]
fn creating_a_document_invalidates_its_stored_404() {
    run(async {
        let upstream = Upstream::start(|request| match request.method.as_str() {
            "GET" => Script::json_with(404, &[], &json!({"detail": "no"})),
            _ => Script::json_with(201, &[("location", "/api/v1/documents/new")], &json!({"id": "new"})),
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let get = async || client.get("/api/v1/documents/new").await;
        assert_eq!(get().await.cache(), "MISS");
        let kept = get().await;
        assert_eq!((kept.status, kept.cache()), (404, "HIT"));
        let left = kept.header("cache-status").split("ttl=").nth(1).expect("a TTL");
        assert!(left.split(';').next().expect("it").parse::<u32>().expect("seconds") <= 30);
        client.post("/api/v1/documents", &json!({"text": "t"})).await;
        assert_eq!(get().await.cache(), "MISS");
    });
}

#[test]
fn a_write_whose_client_left_still_invalidates() {
    run(async {
        let (asked, go) = (Gate::new(), Gate::new());
        let script = Script::raw().tell(&asked).wait(&go).close();
        let upstream = Upstream::start(move |request| match request.method.as_str() {
            "GET" => Script::json(&json!({})),
            _ => script.clone(),
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        client.get(DOCUMENT).await;
        let (leaving, target) = (sidecache.client(), DOCUMENT);
        let put = tokio::spawn(async move { leaving.request("PUT", target, &[], "{}").await });
        soon("the write", asked.passed()).await;
        put.abort();
        let gone = async || (client.get(DOCUMENT).await.cache() == "MISS").then_some(());
        eventually("it is retired", gone).await;
        // The same if the upstream closes without an answer.
        client.get(DOCUMENT).await;
        let put = tokio::spawn({
            let client = client.clone();
            async move { client.request("PUT", DOCUMENT, &[], "{}").await.status }
        });
        go.open();
        assert_eq!(soon("an error", put).await.expect("no panic"), 502);
        assert_eq!(client.get(DOCUMENT).await.cache(), "MISS");
    });
}

/// An answer whose fill began before a change goes only to callers who asked before it.
#[test]
fn a_change_keeps_running_answers_from_being_stored() {
    run(async {
        let go = Gate::new();
        let (held, calls) = (go.clone(), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
        let upstream = Upstream::start(move |request| {
            if request.method != "POST" {
                return Script::json(&json!({}));
            }
            let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let answer = json!({"answer": format!("A{call}."), "sources": [{"document_id": "d 1"}]});
            let head = if call == 0 { Script::raw().wait(&held) } else { Script::raw() };
            let mut script = head;
            script.steps.extend(Script::json(&answer).steps);
            script
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let early = tokio::spawn({
            let client = client.clone();
            async move { client.post(QUERY, &query()).await }
        });
        eventually("the question", async || (upstream.calls() == 1).then_some(())).await;
        client.request("PUT", DOCUMENT, &[], "{}").await;
        let late = client.post(QUERY, &query()).await;
        assert_eq!((late.cache(), late.json()["answer"].as_str()), ("MISS", Some("A1.")), "it does not join");
        go.open();
        let early = soon("the early answer", early).await.expect("no panic");
        assert_eq!((early.json()["answer"].as_str(), early.detail()), (Some("A0."), Some("retired")));
        let again = client.post(QUERY, &query()).await;
        assert_eq!((again.cache(), again.json()["answer"].as_str()), ("HIT", Some("A1.")));
    });
}

#[test]
fn tags_are_read_from_the_routes_pointers_and_the_headers() {
    run(async {
        let upstream = Upstream::start(|request| {
            let body = json!({"answer": "A.", "refs": [{"doc": "a"}, {"doc": 7}]});
            match request.target.as_str() {
                "/by-pointer" => Script::json(&body),
                "/by-event" => Script::events(&[&format!("data: {body}\n\n"), "data: [DONE]\n\n"]),
                "/by-header" => Script::json_with(
                    200,
                    &[("cache-tag", "x, a"), ("surrogate-key", "k 7")],
                    &json!({"a": 1}),
                ),
                _ => Script::json(&json!({})),
            }
        })
        .await;
        let route = |path, kind| format!("[[route]]\nmatch = \"POST {path}\"\nkind = \"{kind}\"\n");
        let tags = "tags = [\"/refs/*/doc\"]\n";
        let config = route("/by-pointer", "query") + tags + &route("/by-event", "query") + tags;
        let sidecache =
            Setup::to(&upstream.url()).config(&(config + &route("/by-header", "other"))).start().await;
        let client = sidecache.client();
        for target in ["/by-pointer", "/by-event", "/by-header"] {
            for id in ["a", "7"] {
                let cache = async || client.post(target, &query()).await.cache().to_owned();
                cache().await;
                assert_eq!(cache().await, "HIT", "{target}");
                client.request("PUT", "/api/v1/documents/zzz", &[], "{}").await;
                assert_eq!(cache().await, "HIT", "{target}");
                client.request("PUT", &format!("/api/v1/documents/{id}"), &[], "{}").await;
                assert_eq!(cache().await, "MISS", "{target} {id}");
            }
        }
    });
}

#[test]
fn a_route_can_invalidate_whole_kinds() {
    run(async {
        let upstream = citing().await;
        let config = "[[route]]\nmatch = \"POST /upload\"\nkind = \"other\"\ncache = false\n\
                      invalidates = [\"query\"]\n\
                      [[route]]\nmatch = \"POST /reindex\"\nkind = \"other\"\ninvalidates = [\"document\"]";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        let seen = async || (cache(&client, "a").await, client.get(DOCUMENT).await.cache().to_owned());
        let texts = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        seen().await;
        assert_eq!(seen().await, texts("HIT", "HIT"));
        client.request("POST", "/upload", &[("x-refuse", "1")], "{}").await;
        assert_eq!(seen().await, texts("HIT", "HIT"), "it was refused");
        client.request("POST", "/upload", &[], "{}").await;
        assert_eq!(seen().await, texts("MISS", "HIT"));
        assert_eq!(client.post("/reindex", &json!({})).await.cache(), "MISS");
        assert_eq!(seen().await, texts("HIT", "MISS"));
        assert_eq!(client.post("/reindex", &json!({})).await.cache(), "HIT");
        assert_eq!(seen().await, texts("HIT", "HIT"), "a hit changes nothing");
    });
}

#[test]
fn a_turn_invalidates_its_own_conversation_only() {
    run(async {
        let upstream = Upstream::start(|_| Script::json(&json!({"answer": "A."}))).await;
        let config = "[[route]]\nmatch = \"POST /api/v1/conversations/{id}/turns\"\nkind = \"query\"\n\
                      [[route]]\nmatch = \"POST /traced\"\nkind = \"query\"\nignore = [\"/session_id\"]";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        let turn = async |target: &str, question: Value| {
            let headers = [("idempotency-key", "this turn")];
            client.post_with(target, &headers, &question).await.cache().to_owned()
        };
        let in_it = |text: &str, id: &str| json!({"query": text, "conversation": {"id": id}});
        let seen =
            async |id: &str| client.get(&format!("/api/v1/conversations/{id}")).await.cache().to_owned();
        assert_eq!(turn(QUERY, in_it("q", "one")).await, "MISS");
        assert_eq!(turn(QUERY, in_it("q", "two")).await, "MISS", "the key has the conversation");
        for id in ["one", "two"] {
            assert_eq!((seen(id).await, seen(id).await), ("MISS".to_owned(), "HIT".to_owned()));
        }
        // A turn that is not stored changes the conversation too. A hit for an earlier turn does not.
        for headers in [&[("cache-control", "no-store")][..], &[]] {
            client.post_with(QUERY, headers, &json!({"query": "r", "thread_id": "one"})).await;
            assert_eq!((seen("one").await, seen("two").await), ("MISS".to_owned(), "HIT".to_owned()));
        }
        assert_eq!(turn(QUERY, in_it("q", "one")).await, "HIT");
        assert_eq!(seen("one").await, "HIT");

        let path = "/api/v1/conversations/three/turns";
        for (question, expected) in [("q", "MISS"), ("q", "HIT"), ("r", "MISS"), ("q", "HIT")] {
            seen("three").await;
            assert_eq!(turn(path, json!({"query": question})).await, expected);
            assert_eq!(seen("three").await, expected);
        }
        // Deleting the conversation invalidates the answers to its turns.
        client.request("DELETE", "/api/v1/conversations/three", &[], "").await;
        assert_eq!(turn(path, json!({"query": "q"})).await, "MISS");

        for (id, expected) in [(1, "MISS"), (2, "HIT")] {
            let traced = client.post("/traced", &json!({"query": "q", "session_id": id})).await;
            assert_eq!(traced.cache(), expected, "it names none");
        }
    });
}

/// A write invalidates whether or not its answer is cached.
#[test]
fn a_cacheable_write_invalidates_at_and_above_its_path() {
    run(async {
        let upstream = citing().await;
        let config = "[[route]]\nmatch = \"POST /api/v1/conversations/{id}/messages\"\nkind = \"other\"\n";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        let seen = async || client.get("/api/v1/conversations/42").await.cache().to_owned();
        assert_eq!((seen().await, seen().await), ("MISS".to_owned(), "HIT".to_owned()));
        let write = async |text: &str| {
            client.post("/api/v1/conversations/42/messages", &json!({"text": text})).await.cache().to_owned()
        };
        assert_eq!(write("one").await, "MISS");
        assert_eq!((seen().await, seen().await), ("MISS".to_owned(), "HIT".to_owned()));
        assert_eq!(
            (write("one").await, seen().await),
            ("HIT".to_owned(), "HIT".to_owned()),
            "nothing was written"
        );
    });
}

/// A `POST` on a route with `kind = "document"` is a read.
#[test]
fn a_cached_search_below_a_document_invalidates_nothing() {
    run(async {
        let upstream = citing().await;
        let config = "[[route]]\nmatch = \"POST /api/v1/documents/{id}/search\"\nkind = \"document\"\n\
            [[route]]\nmatch = \"DELETE /api/v1/documents/{id}\"\nkind = \"other\"\n";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        let seen = async || client.get("/api/v1/documents/7").await.cache().to_owned();
        assert_eq!((seen().await, seen().await), ("MISS".to_owned(), "HIT".to_owned()));
        let search =
            async || client.post("/api/v1/documents/7/search", &json!({"for": "x"})).await.cache().to_owned();
        assert_eq!((search().await, search().await), ("MISS".to_owned(), "HIT".to_owned()));
        assert_eq!(seen().await, "HIT");
        assert_eq!(client.request("DELETE", "/api/v1/documents/7", &[], "").await.status, 200);
        assert_eq!(seen().await, "MISS");
    });
}

/// A request that never reached the upstream cannot have changed anything.
#[test]
fn a_request_that_was_not_sent_invalidates_nothing() {
    run(async {
        let go = Gate::new();
        let held = go.clone();
        let upstream = Upstream::start(move |request| match request.target.as_str() {
            "/held" => Script::raw().wait(&held).then(Script::json(&json!({}))),
            _ => Script::json(&json!({"at": request.target})),
        })
        .await;
        let config = "[limits]\nmax_upstream_requests = 1\n[[route]]\nmatch = \"POST /kept\"\nkind = \"other\"\n\
            invalidates = [\"document\"]\n[[route]]\nmatch = \"POST /passed\"\nkind = \"other\"\ncache = false\n\
            invalidates = [\"document\"]\n";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        let seen = async || client.get(DOCUMENT).await.cache().to_owned();
        assert_eq!((seen().await, seen().await), ("MISS".to_owned(), "HIT".to_owned()));
        let waiting = tokio::spawn({
            let client = sidecache.client();
            async move { client.get("/held").await.status }
        });
        eventually("asked", async || {
            upstream.requests().iter().any(|request| request.target == "/held").then_some(())
        })
        .await;
        for path in ["/kept", "/passed"] {
            assert_eq!(client.post(path, &json!({})).await.status, 503, "{path}");
            assert_eq!(seen().await, "HIT", "{path}");
        }
        go.open();
        assert_eq!(waiting.await.expect("no panic"), 200);
    });
}

/// On cached and uncached routes alike, and also if the upstream's answer is lost.
#[test]
fn the_invalidates_setting_treats_cached_and_uncached_routes_alike() {
    run(async {
        let upstream = Upstream::start(|request| match request.header("x-outcome") {
            Some("lost") => Script::raw().close(),
            Some(status) => {
                let location = [("location", "/elsewhere")];
                Script::json_with(status.parse().expect("a status"), &location, &json!({}))
            }
            None => Script::json(&json!({"at": request.target})),
        })
        .await;
        let route = |path: &str, cache: bool| {
            format!(
                "[[route]]\nmatch = \"POST {path}\"\nkind = \"other\"\ncache = {cache}\ninvalidates = [\"document\"]\n"
            )
        };
        let config = [route("/kept", true), route("/passed", false)].concat();
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        let client = sidecache.client();
        let seen = async || client.get(DOCUMENT).await.cache().to_owned();
        for path in ["/kept", "/passed"] {
            for (outcome, expected) in [("200", "MISS"), ("303", "MISS"), ("lost", "MISS"), ("422", "HIT")] {
                eventually("stored", async || (seen().await == "HIT").then_some(())).await;
                client.post_with(path, &[("x-outcome", outcome)], &json!({"outcome": outcome})).await;
                assert_eq!(seen().await, expected, "{path}, {outcome}");
            }
        }
    });
}

/// Some clients send an empty id before there is a conversation.
#[test]
fn an_empty_id_names_no_conversation() {
    run(async {
        let upstream =
            Upstream::always(Script::json(&json!({"answer": "A.", "conversation_id": "c-1"}))).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let asked = async || {
            let question = json!({"query": "q", "conversation_id": ""});
            let received = client.post(QUERY, &question).await;
            (received.cache().to_owned(), received.json()["conversation_id"].clone())
        };
        assert_eq!(asked().await, ("MISS".to_owned(), json!("c-1")));
        assert_eq!(asked().await, ("HIT".to_owned(), Value::Null));
    });
}
