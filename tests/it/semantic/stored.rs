//! A hit by meaning is a hit on an entry: its TTL, its removal and its tags count.

use serde_json::{Value, json};

use super::{
    site::{self, Site},
    *,
};
use crate::support::{WallClock, eventually, run};

async fn purge(world: &World, what: Value) {
    let answer = world.sidecache.operator().post("/purge", &what).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Certifies about refunds, and stores one question about deliveries. Returns its key.
async fn with_one(world: &World) -> String {
    world.certify("refund").await;
    let entries = async || world.sidecache.health().await["semantic"]["entries"].as_u64();
    let before = entries().await;
    let key = world.ask(&question("delivery", 0)).await.key();
    eventually("it is stored", async || (entries().await > before).then_some(())).await;
    let similar = world.ask(&question("delivery", 100)).await;
    assert_eq!((similar.cache(), similar.header("sidecache-original")), ("SIMILAR", &*key));
    key
}

#[test]
fn what_was_removed_or_invalidated_is_served_no_more() {
    run(async {
        let tagged = "tags = [\"/model\"]";
        for how in ["key", "kind", "tag", "all", "entry"] {
            let world = World::serving(if how == "tag" { tagged } else { "" }).await;
            let key = with_one(&world).await;
            match how {
                "key" => purge(&world, json!({"key": key})).await,
                "kind" => purge(&world, json!({"kind": "query"})).await,
                "tag" => purge(&world, json!({"tag": "m-2"})).await,
                "all" => purge(&world, json!({"all": true})).await,
                _ => {
                    let target = format!("/entries/{key}");
                    let json = [("content-type", "application/json")];
                    let removed = world.sidecache.operator().request("DELETE", &target, &json, "").await;
                    assert_eq!(removed.status, 200, "{removed:?}");
                }
            }
            let calls = world.upstream.calls();
            let answer = world.ask(&question("delivery", 200)).await;
            assert_eq!(answer.cache(), "MISS", "{how}");
            assert!(world.upstream.calls() > calls, "{how}");
        }
    });
}

#[test]
fn what_is_not_fresh_any_more_is_not_served() {
    run(async {
        let (site, clock) = (Site::start().await, WallClock::new());
        let stale = "ttl = \"1h\"\nstale_while_revalidate = \"1h\"\nstale_if_error = \"1h\"";
        let sidecache = clock.rule(site.setup("").config(stale)).start().await;
        site::certify(&sidecache, "refund").await;
        site::is_similar(&sidecache, "refund", 100).await;
        // All of them are over their TTL; none is served by meaning then, stale or not.
        clock.set(3601);
        assert_eq!(site::ask(&sidecache, &question("refund", 200)).await.cache(), "MISS");
    });
}

#[test]
fn an_answer_that_was_replaced_by_hand_is_no_neighbour() {
    run(async {
        let world = World::serving("").await;
        let key = with_one(&world).await;
        let other = json!({"body": json!({"id": "x", "object": "chat.completion", "created": 1, "model": "m-2",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "for this very question"},
            "finish_reason": "stop"}]}).to_string(), "headers": {"content-type": "application/json"}});
        let target = format!("/entries/{key}");
        let json = [("content-type", "application/json")];
        let put = world.sidecache.operator().request("PUT", &target, &json, other.to_string()).await;
        assert_eq!(put.status, 200, "{put:?}");
        assert_eq!(world.ask(&question("delivery", 200)).await.cache(), "MISS");
    });
}
