//! The end of the invalidation log is lost, as it is at a new master which had not heard of it yet. The old state of the
//! log comes back by `RESTORE`, with all that belongs to it.

use super::versions::{Versions, ask, hits_again, start};
use crate::support::{RedisServer, Sidecache, Upstream, eventually, run};

const LOG: &str = "sidecache:_:{retired}:stream";
const EPOCH: &str = "sidecache:_:{retired}:order";

/// Two stored questions; the log has lost the invalidation of question 0, which `knowing` has sent, and `other`, which
/// starts then, has not heard of it. Each of them has yet to connect again.
struct Lost {
    redis: RedisServer,
    versions: Versions,
    upstream: Upstream,
    knowing: Sidecache,
    other: Sidecache,
    /// The present version of question 0.
    version: u64,
    epoch: String,
    /// How many events the log had.
    length: u64,
}

impl Lost {
    /// `meanwhile` changes the log before `knowing` sees it.
    async fn start(meanwhile: impl FnOnce(&RedisServer, &str)) -> Self {
        let redis = RedisServer::start();
        let (versions, upstream) = Versions::start().await;
        let knowing = start(&upstream, &redis.url(), "0").await;
        for number in [0, 1] {
            hits_again(&knowing, number, 1).await;
        }
        // The dump is binary: a second key keeps it in Redis.
        assert_eq!(redis.cli(&["COPY", LOG, "kept"]), "1");
        let version = versions.change(0, &knowing).await;
        let (last, length) = (last(&redis), length(&redis));
        knowing.signal("STOP");
        assert_eq!(redis.cli(&["COPY", "kept", LOG, "REPLACE"]), "1");
        let epoch = redis.cli(&["GET", EPOCH]);
        meanwhile(&redis, &last);
        redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        let other = start(&upstream, &redis.url(), "0").await;
        knowing.signal("CONT");
        Self { redis, versions, upstream, knowing, other, version, epoch, length }
    }
}

/// The position of the last event.
fn last(redis: &RedisServer) -> String {
    let event = redis.cli(&["XREVRANGE", LOG, "+", "-", "COUNT", "1"]);
    event.lines().next().expect("an event").to_owned()
}

/// How many events there are.
fn length(redis: &RedisServer) -> u64 {
    redis.cli(&["XLEN", LOG]).parse().expect("a number")
}

#[test]
fn who_knows_the_lost_end_restores_it_and_other_entries_are_hits() {
    run(async {
        let lost = Lost::start(|_, _| {}).await;
        let knowing = lost.knowing.client();
        // Nobody asks meanwhile: a newer answer would replace the invalidated one.
        let is_whole = async || (length(&lost.redis) >= lost.length).then_some(());
        eventually("the log has it again", is_whole).await;
        assert!(ask(&lost.other.client(), 0).await.0 >= lost.version, "the other one has heard of it");
        assert!(ask(&knowing, 0).await.0 >= lost.version, "who invalidated it serves it");
        assert_eq!(lost.redis.cli(&["GET", EPOCH]), lost.epoch, "it is the same log");
        // One that starts has read the log before it is asked; the connections of the others may be new.
        let third = start(&lost.upstream, &lost.redis.url(), "0").await;
        assert!(ask(&third.client(), 1).await.1, "what nobody invalidated is a hit");
        for sidecache in [&lost.knowing, &lost.other, &third] {
            hits_again(sidecache, 0, lost.version).await;
        }
        let version = lost.versions.change(0, &lost.other).await;
        hits_again(&lost.knowing, 0, version - 1).await;
        eventually("the log is of use", async || (ask(&knowing, 0).await.0 == version).then_some(())).await;
    });
}

#[test]
fn an_invalidation_that_looks_older_than_the_lost_end_begins_a_new_log() {
    run(async {
        // Another replica had one appended, by a clock that is behind: just before the last one that was lost.
        let lost = Lost::start(|redis, last| {
            let (major, _) = last.split_once('-').expect("a position");
            let position = format!("{}-9", major.parse::<u64>().expect("milliseconds") - 1);
            let epoch = redis.cli(&["GET", EPOCH]);
            let added = redis.cli(&["XADD", LOG, &position, "o", &epoch, "m", "0123456789abcdef", "t", "0"]);
            assert_eq!(added, position);
        })
        .await;
        eventually("another log", async || {
            let (version, _) = ask(&lost.knowing.client(), 0).await;
            assert!(version >= lost.version, "who invalidated it serves it");
            (lost.redis.cli(&["GET", EPOCH]) != lost.epoch).then_some(())
        })
        .await;
        for sidecache in [&lost.knowing, &lost.other] {
            let present = async || (ask(&sidecache.client(), 0).await.0 == lost.version).then_some(());
            eventually("nothing older is served", present).await;
            hits_again(sidecache, 1, 1).await;
        }
    });
}

#[test]
fn a_log_that_was_trimmed_is_not_lost() {
    run(async {
        let redis = RedisServer::start();
        let (versions, upstream) = Versions::start().await;
        let sidecache = start(&upstream, &redis.url(), "0").await;
        hits_again(&sidecache, 1, 1).await;
        for _ in 0..3 {
            versions.change(0, &sidecache).await;
        }
        let epoch = redis.cli(&["GET", EPOCH]);
        redis.cli(&["XTRIM", LOG, "MAXLEN", "1"]);
        redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        eventually("what is older than the log counts as invalidated", async || {
            (!ask(&sidecache.client(), 1).await.1).then_some(())
        })
        .await;
        hits_again(&sidecache, 0, versions.now(0)).await;
        assert_eq!(redis.cli(&["GET", EPOCH]), epoch);
    });
}
