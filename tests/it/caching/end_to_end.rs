//! The main job: of two identical questions, the upstream answers the first and the store the second.

use serde_json::{Value, json};

use crate::support::{
    Client, ExampleService, Script, Setup, Sidecache, Upstream, run,
    samples::{CHAT, Case, QUERY, cases, chat, chat_answer, on_a_hit, query},
};

/// Asks twice: first the upstream answers, then the store, with the same bytes.
async fn assert_hit_on_the_second(client: &Client, target: &str, question: &Value) {
    let first = client.post(target, question).await;
    assert_eq!((first.status, first.cache()), (200, "MISS"), "{target}: {}", first.text());
    let second = client.post(target, question).await;
    assert_eq!((second.status, second.cache()), (200, "HIT"), "{target}: {:?}", second.headers);
    if target == "/v1/embeddings" {
        assert_eq!(second.json(), on_a_hit(&first.json()));
    } else {
        assert_eq!(second.body, first.body, "{target}");
    }
    assert_eq!(second.header("content-type"), first.header("content-type"), "{target}");
}

#[test]
fn a_repeated_question_reaches_the_rag_service_once() {
    run(async {
        let rag = ExampleService::start().await;
        let sidecache = Sidecache::start(rag.url()).await;
        let client = sidecache.client();
        let model =
            json!({"model": "m", "messages": [{"role": "user", "content": "How long do entries live?"}]});
        let vectors = json!({"model": "hashed-words", "input": ["one", "two"]});
        let mut model_stream = model.clone();
        model_stream["stream"] = json!(true);
        for (path, question, calls) in [
            (QUERY, &query(), 1),
            (QUERY, &json!({"query": "Who keeps entries?", "stream": true}), 2),
            (CHAT, &model, 1),
            ("/v1/embeddings", &vectors, 1),
        ] {
            assert_hit_on_the_second(&client, path, question).await;
            assert_eq!(rag.calls(path), calls, "{path} {question}");
        }
        for turn in ["MISS", "HIT", "HIT"] {
            let answer = client.get("/api/v1/documents/caching").await;
            assert_eq!((answer.status, answer.cache()), (200, turn));
        }
        assert_eq!(rag.calls("/api/v1/documents/caching"), 1);
    });
}

#[test]
fn a_stream_of_the_rag_service_is_replayed() {
    run(async {
        let rag = ExampleService::start().await;
        let sidecache = Sidecache::start(rag.url()).await;
        let client = sidecache.client();
        let question = json!({"model": "m", "stream": true,
            "messages": [{"role": "user", "content": "How long do entries live?"}]});
        let first = client.post(CHAT, &question).await;
        assert_eq!((first.status, first.cache()), (200, "MISS"));
        assert!(first.text().ends_with("data: [DONE]\n\n"), "{}", first.text());
        let second = client.post(CHAT, &question).await;
        assert_eq!((second.cache(), second.header("content-type")), ("HIT", "text/event-stream"));
        assert_eq!(second.body, first.body);
        assert_eq!(rag.calls(CHAT), 1);
    });
}

#[test]
fn a_conversation_is_opened_for_its_own_caller_only_and_its_page_is_cached() {
    run(async {
        let rag = ExampleService::start().await;
        let sidecache = Sidecache::start(rag.url()).await;
        let client = sidecache.client();
        let question = json!({"message": "How long do entries live?"});
        let first = client.post("/api/v1/chat", &question).await;
        let id = first.json()["conversation_id"].as_str().expect("an id").to_owned();
        let second = client.post("/api/v1/chat", &question).await;
        assert_eq!(second.cache(), "HIT");
        let mut expected = first.json();
        expected["conversation_id"] = Value::Null;
        assert_eq!(second.json(), expected);

        let target = format!("/api/v1/conversations/{id}");
        let shown = client.get(&target).await;
        assert_eq!((shown.status, shown.cache()), (200, "MISS"));
        let again = client.get(&target).await;
        assert_eq!((again.cache(), &again.body), ("HIT", &shown.body));
        assert_eq!(rag.calls(&target), 1);

        // A turn changes the conversation, and so its page.
        let turn = json!({"message": "How long do entries live?", "conversation_id": id});
        let other = json!({"message": "And in Redis?", "conversation_id": id});
        for turn in [&turn, &turn, &other] {
            let answer = client.post("/api/v1/chat", turn).await;
            assert_eq!((answer.cache(), &answer.json()["conversation_id"]), ("BYPASS", &json!(id)));
            assert_eq!(client.get(&target).await.cache(), "MISS");
            assert_eq!(client.get(&target).await.cache(), "HIT");
        }
        assert_eq!(rag.calls("/api/v1/chat"), 4);
    });
}

#[test]
fn every_built_in_route_is_cached_under_its_kind() {
    run(async {
        let upstream = Upstream::start(|request| {
            let of_target = cases().into_iter().filter(|case| case.target == request.target);
            let found = of_target.into_iter().find(|case| case.question == request.json());
            Script::json(&found.expect("a case").answer)
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        for (index, Case { target, kind, question, answer }) in cases().iter().enumerate() {
            let first = client.post(target, question).await;
            assert_eq!((first.status, first.cache()), (200, "MISS"), "{target}: {}", first.text());
            assert_eq!(first.json(), *answer);
            assert!(first.header("cache-status").contains(&format!("key=\"sidecache:{kind}:")), "{target}");
            let second = client.post(target, question).await;
            assert_eq!((second.cache(), second.json()), ("HIT", on_a_hit(answer)), "{target}");
            assert!(*kind == "embedding" || second.body == first.body, "{target}");
            assert_eq!(upstream.calls(), index + 1, "{target}");
        }
        let health = sidecache.health().await;
        for kind in ["query", "embedding", "rerank"] {
            let asked = cases().iter().filter(|case| case.kind == kind).count();
            assert_eq!(health["cache"]["kinds"][kind]["hits"], asked, "{kind}");
        }
    });
}

#[test]
fn documents_and_conversations_are_cached_under_their_kinds() {
    run(async {
        let upstream = Upstream::start(|request| Script::json(&json!({"at": request.target}))).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        for (target, kind) in [
            ("/api/v1/documents/a%2Fb?full=1", "document"),
            ("/api/v1/documents/a%2Fb?full=2", "document"),
            ("/api/v1/conversations/c1", "conversation"),
        ] {
            let first = client.get(target).await;
            assert_eq!((first.cache(), first.json()["at"].as_str()), ("MISS", Some(target)));
            assert!(first.header("cache-status").contains(&format!("sidecache:{kind}:")), "{target}");
            let second = client.get(target).await;
            assert_eq!((second.cache(), &second.body), ("HIT", &first.body), "{target}");
        }
        assert_eq!(upstream.calls(), 3);
    });
}

#[test]
fn a_built_in_route_covers_only_what_its_dialect_requires() {
    run(async {
        let upstream = Upstream::always(Script::json(&json!({"created": true}))).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let json = [("content-type", "application/json")];
        let text = [("content-type", "text/plain")];
        let mut calls = 0;
        for (target, headers, body) in [
            ("/api/rooms/7/v1/messages", &json, r#"{"text": "hello", "to": "all"}"#),
            ("/v1/messages", &json, r#"{"model": "m", "messages": []}"#),
            ("/v1/messages", &text, r#"{"model": "m", "messages": [], "max_tokens": 1}"#),
            ("/v1/chat/completions", &json, r#"{"model": "m"}"#),
            ("/v1/embeddings", &json, r#"{"model": "m"}"#),
            ("/api/v1/query", &json, r#"{"query": 7}"#),
            ("/api/v1/chat", &json, r#"{"text": "hello"}"#),
        ] {
            for _ in 0..2 {
                let answer = client.request("POST", target, headers, body).await;
                calls += 1;
                assert_eq!((answer.status, answer.cache()), (200, "PASS"), "{target} {body}");
                let reason = if headers == &text { "not-json" } else { "not-in-dialect" };
                assert_eq!(answer.detail(), Some(reason), "{target} {body}");
                assert_eq!(upstream.calls(), calls, "{target} {body}");
                assert_eq!(upstream.last().body, body.as_bytes());
            }
        }
    });
}

#[test]
fn the_upstream_gets_the_clients_bytes_unchanged() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let body = "{ \"messages\":[{\"content\" : \"\\u0068i\",\"role\":\"user\"}],\n\"model\": \"m\"\t}";
        let answer = sidecache.client().post_text(CHAT, &[], body).await;
        assert_eq!(answer.cache(), "MISS");
        assert_eq!(upstream.last().body, body.as_bytes());
        // Another spelling of the same question.
        let body = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
        assert_eq!(sidecache.client().post_text(CHAT, &[], body).await.cache(), "HIT");
    });
}

#[test]
fn routes_of_the_file_precede_built_in_ones() {
    run(async {
        let upstream = Upstream::start(|request| Script::json(&json!({"at": request.target}))).await;
        let routes = r#"
            [[route]]
            name = "asks"
            match = "POST /support/{tenant}/ask"
            kind = "query"
            dialect = "json"
            [[route]]
            match = "GET /things/**"
            kind = "other"
            [[route]]
            match = "POST /v1/chat/completions"
            kind = "query"
            cache = false
        "#;
        let sidecache = Setup::to(&upstream.url()).config(routes).start().await;
        let client = sidecache.client();
        for turn in ["MISS", "HIT"] {
            let ask = client.post("/support/a/ask", &json!({"anything": 1})).await;
            assert_eq!(ask.cache(), turn);
            assert!(ask.header("cache-status").contains("sidecache:query:"));
            let thing = client.get("/things/a/b").await;
            assert_eq!(thing.cache(), turn);
            assert!(thing.header("cache-status").contains("sidecache:other:"));
            // Never cached: passed through as if no route covered it.
            assert_eq!(client.post(CHAT, &chat()).await.cache(), "PASS");
            assert_eq!(client.post("/support/a/b/ask", &json!({})).await.cache(), "PASS");
        }
        assert_eq!(upstream.calls(), 6);
    });
}

#[test]
fn a_service_of_ones_own_hits_with_a_route_on_the_command_line() {
    run(async {
        let upstream = Upstream::always(Script::json(&json!({"answer": "Redis."}))).await;
        let vectors = Upstream::always(Script::json(
            &json!({"data": [{"index": 0, "embedding": [0.5, 1]}], "model": "e"}),
        ))
        .await;
        let chat =
            Setup::to(&upstream.url()).arguments(&["--route", "POST /chat", "--route", "GET /page 5m"]);
        let embed = Setup::to(&vectors.url()).env("CACHE_ROUTES", "POST /embed embedding 24h; POST /other");
        for (setup, path, question, ttl) in [
            (chat, "/chat", json!({"question": "Who keeps entries?"}), "ttl=1800"),
            (embed, "/embed", json!({"model": "e", "input": "Who?"}), "ttl=86400"),
        ] {
            let sidecache = setup.start().await;
            let client = sidecache.client();
            assert_hit_on_the_second(&client, path, &question).await;
            let hit = client.post(path, &question).await;
            let left =
                |status: &str| status.split("; ").find(|part| part.starts_with("ttl=")).map(str::to_owned);
            let left = left(hit.header("cache-status")).expect("a ttl");
            assert!(left.len() == ttl.len() && left.as_str() <= ttl, "{left}");
            assert_eq!(client.post("/nothing", &question).await.cache(), "PASS");
        }
        assert_eq!((upstream.calls(), vectors.calls()), (2, 2));
    });
}
