//! While nothing is certified, or in shadow, nothing is served, and each would-be hit is labelled.

use serde_json::json;

use super::*;
use crate::support::{eventually, run};

const SHADOW: &str = "mode = \"shadow\"\nmax_false_hits = \"20%\"\ntimeout = \"5s\"";

#[test]
fn shadow_serves_nothing_and_labels() {
    run(async {
        let world = World::start(SHADOW, "").await;
        let asked = world.certify("refund").await;
        for wording in 100..110 {
            assert_eq!(world.ask(&question("refund", wording)).await.cache(), "MISS");
        }
        world.until("labels", json!(asked + 9)).await;
        let route = world.route().await;
        assert_eq!((&route["false_labels"], &route["served"]), (&json!(0), &json!(0)));
        // A question that was labelled is an exact hit, and no label any more.
        assert_eq!(world.ask(&question("refund", 100)).await.cache(), "HIT");
        assert_eq!(world.upstream.calls(), asked + 10);
        assert_eq!(world.route().await["labels"], json!(asked + 9));
    });
}

#[test]
fn other_answers_are_false_labels_and_certify_nothing() {
    run(async {
        let world = World::serving("").await;
        world.service.changes();
        for wording in 0..60 {
            assert_eq!(world.ask(&question("refund", wording)).await.cache(), "MISS");
            world.stored(wording + 1).await;
        }
        world.until("labels", json!(59)).await;
        let route = world.route().await;
        assert_eq!((&route["false_labels"], &route["threshold"]), (&json!(59), &json!(null)));
        assert_eq!(world.upstream.calls(), 60);
    });
}

#[test]
fn without_the_setting_nothing_of_it_exists() {
    run(async {
        let world = World::start("mode = \"off\"", "").await;
        for wording in 0..3 {
            assert_eq!(world.ask(&question("refund", wording)).await.cache(), "MISS");
        }
        assert_eq!(world.ask(&question("refund", 0)).await.cache(), "HIT");
        assert_eq!(world.embeddings.calls(), 0);
        assert_eq!(world.sidecache.health().await.get("semantic"), None);
    });
}

#[test]
fn switching_back_to_shadow_ends_hits_and_keeps_the_labels() {
    run(async {
        let world = World::serving("").await;
        let asked = world.certify("refund").await;
        assert_eq!(world.ask(&question("refund", 100)).await.cache(), "SIMILAR");
        world.sidecache.reconfigure(&world::config(&world.embeddings, SHADOW, ""));
        let mode = async || world.sidecache.health().await["semantic"]["mode"] == "shadow";
        eventually("shadow", async || mode().await.then_some(())).await;
        for wording in 101..105 {
            assert_eq!(world.ask(&question("refund", wording)).await.cache(), "MISS");
        }
        assert!(world.route().await["labels"].as_u64() >= Some(asked as u64 - 1));
        world.sidecache.reconfigure(&world::config(&world.embeddings, SERVING, ""));
        eventually("serving", async || (!mode().await).then_some(())).await;
        assert_eq!(world.ask(&question("refund", 110)).await.cache(), "SIMILAR");
    });
}
