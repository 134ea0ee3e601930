//! Reranking without `per_item`: a request is one entry, and its answer is stored if it has the results that were asked
//! for.

use serde_json::{Value, json};

use crate::support::{Script, Setup, Sidecache, Upstream, run};

/// What becomes of an answer to a request.
async fn outcome(target: &str, body: &Value, answer: &str) -> String {
    let json = [("content-type", "application/json")];
    let upstream = Upstream::always(Script::whole(200, &json, answer)).await;
    let sidecache = Setup::to(&upstream.url()).admin().start().await;
    let client = sidecache.client();
    let first = client.post(target, body).await;
    assert_eq!((first.status, first.text().as_str(), first.cache()), (200, answer, "MISS"));
    sidecache.settled().await;
    let again = client.post(target, body).await;
    assert_eq!(again.text(), answer);
    if again.cache() == "HIT" { "HIT".to_owned() } else { first.detail().unwrap_or_default().to_owned() }
}

#[test]
fn an_answer_has_the_results_that_were_asked_for() {
    run(async {
        let three = json!({"query": "q", "documents": ["a", {"text": "b"}, "c"]});
        let with = |name: &str, value: Value| {
            let mut body = three.clone();
            body[name] = value;
            body
        };
        let [first, second, third] =
            [0, 1, 2].map(|index| format!("{{\"index\":{index},\"relevance_score\":{}}}", 3 - index));
        let all = format!("{first},{second},{third}");
        let results = |list: &str| format!("{{\"results\":[{list}]}}");
        let score = |index: &str, score: &str| {
            results(&format!("{first},{second},{{\"index\":{index},\"relevance_score\":{score}}}"))
        };
        for (body, answer, expected) in [
            (three.clone(), results(&all), "HIT"),
            (three.clone(), format!("{{\"data\":[{all}],\"usage\":{{\"total_tokens\":7}}}}"), "HIT"),
            (three.clone(), results(&format!("{third},{first},{second}")), "HIT"),
            (three.clone(), results(&format!("{first},{second}")), "unread-scores"),
            (three.clone(), results(""), "unread-scores"),
            (three.clone(), results(&format!("{first},{second},{second}")), "unread-scores"),
            (three.clone(), score("3", "1"), "unread-scores"),
            (three.clone(), score("-1", "1"), "unread-scores"),
            (three.clone(), score("\"2\"", "1"), "unread-scores"),
            (three.clone(), score("2", "\"1\""), "unread-scores"),
            (three.clone(), score("2", "null"), "unread-scores"),
            (three.clone(), score("2", "NaN"), "unread-scores"),
            (three.clone(), score("2", "1e999"), "unread-scores"),
            (three.clone(), score("2", "-1.5e-3"), "HIT"),
            (three.clone(), format!("[{all}]"), "unread-scores"),
            (three.clone(), format!("{{\"error\":\"no\",\"results\":[{all}]}}"), "answer-error"),
            (three.clone(), "{\"error\":{\"message\":\"no\"}}".to_owned(), "answer-error"),
            (three.clone(), "no".to_owned(), "unread-scores"),
            (with("top_n", json!(2)), results(&format!("{second},{third}")), "HIT"),
            (with("top_n", json!(2)), results(&all), "unread-scores"),
            (with("top_n", json!(9)), results(&all), "HIT"),
            (with("top_n", json!(0)), results(&all), "HIT"),
            (with("top_n", json!(null)), results(&all), "HIT"),
            (with("top_k", json!(1)), results(&third), "HIT"),
        ] {
            assert_eq!(outcome("/v1/rerank", &body, &answer).await, expected, "{body} {answer}");
        }
        let texts = json!({"query": "q", "texts": ["a", "b"]});
        for (answer, expected) in [
            (r#"[{"index":1,"score":0.5},{"index":0,"score":0.1}]"#, "HIT"),
            (r#"[{"index":1,"text":"b","score":0.5},{"index":0,"text":"a","score":0.1}]"#, "HIT"),
            (r#"[{"index":1,"score":0.5}]"#, "unread-scores"),
            (r#"[{"score":0.5},{"index":0,"score":0.1}]"#, "unread-scores"),
            (r#"{"results":[{"index":1,"score":0.5},{"index":0,"score":0.1}]}"#, "unread-scores"),
            (r#"{"error":"overloaded","error_type":"overloaded"}"#, "answer-error"),
        ] {
            assert_eq!(outcome("/rerank", &texts, answer).await, expected, "{answer}");
        }
        let pairs = json!({"text_1": ["a", "b"], "text_2": ["c", "d"]});
        let one = json!({"data_1": "a", "data_2": {"content": []}});
        for (body, answer, expected) in [
            (&pairs, r#"{"data":[{"index":0,"score":0.5},{"index":1,"score":0.1}]}"#, "HIT"),
            (&pairs, r#"{"data":[{"index":0,"score":0.5}]}"#, "unread-scores"),
            (&one, r#"{"data":[{"index":0,"score":0.5}]}"#, "HIT"),
            (&one, r#"{"data":[{"index":0,"score":[0.5]}]}"#, "unread-scores"),
        ] {
            assert_eq!(outcome("/score", body, answer).await, expected, "{answer}");
        }
    });
}

#[test]
fn what_changes_an_answer_counts() {
    run(async {
        let upstream = Upstream::start(|request| {
            let asked = request.json();
            let count = asked["documents"].as_array().expect("documents").len();
            let count = asked["top_n"].as_u64().map_or(count, |limit| usize::try_from(limit).expect("small"));
            let result = |index| json!({"index": index, "relevance_score": 0.5});
            Script::json(&json!({"results": (0..count).map(result).collect::<Vec<_>>()}))
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let base = json!({"model": "r", "query": "q", "documents": ["a", "b"], "top_n": 1});
        assert_eq!(sidecache.client().post("/v2/rerank", &base).await.cache(), "MISS");
        let hit = sidecache.client().post_text("/v2/rerank", &[], &format!("{base:#}")).await;
        assert_eq!((hit.cache(), hit.detail()), ("HIT", None));
        assert!(hit.key().starts_with("sidecache:rerank:"), "{}", hit.key());
        for (name, value) in [
            ("query", json!("Q")),
            ("documents", json!(["b", "a"])),
            ("documents", json!(["a", "b", "c"])),
            ("top_n", json!(2)),
            ("model", json!("s")),
            ("return_documents", json!(true)),
        ] {
            let mut body = base.clone();
            body[name] = value;
            assert_eq!(sidecache.client().post("/v2/rerank", &body).await.cache(), "MISS", "{body}");
        }
        let kinds = sidecache.health().await["cache"]["kinds"]["rerank"].clone();
        assert_eq!((&kinds["hits"], &kinds["misses"]), (&json!(1), &json!(7)));
    });
}

#[test]
fn the_ttl_is_a_setting() {
    run(async {
        let answer = json!({"results": [{"index": 0, "relevance_score": 0.5}]});
        let upstream = Upstream::always(Script::json(&answer)).await;
        for (setup, ttl) in [
            (Setup::to(&upstream.url()), "ttl=86400"),
            (Setup::to(&upstream.url()).env("CACHE_RERANK_TTL", "2h"), "ttl=7200"),
            (Setup::to(&upstream.url()).config("[ttl]\nrerank = \"10m\""), "ttl=600"),
        ] {
            let sidecache = setup.start().await;
            let body = json!({"query": "q", "documents": ["a"]});
            sidecache.client().post("/rerank", &body).await;
            let hit = sidecache.client().post("/rerank", &body).await;
            let left = hit.header("cache-status").split("; ").find(|part| part.starts_with("ttl="));
            let left = left.expect("a ttl");
            assert!(left.len() == ttl.len() && left <= ttl || left.len() < ttl.len(), "{left} {ttl}");
        }
    });
}
