//! The promise: the recipes for logs and Redis that operators of such services use work as they are written.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{
    Gate, RedisServer, Script, Setup, Sidecache, Upstream, eventually, run,
    samples::{CHAT, chat, chat_answer},
};

/// What a shell prints for a recipe in this folder.
fn printed(folder: &std::path::Path, recipe: &str) -> String {
    let output = Command::new("sh").args(["-c", recipe]).current_dir(folder).output().expect("a shell");
    assert!(output.status.success(), "{recipe}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The JSON documents that jq prints for a recipe.
fn documents(folder: &std::path::Path, recipe: &str) -> Vec<Value> {
    let text = printed(folder, recipe);
    serde_json::Deserializer::from_str(&text).into_iter().map(|document| document.expect("JSON")).collect()
}

/// A request that takes longer than a second.
async fn ask_slowly(sidecache: &Sidecache, gate: &Gate) {
    let began = Instant::now();
    let is_slow = async || (began.elapsed() > Duration::from_millis(1010)).then_some(());
    let open = async {
        eventually("more than a second has passed", is_slow).await;
        gate.open();
    };
    let client = sidecache.client();
    tokio::join!(client.get("/slow"), open);
}

#[test]
fn the_recipes_for_logs_and_redis_work() {
    run(async {
        let gate = Gate::new();
        let upstream = Upstream::start({
            let gate = gate.clone();
            move |request| match request.target.as_str() {
                "/slow" => Script::json(&chat_answer()).after(&gate),
                "/broken" => Script::raw().close(),
                _ => Script::json(&chat_answer()),
            }
        })
        .await;
        let mut redis = RedisServer::start();
        let setup = Setup::to(&upstream.url())
            .arguments(&["--redis", &redis.url(), "--log-file", "logs/app.log"])
            .env("SLOW_REQUEST_THRESHOLD_MS", "0");
        let sidecache = setup.start().await;
        let folder = sidecache.dir().to_owned();
        for expected in ["MISS", "HIT"] {
            assert_eq!(sidecache.client().post(CHAT, &chat()).await.cache(), expected);
            sidecache.log.stored(1).await;
        }
        assert_eq!(sidecache.client().get("/broken").await.status, 502);
        ask_slowly(&sidecache, &gate).await;
        let redis_cli = |command: &str| printed(&folder, &format!("redis-cli -p {} {command}", redis.port()));
        assert_eq!(redis_cli("ping"), "PONG\n");
        assert!(redis_cli("KEYS '*'").contains("sidecache:query:"));
        assert!(redis_cli("INFO memory").contains("used_memory_human:"));
        assert!(redis_cli("INFO stats").contains("keyspace_hits:"));
        let keys = redis_cli("--scan --pattern 'sidecache:query:*'");
        let key = keys.lines().next().expect("a key");
        let ttl: i64 = redis_cli(&format!("TTL {key}")).trim().parse().expect("a number");
        assert!((1..=1800).contains(&ttl), "{ttl}");
        assert!(!redis_cli(&format!("GET {key}")).is_empty());
        redis.kill();
        sidecache.log.lifecycle("Cache store lost").await;
        let written = async || {
            let text = std::fs::read_to_string(folder.join("logs/app.log")).ok()?;
            text.contains("Cache store lost").then_some(())
        };
        eventually("the file has it", written).await;

        let performance =
            documents(&folder, "cat logs/app.log | jq 'select(.event_type == \"performance\")'");
        assert!(
            performance
                .iter()
                .any(|line| line["operation"] == "cache_lookup" || line["operation"] == "upstream")
        );
        let slow = documents(&folder, "cat logs/app.log | jq 'select(.duration_ms > 1000)'");
        assert!(slow.iter().any(|line| line["event_type"] == "http_response" && line["path"] == "/slow"));
        assert!(slow.iter().all(|line| line["duration_ms"].as_f64().is_some_and(|ms| ms > 1000.0)));
        let errors = documents(&folder, "cat logs/app.log | jq 'select(.level == \"ERROR\")'");
        assert!(errors.iter().any(|line| line["error_type"] == "UpstreamProtocolException"));
        assert!(errors.iter().all(|line| line["level"] == "ERROR"));
        let average = documents(
            &folder,
            "cat logs/app.log | jq -s 'map(select(.event_type == \"llm_call\") | .duration_ms) | add/length'",
        );
        assert!(average[0].as_f64().is_some_and(|average| average >= 0.0), "{average:?}");
        let of_store = documents(&folder, "cat logs/app.log | jq 'select(.message | contains(\"Cache\"))'");
        assert!(
            of_store.iter().any(|line| line["message"]
                .as_str()
                .is_some_and(|text| text.starts_with("Cache store lost")))
        );

        let health = format!("curl -s http://{}/health | jq '.cache'", sidecache.address());
        let cache = &documents(&folder, &health)[0];
        for member in ["connected", "total_keys", "hits", "misses", "memory_used", "hit_rate"] {
            assert!(cache.get(member).is_some(), "{member}: {cache}");
        }
        assert_eq!(
            (&cache["hits"], &cache["misses"], &cache["hit_rate"]),
            (&1.into(), &1.into(), &"50.00%".into())
        );
    });
}
