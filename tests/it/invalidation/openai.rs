//! Searches of OpenAI's vector stores, and the files in them.

use super::*;
use crate::support::RedisServer;

const SEARCH: &str = "/v1/vector_stores/vs_1/search";

async fn with_both_stores(upstream: &Upstream, config: &str, test: impl AsyncFn(&Sidecache)) {
    let redis = RedisServer::start();
    for arguments in [&[][..], &["--redis", &redis.url()]] {
        let setup = Setup::to(&upstream.url()).config(config).config("[store]\ntimeout = \"10s\"");
        test(&setup.arguments(arguments).start().await).await;
    }
}

/// A service whose searches find the file in the question.
async fn openai() -> Upstream {
    Upstream::start(|request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if request.target.ends_with("/search") {
            let found = json!([{"file_id": body["query"], "filename": "a.md", "score": 0.9, "attributes": {},
                "content": [{"type": "text", "text": "Redis."}]}]);
            let data = if body["query"] == "nothing" { json!([]) } else { found };
            return Script::json(&json!({"object": "vector_store.search_results.page",
                "search_query": [body["query"]], "data": data, "has_more": false, "next_page": null}));
        }
        Script::json(&json!({"id": request.target}))
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
