//! Writes to documents invalidate them and the answers that cite them.

use super::*;

#[test]
fn changing_a_document_invalidates_the_answers_that_cite_it_and_no_others() {
    run(async {
        let rag = ExampleService::start().await;
        let sidecache = Sidecache::start(rag.url()).await;
        let client = sidecache.client();
        change_of_a_cited_document(&client, &client).await;
    });
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
            assert_eq!(written.cache(), "PASS", "a write is passed through");
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
