//! What Redis gets to do: little while nothing happens, and one round trip for a miss.

use std::time::{Duration, Instant};

use crate::support::{RedisServer, Script, Setup, Upstream, measured, run, samples::chat_answer};

/// How many commands the server has carried out, those of this question included.
fn commands(redis: &RedisServer) -> u64 {
    let stats = redis.cli(&["INFO", "stats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    line.and_then(|count| count.trim().parse().ok()).expect("a count")
}

#[test]
fn an_idle_replica_asks_little() {
    run(async {
        let redis = RedisServer::start();
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Setup::to(&upstream.url()).arguments(&["--redis", &redis.url()]).start().await;
        // What belongs to the start is over once the second look finds as little as the rule allows.
        let within = Duration::from_secs(6);
        let mut least = u64::MAX;
        for _ in 0..3 {
            let (before, began) = (commands(&redis), Instant::now());
            tokio::time::sleep_until((began + within).into()).await;
            least = least.min(commands(&redis) - before - 1);
        }
        measured(format!("{least} commands of an idle replica in {within:?}"));
        assert!(least <= 2 * within.as_secs(), "{least} commands in {within:?}");
        let health = sidecache.health().await;
        assert_eq!(health["cache"]["connected"], true, "{health}");
    });
}
