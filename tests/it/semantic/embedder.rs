//! Whatever becomes of the embedder: no miss waits for it, and no answer is wrong.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::support::{Gate, eventually, run, samples::CHAT, soon};

#[test]
fn a_miss_waits_for_no_vector() {
    run(async {
        // Nothing is certified: the service has the request while the embedder still holds its answer.
        let world = World::start("mode = \"serve\"\ntimeout = \"5s\"", "").await;
        world.ask(&question("refund", 0)).await;
        world.stored(1).await;
        let gate = Gate::new();
        world.embeddings.becomes(Mood::Slow(gate.clone()));
        let embedded = world.embeddings.calls();
        let began = Instant::now();
        assert_eq!(world.ask(&question("refund", 1)).await.cache(), "MISS");
        assert!(began.elapsed() < Duration::from_secs(5), "it has waited for a vector");
        // The embedder has the text, and its answer is still held.
        let asked = async || (world.embeddings.calls() > embedded).then_some(());
        eventually("a call of the embedder", asked).await;
        assert_eq!(world.upstream.calls(), 2);
        assert_eq!(world.route().await["labels"], json!(0));
        gate.open();
    });
}

#[test]
fn an_embedder_that_hangs_holds_up_one_request_and_no_more() {
    run(async {
        let world = World::serving("").await;
        world.certify("refund").await;
        eventually("a hit", async || {
            (world.ask(&question("refund", 99)).await.cache() != "MISS").then_some(())
        })
        .await;
        let gate = Gate::new();
        world.embeddings.becomes(Mood::Slow(gate.clone()));
        for wording in 100..102 {
            assert_eq!(world.ask(&question("refund", wording)).await.cache(), "MISS");
        }
        // The first may have waited for all of the five seconds. The others do not.
        let began = Instant::now();
        for wording in 110..120 {
            assert_eq!(world.ask(&question("refund", wording)).await.cache(), "MISS");
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        world.sidecache.log.lifecycle("embedder lost").await;
        gate.open();
        world.embeddings.becomes(Mood::Well);
        let mut wording = 200;
        eventually("hits again", async || {
            wording += 1;
            (world.ask(&question("refund", wording)).await.cache() == "SIMILAR").then_some(())
        })
        .await;
        world.sidecache.log.lifecycle("embedder back").await;
    });
}

#[test]
fn whatever_is_no_vector_is_a_miss() {
    run(async {
        let world = World::serving("").await;
        world.certify("refund").await;
        let mut wording = 100;
        let odd = |value| Mood::Odd(value);
        for mood in [
            Mood::Dead,
            Mood::Fails(500),
            Mood::Fails(401),
            Mood::Fails(429),
            odd(json!([])),
            odd(json!(null)),
            odd(json!("NaN")),
            odd(json!([null, 1.0])),
            odd(json!(["NaN", 1.0])),
            odd(json!([1e308, 1e308])),
            odd(json!([0.0, 0.0, 0.0])),
            odd(json!([1.0, 0.0, 0.0])),
        ] {
            world.embeddings.becomes(mood.clone());
            for _ in 0..2 {
                wording += 1;
                let answer = soon("an answer", world.ask(&question("invoice", wording))).await;
                let text = answer.json()["choices"][0]["message"]["content"].clone();
                assert_eq!(
                    (answer.cache(), &text),
                    ("MISS", &json!("this is all about the invoice")),
                    "{mood:?}"
                );
            }
            world.embeddings.becomes(Mood::Well);
            eventually(&format!("hits after {mood:?}"), async || {
                wording += 1;
                let answer = world.ask(&question("refund", wording)).await;
                assert_eq!(answer.json()["choices"][0]["message"]["content"], "this is all about the refund");
                (answer.cache() == "SIMILAR").then_some(())
            })
            .await;
        }
    });
}

#[test]
fn a_constant_vector_certifies_nothing() {
    run(async {
        let world = World::serving("").await;
        let mut constant = vec![0.0; 700];
        constant[3] = 1.0;
        world.embeddings.becomes(Mood::Odd(json!(constant)));
        // Everything is near everything, and each answer is another one.
        for round in 0..5 {
            for topic in world::TOPICS {
                let answer = world.ask(&question(topic, round)).await;
                let expected = format!("this is all about the {topic}");
                let text = &answer.json()["choices"][0]["message"]["content"];
                assert_eq!((answer.cache(), text), ("MISS", &json!(expected)));
            }
        }
        assert_eq!(world.route().await["threshold"], json!(null));
    });
}

#[test]
fn no_text_and_no_credential_gets_into_the_log() {
    run(async {
        let world = World::serving("").await;
        let secret = [("authorization", "Bearer sesame")];
        let client = world.sidecache.client();
        let ask = async |wording| client.post_with(CHAT, &secret, &chat(&question("refund", wording))).await;
        world.certify_with(ask).await;
        let asked = chat(&question("refund", 100));
        let answer = world.sidecache.client().post_with(CHAT, &secret, &asked).await;
        assert_eq!(answer.cache(), "SIMILAR");
        world.embeddings.becomes(Mood::Dead);
        world.sidecache.client().post_with(CHAT, &secret, &chat(&question("refund", 101))).await;
        world.sidecache.log.lifecycle("embedder lost").await;
        let log = world.sidecache.log.text();
        for private in ["refund", "walrus", "sesame", "all about"] {
            assert!(!log.contains(private), "{private} is in the log");
        }
        let health = world.sidecache.health().await.to_string();
        assert!(!health.contains("refund") && !health.contains("sesame"), "{health}");
    });
}
