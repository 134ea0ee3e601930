//! What one replica learns, all serve and none forgets.

use std::time::{Duration, Instant};

use super::{
    site::{Site, ask, becomes_similar, certify, is_similar, labels, report, status, stored},
    world::question,
};
use crate::support::{Cluster, RedisServer, Setup, Sidecache, eventually, measured, run, run_within};

/// In time on a busy machine.
const ROOMY: &str = "[store]\ntimeout = \"5s\"";

fn replica(site: &Site, redis: &str) -> Setup {
    site.setup("").config(ROOMY).arguments(&["--redis", redis])
}

async fn two(site: &Site, redis: &str) -> [Sidecache; 2] {
    [replica(site, redis).start().await, replica(site, redis).start().await]
}

/// Waits until a replica knows its embedder: nothing is shared before that.
async fn warm(sidecache: &Sidecache) {
    eventually("it knows its embedder", async || status(sidecache).await["embedder"].as_str().map(drop))
        .await;
}

/// The streams in which replicas tell each other what they learn.
fn streams(redis: &RedisServer) -> Vec<String> {
    let keys = redis.cli(&["KEYS", "sidecache:_:{semantic}:*"]);
    let mut keys: Vec<_> = keys.lines().filter(|key| !key.is_empty()).map(str::to_owned).collect();
    keys.sort();
    keys
}

#[test]
fn what_one_replica_learns_the_others_serve() {
    run(async {
        let (site, redis) = (Site::start().await, RedisServer::start());
        let [one, other] = two(&site, &redis.url()).await;
        let known = certify(&one, "refund").await;
        labels(&other, known, 0).await;
        stored(&other, known + 1).await;
        let calls = site.upstream.calls();
        let similar = is_similar(&other, "refund", 100).await;
        assert!(site.upstream.calls() <= calls + 1, "at most its audit");

        // What one replica is told is wrong, no replica serves.
        report(&other, &similar.key()).await;
        let has_heard = async || (status(&one).await["routes"][0]["false_labels"] == 1).then_some(());
        eventually("the other one hears of it", has_heard).await;
        let again = ask(&one, &question("refund", 100)).await;
        assert_ne!(again.header("sidecache-original"), similar.header("sidecache-original"), "{again:?}");
    });
}

#[test]
fn labels_count_once_whoever_reads_them_however_often() {
    run(async {
        let (site, redis) = (Site::start().await, RedisServer::start());
        let [one, other] = two(&site, &redis.url()).await;
        let known = certify(&one, "refund").await;
        labels(&other, known, 0).await;
        // All connections are lost: what came last is read, and sent, again.
        redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        let (_, similar) = becomes_similar(&one, "refund", 100).await;
        report(&one, &similar.key()).await;
        let wrong = async |sidecache: &Sidecache| {
            let heard = async || (status(sidecache).await["routes"][0]["false_labels"] == 1).then_some(());
            eventually("a report is heard", heard).await;
        };
        wrong(&other).await;
        // Somebody who reads it all later counts the same.
        let later = replica(&site, &redis.url()).start().await;
        wrong(&later).await;
        let expected = status(&one).await["routes"][0]["labels"].as_u64().expect("a number") as usize;
        for replica in [&one, &other, &later] {
            labels(replica, expected, 1).await;
        }
    });
}

#[test]
fn a_restart_serves_by_meaning_as_before() {
    run(async {
        let (site, redis) = (Site::start().await, RedisServer::start());
        let mut one = replica(&site, &redis.url()).start().await;
        let known = certify(&one, "refund").await;
        assert!(one.stop().await.success());
        let again = replica(&site, &redis.url()).start().await;
        // Nobody has asked anything yet.
        labels(&again, known, 0).await;
        stored(&again, known + 1).await;
        becomes_similar(&again, "refund", 100).await;
    });
}

#[test]
fn what_is_learned_while_redis_is_away_is_told_later() {
    run(async {
        let (site, redis) = (Site::start().await, RedisServer::start());
        let [one, other] = two(&site, &redis.url()).await;
        let known = certify(&one, "refund").await;
        labels(&other, known, 0).await;
        let similar = is_similar(&one, "refund", 100).await;
        redis.pause();
        report(&one, &similar.key()).await;
        let own = async || (status(&one).await["routes"][0]["false_labels"] == 1).then_some(());
        eventually("it counts here at once", own).await;
        redis.resume();
        let heard = async || (status(&other).await["routes"][0]["false_labels"] == 1).then_some(());
        eventually("it counts there, too", heard).await;
    });
}

#[test]
fn a_server_that_is_flushed_takes_nothing_from_the_replicas() {
    run(async {
        let (site, redis) = (Site::start().await, RedisServer::start());
        let [one, other] = two(&site, &redis.url()).await;
        let known = certify(&one, "refund").await;
        labels(&other, known, 0).await;
        redis.cli(&["FLUSHALL"]);
        // All entries are gone, and the certificate is not.
        eventually("a miss", async || {
            (ask(&one, &question("refund", 0)).await.cache() == "MISS").then_some(())
        })
        .await;
        for replica in [&one, &other] {
            let route = status(replica).await["routes"][0].clone();
            // What was asked meanwhile may be one more.
            let is_kept = route["labels"].as_u64() >= Some(known as u64) && route["threshold"].is_number();
            assert!(is_kept, "{route}");
        }
        let mut wording = 100;
        eventually("hits by meaning again, on both", async || {
            wording += 2;
            let answers = [
                ask(&one, &question("refund", wording)).await,
                ask(&other, &question("refund", wording + 1)).await,
            ];
            answers.iter().all(|answer| answer.cache() == "SIMILAR").then_some(())
        })
        .await;
    });
}

#[test]
fn in_a_cluster_all_streams_are_in_one_slot_and_survive_its_master() {
    run_within(Duration::from_secs(600), async {
        let (site, cluster) = (Site::start().await, Cluster::start().await);
        let [one, other] = two(&site, &cluster.url()).await;
        let known = certify(&one, "refund").await;
        labels(&other, known, 0).await;
        let master = cluster.master_of("sidecache:_:{semantic}:x");
        cluster.take_over(master);
        let moved = async || (cluster.master_of("sidecache:_:{semantic}:x") != master).then_some(());
        eventually("another master", moved).await;
        cluster.whole().await;
        let (_, similar) = becomes_similar(&one, "refund", 100).await;
        report(&one, &similar.key()).await;
        let heard = async || (status(&other).await["routes"][0]["false_labels"] == 1).then_some(());
        eventually("the other one hears of it", heard).await;
    });
}

#[test]
fn with_a_key_nothing_of_it_is_readable_in_redis() {
    run(async {
        let site = Site::start().await;
        for key in [None, Some("1".repeat(64))] {
            let redis = RedisServer::start();
            let setup = || {
                let setup = replica(&site, &redis.url());
                key.iter().fold(setup, |setup, key| setup.env("CACHE_ENCRYPTION_KEY", key))
            };
            let one = setup().start().await;
            let known = certify(&one, "refund").await;
            let other = setup().start().await;
            labels(&other, known, 0).await;
            stored(&other, known + 1).await;
            let streams = streams(&redis);
            // The embedders, the questions, and the labels of the one route.
            assert_eq!(streams.len(), 3, "{streams:?}");
            let text: String =
                streams.iter().map(|stream| redis.cli(&["XRANGE", stream, "-", "+"])).collect();
            // The name of the route, and the keys of entries.
            let is_readable = ["chat", "query:"].map(|word| text.contains(word));
            assert_eq!(is_readable, [key.is_none(); 2], "{streams:?}");
            for word in ["otter", "mango", "tell me", "this is all about"] {
                assert!(!text.contains(word), "{word}");
            }
            for stream in &streams {
                let ttl: i64 = redis.cli(&["TTL", stream]).parse().expect("seconds");
                assert!(ttl > 30 * 24 * 3600, "{stream} ends after {ttl} s");
            }
        }
    });
}

#[test]
fn an_idle_replica_asks_little_more_with_hits_by_meaning() {
    run(async {
        let (site, redis) = (Site::start().await, RedisServer::start());
        let sidecache = replica(&site, &redis.url()).start().await;
        warm(&sidecache).await;
        let commands = || {
            let stats = redis.cli(&["INFO", "stats"]);
            let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
            line.and_then(|count| count.trim().parse::<u64>().ok()).expect("a count")
        };
        // What belongs to the start is over once some look finds as little as the rule allows.
        let within = Duration::from_secs(6);
        let mut least = u64::MAX;
        for _ in 0..4 {
            let (before, began) = (commands(), Instant::now());
            tokio::time::sleep_until((began + within).into()).await;
            least = least.min(commands() - before - 1);
        }
        measured(format!("{least} commands of an idle replica with hits by meaning in {within:?}"));
        assert!(least <= 2 * within.as_secs(), "{least} commands in {within:?}");
    });
}
