//! What OpenAI keeps for its callers: responses, and files in vector stores.

use super::*;
use crate::support::RedisServer;

const SEARCH: &str = "/v1/vector_stores/vs_1/search";
const RESPONSES: &str = "/v1/responses";

async fn with_both_stores(upstream: &Upstream, config: &str, test: impl AsyncFn(&Sidecache)) {
    let redis = RedisServer::start();
    for arguments in [&[][..], &["--redis", &redis.url()]] {
        let setup = Setup::to(&upstream.url()).config(config).config("[store]\ntimeout = \"10s\"");
        test(&setup.arguments(arguments).start().await).await;
    }
}

/// A service whose searches find the file in the question, and which numbers its responses.
async fn openai() -> Upstream {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    Upstream::start(move |request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if request.target.ends_with("/search") {
            let found = json!([{"file_id": body["query"], "filename": "a.md", "score": 0.9, "attributes": {},
                "content": [{"type": "text", "text": "Redis."}]}]);
            let data = if body["query"] == "nothing" { json!([]) } else { found };
            return Script::json(&json!({"object": "vector_store.search_results.page",
                "search_query": [body["query"]], "data": data, "has_more": false, "next_page": null}));
        }
        if request.method != "POST" || request.target != RESPONSES {
            return Script::json(&json!({"id": request.target, "deleted": request.method == "DELETE"}));
        }
        let id = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let response = json!({"id": format!("resp_{id}"), "object": "response", "status": "completed", "model": "m",
            "previous_response_id": body["previous_response_id"],
            "output": [{"id": "msg_1", "type": "message", "status": "completed", "role": "assistant",
                "content": [{"type": "output_text", "text": "Redis.", "annotations": []}]}]});
        let event = |kind: &str| format!("event: {kind}\ndata: {}\n\n", json!({"type": kind, "response": response}));
        match body["stream"] == true {
            true => Script::events(&[&event("response.created"), &event("response.completed")]),
            false => Script::json(&response),
        }
    })
    .await
}

async fn searched(client: &Client, target: &str, query: &str) -> String {
    client.post(target, &json!({"query": query})).await.cache().to_owned()
}

/// Asks until the answer is stored, which takes a moment in Redis.
async fn until_hit(client: &Client, target: &str, body: &Value) -> Answer {
    eventually("a hit", async || {
        let answer = client.post(target, body).await;
        (answer.cache() == "HIT").then_some(answer)
    })
    .await
}

/// A change to a vector store concerns all its searches, and a deleted file those that found it.
#[test]
fn changes_of_vector_stores_and_files_invalidate_searches() {
    run(async {
        let upstream = openai().await;
        for (method, target, other, own) in [
            ("DELETE", "/v1/files/file_1", "HIT", "MISS"),
            ("POST", "/v1/vector_stores/vs_1/files", "MISS", "MISS"),
            ("POST", "/v1/vector_stores/vs_1/files/file_9", "MISS", "MISS"),
            ("DELETE", "/v1/vector_stores/vs_1/files/file_9", "MISS", "MISS"),
            ("POST", "/v1/vector_stores/vs_1/file_batches", "MISS", "MISS"),
            ("POST", "/v1/vector_stores/vs_1/file_batches/b/cancel", "MISS", "MISS"),
            ("POST", "/v1/vector_stores/vs_1", "MISS", "MISS"),
            ("DELETE", "/v1/vector_stores/vs_1", "MISS", "MISS"),
            ("DELETE", "/proxied/v1/files/file_1", "HIT", "MISS"),
            // These change no search of this store.
            ("POST", "/v1/files", "HIT", "HIT"),
            ("DELETE", "/v1/files/file_3", "HIT", "HIT"),
            ("POST", "/v1/vector_stores/vs_2/files", "HIT", "HIT"),
            ("GET", "/v1/vector_stores/vs_1/files", "HIT", "HIT"),
        ] {
            with_both_stores(&upstream, "", async |sidecache| {
                let client = sidecache.client();
                for query in ["file_1", "file_2"] {
                    // Another sidecache may have stored it in the same Redis.
                    client.post(SEARCH, &json!({"query": query})).await;
                    until_hit(&client, SEARCH, &json!({"query": query})).await;
                }
                let headers = [("content-type", "application/json")];
                let changed = client.request(method, target, &headers, "{}").await;
                assert_eq!((changed.status, changed.cache()), (200, "PASS"), "{method} {target}");
                assert_eq!(searched(&client, SEARCH, "file_2").await, other, "{method} {target}");
                let answer = client.post(SEARCH, &json!({"query": "file_1"})).await;
                assert_eq!(answer.cache(), own, "{method} {target}");
                // The service indexes what it has accepted: until then, nothing is stored.
                let settles = own == "MISS";
                assert_eq!(answer.detail() == Some("settling"), settles, "{method} {target}");
            })
            .await;
        }
    });
}

#[test]
fn a_search_that_finds_nothing_or_is_none_is_not_stored() {
    run(async {
        let upstream = openai().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        for _ in 0..2 {
            let answer = client.post(SEARCH, &json!({"query": "nothing"})).await;
            assert_eq!((answer.cache(), answer.detail()), ("MISS", Some("empty")));
        }
        for body in [json!({}), json!({"query": ""}), json!({"query": [7]}), json!({"queries": ["a"]})] {
            let answer = client.post(SEARCH, &body).await;
            assert_eq!((answer.cache(), answer.detail()), ("PASS", Some("not-in-dialect")), "{body}");
        }
        let several = json!({"query": ["a", "b"], "filters": {"type": "eq", "key": "k", "value": 1}});
        assert_eq!(client.post(SEARCH, &several).await.cache(), "MISS");
        assert_eq!(client.post(SEARCH, &several).await.cache(), "HIT");
        assert_eq!(client.post("/v1/vector_stores/vs_2/search", &several).await.cache(), "MISS");
    });
}

/// The id of a hit can be named later, as long as the service has the response.
#[test]
fn a_response_that_was_deleted_is_no_hit_and_nothing_that_goes_on_from_it() {
    run(async {
        let upstream = openai().await;
        with_both_stores(&upstream, "", async |sidecache| {
            let client = sidecache.client();
            for stream in [false, true] {
                let question = json!({"model": "m", "input": format!("Who? {stream}"), "stream": stream});
                let first = client.post(RESPONSES, &question).await;
                assert_eq!((first.status, first.cache()), (200, "MISS"));
                until_hit(&client, RESPONSES, &question).await;
                let id = first
                    .text()
                    .split("\"id\":\"")
                    .nth(1)
                    .and_then(|rest| rest.split('"').next().map(str::to_owned));
                let id = id.expect("an id");
                let next =
                    json!({"model": "m", "input": "And?", "previous_response_id": id, "stream": stream});
                client.post(RESPONSES, &next).await;
                until_hit(&client, RESPONSES, &next).await;
                for _ in 0..2 {
                    let got = client.get(&format!("{RESPONSES}/{id}")).await;
                    assert_eq!((got.status, got.cache()), (200, "PASS"), "what is kept is never a hit");
                }
                let deleted = client.request("DELETE", &format!("{RESPONSES}/resp_other"), &[], "").await;
                assert_eq!(deleted.cache(), "PASS");
                assert_eq!(client.post(RESPONSES, &question).await.cache(), "HIT", "that was another one");
                client.request("DELETE", &format!("{RESPONSES}/{id}"), &[], "").await;
                let again = client.post(RESPONSES, &question).await;
                assert_eq!(again.cache(), "MISS");
                assert!(!again.text().contains(&format!("\"{id}\"")), "{}", again.text());
                assert_eq!(client.post(RESPONSES, &next).await.cache(), "MISS");
            }
        })
        .await;
    });
}

/// `body` with the members of `more` in it.
fn merged(mut body: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

/// A response that the service keeps is its caller's, whatever the scope, unless the operator says who shares.
#[test]
fn a_response_that_is_kept_goes_to_no_other_caller() {
    const SHARED: &str = "scope = \"shared\"";
    run(async {
        let upstream = openai().await;
        let nothing = || json!({});
        for (config, store, goes_on, is_shared) in [
            ("", json!(null), nothing(), false),
            (SHARED, json!(null), nothing(), false),
            (SHARED, json!(true), nothing(), false),
            (SHARED, json!(false), nothing(), true),
            (SHARED, json!(false), json!({"previous_response_id": "resp_of_one"}), false),
            (SHARED, json!(false), json!({"input": [{"type": "item_reference", "id": "msg_of_one"}]}), false),
            (SHARED, json!(false), json!({"input": [{"id": "msg_of_one"}]}), false),
            ("scope = [\"x-project\"]", json!(null), nothing(), true),
            (
                "[[route]]\nmatch = \"POST /v1/responses\"\nkind = \"query\"\nscope = \"shared\"\nopens = []",
                json!(null),
                nothing(),
                true,
            ),
        ] {
            with_both_stores(&upstream, config, async |sidecache| {
                let client = sidecache.client();
                let question = merged(
                    json!({"model": "m", "input": format!("{config} {store}"), "store": store}),
                    &goes_on,
                );
                let ask = async |key: &str| {
                    let headers = [("authorization", key)];
                    client.post_with(RESPONSES, &headers, &question).await
                };
                let (first, second) = (ask("Bearer one").await, ask("Bearer two").await);
                assert_eq!(first.cache(), "MISS");
                let what = format!("{config} {store}");
                // Under `shared`, a caller's first request shows that the service accepts the caller.
                let ids = [first.json()["id"].clone(), second.json()["id"].clone()];
                assert!(second.cache() == "MISS" && ids[0] != ids[1] || is_shared, "{what}");
                // A write of the second answer may still be on its way, behind a hit of the first one.
                let expected = async || {
                    let answers = [ask("Bearer one").await, ask("Bearer two").await];
                    let found = answers.iter().all(|answer| answer.cache() == "HIT");
                    let again = answers.map(|answer| answer.json()["id"].clone());
                    assert!(is_shared || !found || again == ids, "each one's own: {what}");
                    (found && (!is_shared || again[0] == again[1])).then_some(())
                };
                eventually(&what, expected).await;
            })
            .await;
        }
    });
}

/// Work that goes on after the answer is never a hit, in either form.
#[test]
fn what_runs_in_the_background_is_not_stored() {
    run(async {
        let upstream = openai().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for stream in [false, true] {
            let question = json!({"model": "m", "input": "Who?", "background": true, "stream": stream});
            for _ in 0..2 {
                let answer = sidecache.client().post(RESPONSES, &question).await;
                assert_eq!((answer.cache(), answer.detail()), ("BYPASS", Some("request-background")));
            }
        }
        assert_eq!(upstream.calls(), 4);
    });
}
