//! Reranking with `per_item`: each query and document has a score of its own.

use serde_json::{Value, json};

use super::{
    PER_ITEM,
    api::{Api, Options},
    documents, started, uncached,
};
use crate::support::{Answer, Script, Setup, Sidecache, Upstream, run};

const TARGET: &str = "/v2/rerank";

/// The indexes of the results, in their order.
fn indexes(answer: &Answer) -> Vec<u64> {
    let results = answer.json()["results"].as_array().expect("results").clone();
    results.iter().map(|result| result["index"].as_u64().expect("an index")).collect()
}

#[test]
fn of_a_hundred_documents_the_ten_unknown_ones_go_upstream_once() {
    run(async {
        let (service, sidecache) = started().await;
        let client = sidecache.client();
        let names: Vec<_> = (0..100).map(|number| format!("document {number}")).collect();
        let known: Vec<_> =
            names.iter().enumerate().filter(|(at, _)| at % 10 != 3).map(|(_, name)| name.clone()).collect();
        let unknown: Vec<_> = names.iter().filter(|name| !known.contains(name)).cloned().collect();
        let asked = |names: &[String]| json!({"model": "r", "query": "q", "documents": names, "top_n": 100});
        assert_eq!(client.post(TARGET, &asked(&known)).await.cache(), "MISS");
        let answer = client.post(TARGET, &asked(&names)).await;
        assert_eq!((answer.cache(), answer.detail()), ("PARTIAL", Some("\"hits=90/100\"")));
        assert_eq!(service.upstream.calls(), 2);
        let sent = service.upstream.last().json();
        assert_eq!((&sent["documents"], &sent["top_n"]), (&json!(unknown), &json!(10)));
        let billed: Vec<_> = unknown.iter().map(|name| json!(name)).collect();
        assert_eq!(answer.text(), uncached(Api::CohereRerank, &asked(&names), &billed));
        let again = client.post(TARGET, &asked(&names)).await;
        assert_eq!((again.cache(), again.text()), ("HIT", uncached(Api::CohereRerank, &asked(&names), &[])));
        let counted = &sidecache.health().await["cache"]["kinds"]["rerank"];
        assert_eq!((&counted["hits"], &counted["misses"]), (&json!(190), &json!(100)));
    });
}

/// The unknown score decides who is among the first: all of them are asked for.
#[test]
fn a_limit_is_the_clients_alone() {
    run(async {
        let (service, sidecache) = started().await;
        let client = sidecache.client();
        let limited = |names: &[&str], limit: Value| {
            let mut body = documents(names);
            body["top_n"] = limit;
            body
        };
        let first = client.post(TARGET, &limited(&["a", "b", "c"], json!(1))).await;
        assert_eq!((first.cache(), indexes(&first).len()), ("MISS", 1));
        assert_eq!(service.upstream.last().json()["top_n"], 3);
        for (names, limit, count) in [
            (&["c", "b", "a"][..], json!(2), 2),
            (&["a", "b"], json!(7), 2),
            (&["b", "b", "a"], json!(2), 2),
            (&["b", "a"], Value::Null, 2),
        ] {
            let body = limited(names, limit);
            let answer = client.post(TARGET, &body).await;
            assert_eq!((answer.cache(), indexes(&answer).len()), ("HIT", count), "{body}");
            assert_eq!(answer.text(), uncached(Api::CohereRerank, &body, &[]), "{body}");
        }
        assert_eq!(service.upstream.calls(), 1);
        // Services read these in several ways: one request with one entry.
        for limit in [json!(0), json!(-1), json!("2"), json!(1.5)] {
            let body = limited(&["a", "b"], limit);
            let calls = service.upstream.calls();
            client.post(TARGET, &body).await;
            assert_eq!(service.upstream.last().json(), body);
            assert_eq!(service.upstream.calls(), calls + 1, "{body}");
        }
    });
}

#[test]
fn documents_count_by_what_they_mean() {
    run(async {
        let (service, sidecache) = started().await;
        let client = sidecache.client();
        let ask = async |documents: &str, more: &str| {
            let body = format!(r#"{{"model":"r","query":"q","documents":{documents}{more}}}"#);
            client.post_text(TARGET, &[], &body).await.cache().to_owned()
        };
        assert_eq!(ask(r#"[{"text":"a","n":1},"a",{"image":"x"}]"#, "").await, "MISS");
        for (documents, more, expected) in [
            (r#"[ { "n":1,"text":"\u0061" } ]"#, "", "HIT"),
            (r#"[{"image":"x"},"\u0061"]"#, r#","user":"u","top_n":2"#, "HIT"),
            (r#"[{"text":"a"}]"#, "", "MISS"),
            (r#"[{"text":"a","n":1.0}]"#, "", "MISS"),
            (r#"["a"]"#, r#","return_documents":true"#, "MISS"),
            (r#"["a"]"#, r#","max_tokens_per_doc":9"#, "MISS"),
        ] {
            assert_eq!(ask(documents, more).await, expected, "{documents} {more}");
        }
        assert_eq!(service.upstream.calls(), 5);
    });
}

/// Of two equal scores, a service has the first document first, or the last one.
#[test]
fn equal_scores_are_in_the_services_order() {
    run(async {
        let (_service, sidecache) = started().await;
        let client = sidecache.client();
        for (api, expected) in [(Api::JinaRerank, [0, 1, 2]), (Api::TeiRerank, [2, 1, 0])] {
            let options = Options { variant: 0, limit: None, with_more: false, is_bare: false };
            let one = vec![api.input(1)];
            let body = api.request(&[one.clone(), one.clone(), one.clone()].concat(), &options);
            client.post(api.target(), &api.request(&one, &options)).await;
            let answer = client.post(api.target(), &body).await;
            assert_eq!((answer.cache(), answer.text()), ("HIT", uncached(api, &body, &[])), "{api:?}");
            let json = answer.json();
            let results = json.get("results").unwrap_or(&json).as_array().expect("results").clone();
            let found: Vec<_> = results.iter().map(|result| result["index"].as_u64()).collect();
            assert_eq!(found, expected.map(Some), "{api:?}");
        }
    });
}

/// A service that does not sort has its answers passed on: nobody knows its order.
#[test]
fn results_in_the_order_of_the_documents_are_not_divided() {
    run(async {
        let upstream = Upstream::start(|request| {
            let count = request.json()["documents"].as_array().expect("documents").len();
            let result = |index| json!({"index": index, "relevance_score": index});
            Script::json(&json!({"results": (0..count).map(result).collect::<Vec<_>>()}))
        })
        .await;
        let sidecache = Setup::to(&upstream.url()).config(PER_ITEM).start().await;
        for _ in 0..2 {
            let answer = sidecache.client().post(TARGET, &documents(&["a", "b"])).await;
            assert_eq!(indexes(&answer), [0, 1]);
            assert_eq!((answer.cache(), answer.detail()), ("MISS", Some("\"hits=0/2 unread-scores\"")));
        }
    });
}

#[test]
fn pairs_of_lists_are_one_request() {
    run(async {
        let (service, sidecache) = started().await;
        let client = sidecache.client();
        let pairs = |one: &[&str], other: &[&str]| json!({"model": "s", "text_1": one, "text_2": other});
        for (body, expected) in [
            (pairs(&["a", "b"], &["c", "d"]), "MISS"),
            (pairs(&["a", "b"], &["c", "d"]), "HIT"),
            (pairs(&["b", "a"], &["d", "c"]), "MISS"),
        ] {
            let answer = client.post("/score", &body).await;
            let billed = Api::Score.inputs(&body);
            assert_eq!((answer.cache(), answer.text()), (expected, uncached(Api::Score, &body, &billed)));
        }
        assert_eq!(service.upstream.calls(), 2);
    });
}

#[test]
fn the_setting_is_for_routes_that_rank() {
    run(async {
        let (service, _sidecache) = started().await;
        let without: Sidecache = Sidecache::start(&service.upstream.url()).await;
        let client = without.client();
        assert_eq!(client.post(TARGET, &documents(&["a", "b"])).await.cache(), "MISS");
        assert_eq!(client.post(TARGET, &documents(&["a", "b"])).await.cache(), "HIT");
        assert_eq!(client.post(TARGET, &documents(&["b", "a"])).await.cache(), "MISS", "whole requests");
    });
}
