//! Under `scope = "shared"`, nobody can plant an answer for others.

use serde_json::{Value, json};

use super::*;
use crate::support::{Answer, eventually, run, samples::CHAT};

const SHARED: &str = "scope = \"shared\"";

async fn ask_as(world: &World, who: &str, text: &str) -> Answer {
    let bearer = format!("Bearer {who}");
    world.sidecache.client().post_with(CHAT, &[("authorization", &bearer)], &chat(text)).await
}

/// Certifies with a question that two callers have asked.
async fn certify(world: &World) {
    assert_eq!(ask_as(world, "alice", &question("refund", 0)).await.cache(), "MISS");
    // Bob's credentials count once the service has accepted them.
    assert_eq!(ask_as(world, "bob", &question("voucher", 0)).await.cache(), "MISS");
    world.stored(2).await;
    assert_eq!(ask_as(world, "bob", &question("refund", 0)).await.cache(), "HIT");
    for wording in 1..100 {
        assert_eq!(ask_as(world, "alice", &question("refund", wording)).await.cache(), "MISS");
        world.stored(wording + 2).await;
        if world.route().await["threshold"].is_number() {
            return;
        }
    }
    panic!("nothing is certified: {}", world.route().await);
}

#[test]
fn a_planted_answer_is_served_to_nobody_until_a_second_caller_asked_for_it() {
    run(async {
        let world = World::serving(SHARED).await;
        certify(&world).await;
        let entries = async || world.sidecache.health().await["semantic"]["entries"].as_u64();
        // It is about a topic of its own: nothing else is near.
        let planted = question("warranty", 0);
        let before = entries().await;
        assert_eq!(ask_as(&world, "mallory", &planted).await.cache(), "MISS");
        eventually("it is stored", async || (entries().await > before).then_some(())).await;
        // The planter may ask as often as they like.
        for _ in 0..3 {
            assert_eq!(ask_as(&world, "mallory", &planted).await.cache(), "HIT");
        }
        for wording in 1..4 {
            let text = question("warranty", wording);
            assert_eq!(ask_as(&world, "alice", &text).await.cache(), "MISS", "{wording}");
        }
        // A second caller asks the very question.
        assert_eq!(ask_as(&world, "bob", &planted).await.cache(), "HIT");
        let similar = ask_as(&world, "bob", &question("warranty", 200)).await;
        assert_eq!(similar.cache(), "SIMILAR", "{similar:?}");
    });
}

#[test]
fn whose_credentials_are_not_accepted_gets_nothing() {
    run(async {
        let world = World::with(SERVING, SHARED, |script, request| match request.header("authorization") {
            Some("Bearer thief") => crate::support::Script::json_with(401, &[], &json!({"error": "who?"})),
            _ => script,
        })
        .await;
        certify(&world).await;
        let stolen = ask_as(&world, "thief", &question("refund", 100)).await;
        assert_eq!((stolen.status, stolen.cache()), (401, "MISS"));
        assert_eq!(stolen.json(), json!({"error": "who?"}));
    });
}

#[test]
fn credentials_are_partitions_of_their_own_by_default() {
    run(async {
        let world = World::serving("").await;
        world.certify_with(async |wording| ask_as(&world, "alice", &question("refund", wording)).await).await;
        assert_eq!(ask_as(&world, "alice", &question("refund", 100)).await.cache(), "SIMILAR");
        assert_eq!(ask_as(&world, "bob", &question("refund", 101)).await.cache(), "MISS");
        let none: Value = world.ask(&question("refund", 102)).await.cache().into();
        assert_eq!(none, "MISS");
    });
}
