//! What Redis gets to do: little while nothing happens, and one round trip for a miss.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::support::{
    RedisServer, Script, Setup, Upstream, eventually, measured, run,
    samples::{CHAT, chat, chat_answer},
};

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

/// How often the server has carried out `command`, in scripts too.
fn calls(redis: &RedisServer, command: &str) -> u64 {
    let stats = redis.cli(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn a_miss_asks_redis_once_before_the_service_is_asked_and_a_hit_reads_one_value() {
    run(async {
        let redis = Arc::new(RedisServer::start());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let upstream = Upstream::start({
            let (redis, seen) = (Arc::clone(&redis), Arc::clone(&seen));
            move |_| {
                seen.lock().expect("no panic").push(["eval", "set"].map(|command| calls(&redis, command)));
                Script::json(&chat_answer())
            }
        })
        .await;
        let config = "[store]\nnear_memory = 0\n";
        let sidecache =
            Setup::to(&upstream.url()).config(config).arguments(&["--redis", &redis.url()]).start().await;
        let client = sidecache.client();
        let before = ["eval", "set"].map(|command| calls(&redis, command));
        client.post(CHAT, &chat()).await;
        let [eval, set] = seen.lock().expect("no panic")[0];
        assert_eq!([eval, set], [before[0] + 1, before[1] + 1], "one script, for both");
        sidecache.log.stored(1).await;
        eventually("the lease is released", async || {
            redis.cli(&["KEYS", "*:lease:*"]).is_empty().then_some(())
        })
        .await;
        let scripts = calls(&redis, "eval");
        assert_eq!(client.post(CHAT, &chat()).await.cache(), "HIT");
        assert_eq!(calls(&redis, "eval"), scripts, "a key that lately had a value is read alone");
    });
}
