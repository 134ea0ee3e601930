//! Entries listed, shown and removed.

use serde_json::{Value, json};

use super::{BOTH_STORES, Fixture, StoreKind};
use crate::support::{
    Gate, Script, Upstream, eventually, run,
    samples::{CHAT, QUERY, chat, chat_answer, query_answer},
};

const DOCUMENT: &str = "/api/v1/documents/";

/// An upstream with answers for chats, queries and documents.
async fn service() -> Upstream {
    Upstream::start(|request| match request.target.as_str() {
        CHAT => Script::json(&chat_answer()),
        QUERY => {
            Script::json_with(200, &[("x-two", "1"), ("x-two", "2"), ("cache-tag", "c")], &query_answer())
        }
        _ => Script::whole(200, &[("content-type", "application/pdf")], [0xff, 0xfe, 0]),
    })
    .await
}

async fn list(fixture: &Fixture, query: &str) -> (Vec<Value>, bool) {
    let answer = fixture.operator.get(&format!("/entries{query}")).await;
    let received = answer.json();
    assert_eq!(answer.status, 200, "{received}");
    let more = received["more"].as_bool().expect("a truth value");
    (received["entries"].as_array().expect("a list").clone(), more)
}

#[test]
fn entries_are_listed() {
    run(async {
        for store in BOTH_STORES {
            let upstream = service().await;
            let fixture = Fixture::new(store, &upstream).await;
            assert_eq!(list(&fixture, "").await, (vec![], false), "{store:?}");
            let key = fixture.client.post(CHAT, &chat()).await.key();
            for _ in 0..3 {
                assert_eq!(fixture.asked(CHAT, &chat()).await, "HIT");
            }
            let mut documents = Vec::new();
            for number in 0..5 {
                documents.push(fixture.client.get(&format!("{DOCUMENT}{number}")).await.key());
            }
            documents.sort_unstable();
            let (entries, more) = list(&fixture, "?kind=query").await;
            assert!(!more && entries.len() == 1, "{entries:?}");
            let entry = &entries[0];
            assert_eq!(
                (&entry["key"], &entry["kind"], &entry["hits"]),
                (&json!(key), &json!("query"), &json!(3))
            );
            assert!(entry["age"].as_u64().is_some_and(|age| age < 60), "{entry}");
            assert!(entry["ttl"].as_i64().is_some_and(|ttl| (1740..=1800).contains(&ttl)), "{entry}");
            assert!(entry["size"].as_u64().is_some_and(|size| size > 200), "{entry}");
            let keys = |entries: &[Value]| {
                let mut keys: Vec<_> =
                    entries.iter().map(|entry| entry["key"].as_str().expect("a key").to_owned()).collect();
                keys.sort_unstable();
                keys
            };
            let (entries, more) = list(&fixture, "?kind=document").await;
            assert_eq!((keys(&entries), more), (documents.clone(), false), "{store:?}");
            assert!(!list(&fixture, "?kind=document&limit=5").await.1);
            let (some, more) = list(&fixture, "?kind=document&limit=4").await;
            assert!(more && some.len() == 4 && keys(&some).iter().all(|key| documents.contains(key)));
            assert_eq!(list(&fixture, "").await.0.len(), 6);
            assert_eq!(list(&fixture, "?kind=embedding").await, (vec![], false));
        }
    });
}

#[test]
fn an_entry_is_shown_with_headers_body_and_tags() {
    run(async {
        for store in BOTH_STORES {
            let upstream = service().await;
            let fixture = Fixture::new(store, &upstream).await;
            let key = fixture.client.post(QUERY, &json!({"query": "q"})).await.key();
            let local = key.strip_prefix("sidecache:").expect("our namespace").to_owned();
            let shown = fixture.operator.get(&format!("/entries/{local}")).await.json();
            assert_eq!(
                shown,
                fixture.operator.get(&format!("/entries/{}", key.replace(':', "%3A"))).await.json()
            );
            assert_eq!(
                (&shown["key"], &shown["kind"], &shown["status"]),
                (&json!(key), &json!("query"), &json!(200))
            );
            assert_eq!(shown["headers"]["x-two"], json!(["1", "2"]));
            assert_eq!(shown["headers"]["content-type"], "application/json");
            assert_eq!(shown["body"], query_answer().to_string());
            assert_eq!(shown["tags"], json!(["c", "store"]), "its header's and its source's");
            let stored_at = shown["stored_at"].as_str().expect("a time");
            assert!(stored_at.starts_with("20") && stored_at.ends_with('Z'), "{stored_at}");
            assert!(shown["age"].is_u64() && shown["ttl"].is_i64() && shown["body_base64"].is_null());
            // Showing an entry does not count as a hit.
            assert_eq!(list(&fixture, "").await.0[0]["hits"], 0);
            let key = fixture.client.get(&format!("{DOCUMENT}1")).await.key();
            let shown = fixture.operator.get(&format!("/entries/{key}")).await.json();
            assert_eq!((&shown["body_base64"], &shown["body"]), (&json!("//4A"), &Value::Null));
            let missing = key.replace(&key[key.len() - 3..], "000");
            assert_eq!(fixture.operator.get(&format!("/entries/{missing}")).await.status, 404);
        }
    });
}

#[test]
fn removing_an_entry_keeps_running_answers_from_being_stored() {
    run(async {
        for store in BOTH_STORES {
            let gate = Gate::new();
            let held = gate.clone();
            let upstream =
                Upstream::start(move |request| match request.json()["messages"][0]["content"].as_str() {
                    Some("Slow?") => Script::json(&chat_answer()).after(&held),
                    _ => Script::json(&chat_answer()),
                })
                .await;
            let fixture = Fixture::new(store, &upstream).await;
            let key = fixture.client.post(CHAT, &chat()).await.key();
            let target = format!("/entries/{key}");
            let removed = fixture.call("DELETE", &target, &Value::Null).await;
            assert_eq!((removed.status, removed.json()), (200, json!({"removed": true})));
            assert_eq!(fixture.call("DELETE", &target, &Value::Null).await.status, 404);
            assert_eq!(fixture.operator.get(&target).await.status, 404);
            assert_eq!(fixture.asked(CHAT, &chat()).await, "MISS");
            // While an answer is still coming.
            let mut slow = chat();
            slow["messages"][0]["content"] = json!("Slow?");
            let calls = upstream.calls();
            let asking = tokio::spawn({
                let (client, slow) = (fixture.client.clone(), slow.clone());
                async move { client.post(CHAT, &slow).await }
            });
            eventually("the slow question", async || (upstream.calls() > calls).then_some(())).await;
            let whole = crate::operations::cli::explain_key(CHAT, &slow);
            assert_eq!(fixture.call("DELETE", &format!("/entries/{whole}"), &Value::Null).await.status, 404);
            gate.open();
            let answer = asking.await.expect("an answer");
            assert_eq!((answer.cache(), answer.key()), ("MISS", whole));
            assert_eq!(fixture.asked(CHAT, &slow).await, "MISS", "{store:?}: what began before is not kept");
            assert_eq!(fixture.asked(CHAT, &slow).await, "HIT");
        }
    });
}

#[test]
fn every_call_is_a_503_while_the_store_is_unavailable() {
    run(async {
        let upstream = service().await;
        let mut fixture = Fixture::new(StoreKind::Redis, &upstream).await;
        let key = fixture.client.post(CHAT, &chat()).await.key();
        fixture.redis.as_mut().expect("a Redis").kill();
        fixture.sidecache.log.lifecycle("Cache store lost").await;
        let target = format!("/entries/{key}");
        for (method, target, body) in [
            ("GET", "/entries", Value::Null),
            ("GET", &target, Value::Null),
            ("DELETE", &target, Value::Null),
            ("PUT", &target, json!({"body": 1})),
            ("POST", "/purge", json!({"all": true})),
            ("POST", "/purge", json!({"all": true, "dry_run": true})),
        ] {
            let answer = fixture.call(method, target, &body).await;
            assert_eq!(answer.status, 503, "{method} {target}: {}", answer.text());
        }
        assert_eq!(fixture.operator.get("/stats").await.json()["connected"], false);
    });
}
