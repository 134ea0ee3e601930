//! `POST /purge`.

use std::time::Instant;

use serde_json::json;

use super::{BOTH_STORES, Fixture};
use crate::support::{
    Gate, NEAR_STALENESS, RedisServer, Script, Setup, Upstream, eventually, run,
    samples::{CHAT, QUERY, chat, chat_answer},
};

const DOCUMENT: &str = "/api/v1/documents/1";

/// An upstream whose answers cite a document named by the question.
async fn citing() -> Upstream {
    Upstream::start(|request| match request.target.as_str() {
        QUERY => {
            let cited = request.json()["query"].clone();
            Script::json(&json!({"answer": "a", "sources": [{"document_id": cited}]}))
        }
        CHAT => Script::json(&chat_answer()),
        _ => Script::json(&json!({"id": 1})),
    })
    .await
}

/// Fills a store with a chat, a document, and queries that cite `a*`, `ab` and `b`; their keys.
async fn fill(fixture: &Fixture) -> Vec<String> {
    let mut keys =
        vec![fixture.client.post(CHAT, &chat()).await.key(), fixture.client.get(DOCUMENT).await.key()];
    for cited in ["a*", "ab", "b"] {
        keys.push(fixture.client.post(QUERY, &json!({"query": cited})).await.key());
    }
    keys
}

/// Which of the five are still found.
async fn found(fixture: &Fixture, keys: &[String]) -> Vec<bool> {
    let mut found = Vec::new();
    for key in keys {
        found.push(fixture.operator.get(&format!("/entries/{key}")).await.status == 200);
    }
    found
}

#[test]
fn each_selector_purges_exactly_its_entries() {
    run(async {
        for store in BOTH_STORES {
            let upstream = citing().await;
            let fixture = Fixture::new(store, &upstream).await;
            let keys = fill(&fixture).await;
            let local = |key: &str| key.strip_prefix("sidecache:").expect("our namespace").to_owned();
            let beginning = format!("{}*", &local(&keys[0])[..12]);
            for (body, left) in [
                (json!({"key": keys[0]}), [false, true, true, true, true]),
                (json!({"key": local(&keys[2])}), [true, true, false, true, true]),
                (json!({"kind": "query"}), [false, true, false, false, false]),
                (json!({"kind": "embedding"}), [true; 5]),
                (json!({"tag": "a*"}), [true, true, false, true, true]),
                (json!({"tag": "a"}), [true; 5]),
                (json!({"pattern": beginning}), [false, true, true, true, true]),
                (json!({"pattern": "sidecache:[d-e]*"}), [true, false, true, true, true]),
                (json!({"pattern": "query:*"}), [false, true, false, false, false]),
                (json!({"pattern": local(&keys[1])}), [true, false, true, true, true]),
                (json!({"all": true}), [false; 5]),
            ] {
                let count = left.iter().filter(|left| !**left).count() as u64;
                assert_eq!(fixture.counted(body.clone()).await, count, "{store:?} {body}");
                assert_eq!(
                    found(&fixture, &keys).await,
                    [true; 5],
                    "{store:?} {body}: counting removes nothing"
                );
                assert_eq!(fixture.purged(body.clone()).await, count, "{store:?} {body}");
                assert_eq!(found(&fixture, &keys).await, left, "{store:?} {body}");
                assert_eq!(fixture.purged(body.clone()).await, 0, "{store:?} {body}: all gone");
                assert_eq!(fill(&fixture).await, keys, "and back");
            }
        }
    });
}

#[test]
fn an_invalid_purge_purges_nothing() {
    run(async {
        for store in BOTH_STORES {
            let upstream = citing().await;
            let fixture = Fixture::new(store, &upstream).await;
            let keys = fill(&fixture).await;
            for (body, received) in [
                (json!({}), "give one of"),
                (json!({"all": false}), "all"),
                (json!({"all": true, "kind": "query"}), "only one"),
                (json!({"kind": "queries"}), "queries"),
                (json!({"kind": null}), "kind"),
                (json!({"tag": ["b"]}), "tag"),
                (json!({"key": "*"}), "no key"),
                (json!({"pattern": "other:query:*"}), "describes no key"),
                (json!({"pattern": "sidecache:_:*"}), "describes no key"),
                (json!({"all": true, "dry_run": "no"}), "dry_run"),
                (json!({"all": true, "force": true}), "force"),
                (json!(["all"]), "no JSON object"),
            ] {
                let answer = fixture.call("POST", "/purge", &body).await;
                assert_eq!(answer.status, 400, "{body}");
                assert!(
                    answer.json()["error"].as_str().is_some_and(|error| error.contains(received)),
                    "{}",
                    answer.text()
                );
            }
            let text = fixture
                .operator
                .request("POST", "/purge", &[("content-type", "application/json")], "all")
                .await;
            assert_eq!(text.status, 400);
            assert_eq!(found(&fixture, &keys).await, [true; 5]);
        }
    });
}

#[test]
fn a_purge_keeps_running_answers_from_being_stored() {
    run(async {
        for store in BOTH_STORES {
            for body in [
                json!({"all": true}),
                json!({"kind": "query"}),
                json!({"tag": "cited"}),
                json!({"pattern": "q*"}),
            ] {
                let gate = Gate::new();
                let answer = json!({"answer": "a", "sources": [{"document_id": "cited"}]});
                let upstream = Upstream::always(Script::json(&answer).after(&gate)).await;
                let fixture = Fixture::new(store, &upstream).await;
                let client = fixture.client.clone();
                let asking = tokio::spawn(async move { client.post(QUERY, &json!({"query": "q"})).await });
                eventually("the question", async || (upstream.calls() == 1).then_some(())).await;
                assert_eq!(fixture.purged(body.clone()).await, 0);
                gate.open();
                assert_eq!(asking.await.expect("an answer").status, 200);
                for cache in ["MISS", "HIT"] {
                    assert_eq!(fixture.asked(QUERY, &json!({"query": "q"})).await, cache, "{store:?} {body}");
                }
            }
        }
    });
}

#[test]
fn a_purge_on_one_replica_reaches_the_other() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), citing().await);
        let start = async || {
            let setup = Setup::to(&upstream.url()).config("[store]\ntimeout = \"10s\"");
            setup.arguments(&["--redis", &redis.url()]).admin().start().await
        };
        let (one, other) = (start().await, start().await);
        let json = [("content-type", "application/json")];
        for body in [
            json!({"all": true}),
            json!({"kind": "query"}),
            json!({"tag": "b"}),
            json!({"pattern": "query:*"}),
        ] {
            let question = json!({"query": "b"});
            one.client().post(QUERY, &question).await;
            // Until it is written, the other one joins it.
            let hits = async || (other.client().post(QUERY, &question).await.cache() == "HIT").then_some(());
            eventually("stored", hits).await;
            let answer = one.operator().request("POST", "/purge", &json, body.to_string()).await;
            let purged = Instant::now();
            assert_eq!(answer.json(), json!({"purged": 1}), "{body}");
            eventually("the other knows", async || {
                let asked = purged.elapsed();
                let is_known = other.client().post(QUERY, &question).await.cache() == "MISS";
                assert!(is_known || asked < NEAR_STALENESS, "{body}: {asked:?}");
                is_known.then_some(())
            })
            .await;
        }
    });
}

#[test]
fn large_stores_are_swept_to_the_end() {
    const MANY: u64 = 3000;
    run(async {
        for store in BOTH_STORES {
            let upstream = citing().await;
            let fixture = Fixture::new(store, &upstream).await;
            let stay = fixture.client.get(DOCUMENT).await.key();
            for number in 0..MANY {
                let key = format!("query:{}", blake3::hash(&number.to_le_bytes()));
                let entry =
                    json!({"body": number, "tags": if number % 3 == 0 { vec!["third"] } else { vec![] }});
                assert_eq!(fixture.call("PUT", &format!("/entries/{key}"), &entry).await.status, 200);
            }
            assert_eq!(fixture.counted(json!({"tag": "third"})).await, MANY / 3, "{store:?}");
            // The answer may come before the sweep has ended.
            assert!(fixture.purged(json!({"tag": "third"})).await <= MANY / 3);
            eventually("a third less", async || {
                (fixture.counted(json!({"kind": "query"})).await == MANY / 3 * 2).then_some(())
            })
            .await;
            assert!(fixture.purged(json!({"kind": "query"})).await <= MANY / 3 * 2);
            eventually("nothing but the document", async || {
                (fixture.counted(json!({"all": true})).await == 1).then_some(())
            })
            .await;
            assert_eq!(fixture.operator.get(&format!("/entries/{stay}")).await.status, 200);
            assert_eq!(
                fixture.purged(json!({"kind": "document"})).await,
                1,
                "{store:?}: a sweep that is short is waited for"
            );
        }
    });
}
