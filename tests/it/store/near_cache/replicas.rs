//! Two sidecaches on one Redis, each with a near cache.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{BOUND, calls};
use crate::support::{
    RedisServer, Script, Setup, Sidecache, Upstream, eventually, eventually_within, run,
    samples::{CHAT, chat, chat_answer},
};

/// What a busy machine may add to a promised time: each poll is a request.
const SLACK: Duration = Duration::from_secs(30);

async fn replica(redis: &RedisServer, upstream: &Upstream) -> Sidecache {
    Setup::to(&upstream.url())
        .arguments(&["--redis", &redis.url()])
        .config("[store]\ntimeout = \"5s\"")
        .admin()
        .start()
        .await
}

/// Waits until a replica has the answer in its near cache; returns the number of hits.
async fn is_near(redis: &RedisServer, replica: &Sidecache) -> u64 {
    let (client, mut hits) = (replica.client(), 0);
    eventually("near", async || {
        let values = || calls(redis, "get") - calls(redis, "xinfo|stream") / 2;
        let before = values();
        for _ in 0..10 {
            assert_eq!(client.post(CHAT, &chat()).await.cache(), "HIT");
            hits += 1;
        }
        // The log's name is read with two streams, and each connection is checked once a second.
        (values() < before + 10).then_some(())
    })
    .await;
    hits
}

#[test]
fn an_operators_change_on_one_replica_reaches_the_other_near_cache() {
    run(async {
        let redis = RedisServer::start();
        let upstream = Upstream::start(|_| Script::json(&chat_answer())).await;
        let (one, two) = (replica(&redis, &upstream).await, replica(&redis, &upstream).await);
        let key = one.client().post(CHAT, &chat()).await.key();
        eventually("stored", async || {
            (two.client().post(CHAT, &chat()).await.cache() == "HIT").then_some(())
        })
        .await;
        let hits = 1 + is_near(&redis, &two).await;
        let listed = two.operator().get("/entries").await.json();
        assert_eq!(listed["entries"][0]["hits"], hits, "{listed}");
        let health = two.health().await;
        assert_eq!((&health["cache"]["store"], &health["cache"]["hits"]), (&json!("redis"), &json!(hits)));
        let json = [("content-type", "application/json")];

        // An operator puts an entry through the other replica.
        let by_hand = json!({"body": {"answer": "by hand"}}).to_string();
        let target = format!("/entries/{key}");
        assert_eq!(one.operator().request("PUT", &target, &json, by_hand).await.status, 200);
        let changed = Instant::now();
        eventually_within(BOUND + SLACK, "the new one", async || {
            let asked = Instant::now();
            let is_new = two.client().post(CHAT, &chat()).await.text().contains("by hand");
            assert!(is_new || asked < changed + BOUND, "{:?}", asked - changed);
            is_new.then_some(())
        })
        .await;
        assert_eq!(
            two.operator().get(&target).await.json()["body"],
            json!({"answer": "by hand"}).to_string()
        );

        // Removed, and purged.
        for (method, target, body) in [
            ("DELETE", target.as_str(), String::new()),
            ("POST", "/purge", json!({"kind": "query"}).to_string()),
        ] {
            is_near(&redis, &two).await;
            let calls = upstream.calls();
            assert_eq!(one.operator().request(method, target, &json, body).await.status, 200);
            let changed = Instant::now();
            eventually_within(BOUND + SLACK, "asked again", async || {
                let asked = Instant::now();
                let is_new = two.client().post(CHAT, &chat()).await.cache() != "HIT";
                assert!(is_new || asked < changed + BOUND, "{method}: {:?}", asked - changed);
                is_new.then_some(())
            })
            .await;
            assert_eq!(upstream.calls(), calls + 1);
            eventually("stored", async || {
                (two.client().post(CHAT, &chat()).await.cache() == "HIT").then_some(())
            })
            .await;
        }
    });
}
