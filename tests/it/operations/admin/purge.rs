//! `POST /purge`.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{BOTH, Stage};
use crate::support::{
    Gate, RedisServer, Script, Setup, Upstream, eventually, run,
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
async fn fill(stage: &Stage) -> Vec<String> {
    let mut keys = vec![stage.client.post(CHAT, &chat()).await.key(), stage.client.get(DOCUMENT).await.key()];
    for cited in ["a*", "ab", "b"] {
        keys.push(stage.client.post(QUERY, &json!({"query": cited})).await.key());
    }
    keys
}

/// Which of the five are still found.
async fn found(stage: &Stage, keys: &[String]) -> Vec<bool> {
    let mut found = Vec::new();
    for key in keys {
        found.push(stage.operator.get(&format!("/entries/{key}")).await.status == 200);
    }
    found
}

#[test]
fn each_selector_removes_what_it_says() {
    run(async {
        for kept in BOTH {
            let upstream = citing().await;
            let stage = Stage::new(kept, &upstream).await;
            let keys = fill(&stage).await;
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
                assert_eq!(stage.counted(body.clone()).await, count, "{kept:?} {body}");
                assert_eq!(
                    found(&stage, &keys).await,
                    [true; 5],
                    "{kept:?} {body}: counting removes nothing"
                );
                assert_eq!(stage.purged(body.clone()).await, count, "{kept:?} {body}");
                assert_eq!(found(&stage, &keys).await, left, "{kept:?} {body}");
                assert_eq!(stage.purged(body.clone()).await, 0, "{kept:?} {body}: all gone");
                assert_eq!(fill(&stage).await, keys, "and back");
            }
        }
    });
}

#[test]
fn whatever_else_is_asked_purges_nothing() {
    run(async {
        for kept in BOTH {
            let upstream = citing().await;
            let stage = Stage::new(kept, &upstream).await;
            let keys = fill(&stage).await;
            for (body, told) in [
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
                let answer = stage.call("POST", "/purge", &body).await;
                assert_eq!(answer.status, 400, "{body}");
                assert!(
                    answer.json()["error"].as_str().is_some_and(|error| error.contains(told)),
                    "{}",
                    answer.text()
                );
            }
            let text = stage
                .operator
                .request("POST", "/purge", &[("content-type", "application/json")], "all")
                .await;
            assert_eq!(text.status, 400);
            assert_eq!(found(&stage, &keys).await, [true; 5]);
        }
    });
}

#[test]
fn a_purge_fences_answers_that_are_still_coming() {
    run(async {
        for kept in BOTH {
            for body in [
                json!({"all": true}),
                json!({"kind": "query"}),
                json!({"tag": "cited"}),
                json!({"pattern": "q*"}),
            ] {
                let gate = Gate::new();
                let answer = json!({"answer": "a", "sources": [{"document_id": "cited"}]});
                let upstream = Upstream::always(Script::json(&answer).after(&gate)).await;
                let stage = Stage::new(kept, &upstream).await;
                let client = stage.client.clone();
                let asking = tokio::spawn(async move { client.post(QUERY, &json!({"query": "q"})).await });
                eventually("the question", async || (upstream.calls() == 1).then_some(())).await;
                assert_eq!(stage.purged(body.clone()).await, 0);
                gate.open();
                assert_eq!(asking.await.expect("an answer").status, 200);
                for cache in ["MISS", "HIT"] {
                    assert_eq!(stage.asked(QUERY, &json!({"query": "q"})).await, cache, "{kept:?} {body}");
                }
            }
        }
    });
}

#[test]
fn replicas_purge_for_each_other() {
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
            assert_eq!(other.client().post(QUERY, &question).await.cache(), "HIT");
            let answer = one.operator().request("POST", "/purge", &json, body.to_string()).await;
            let purged = Instant::now();
            assert_eq!(answer.json(), json!({"purged": 1}), "{body}");
            eventually("the other knows", async || {
                let asked = purged.elapsed();
                let is_known = other.client().post(QUERY, &question).await.cache() == "MISS";
                assert!(is_known || asked < Duration::from_millis(100), "{body}: {asked:?}");
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
        for kept in BOTH {
            let upstream = citing().await;
            let stage = Stage::new(kept, &upstream).await;
            let stay = stage.client.get(DOCUMENT).await.key();
            for number in 0..MANY {
                let key = format!("query:{}", blake3::hash(&number.to_le_bytes()));
                let entry =
                    json!({"body": number, "tags": if number % 3 == 0 { vec!["third"] } else { vec![] }});
                assert_eq!(stage.call("PUT", &format!("/entries/{key}"), &entry).await.status, 200);
            }
            assert_eq!(stage.counted(json!({"tag": "third"})).await, MANY / 3, "{kept:?}");
            // The answer may come before the sweep has ended.
            assert!(stage.purged(json!({"tag": "third"})).await <= MANY / 3);
            eventually("a third less", async || {
                (stage.counted(json!({"kind": "query"})).await == MANY / 3 * 2).then_some(())
            })
            .await;
            assert!(stage.purged(json!({"kind": "query"})).await <= MANY / 3 * 2);
            eventually("nothing but the document", async || {
                (stage.counted(json!({"all": true})).await == 1).then_some(())
            })
            .await;
            assert_eq!(stage.operator.get(&format!("/entries/{stay}")).await.status, 200);
            assert_eq!(
                stage.purged(json!({"kind": "document"})).await,
                1,
                "{kept:?}: a sweep that is short is waited for"
            );
        }
    });
}
