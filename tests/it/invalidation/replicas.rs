//! Two replicas on one Redis, and outages of that Redis.

use std::time::{Duration, Instant};

use super::{DOCUMENT, cache, change_of_a_cited_document, citing};
use crate::support::{
    ExampleService, NEAR_STALENESS, RedisServer, Setup, Sidecache, eventually, measured, run,
};

async fn replica(redis: &RedisServer, upstream: &str) -> Sidecache {
    let settings = "[store]\ntimeout = \"5s\"";
    Setup::to(upstream).arguments(&["--redis", &redis.url()]).config(settings).start().await
}

/// Whether an answer came from the other replica, through Redis or before it was written there.
fn is_shared(cache: &str) -> bool {
    ["HIT", "COALESCED"].contains(&cache)
}

#[test]
fn changing_a_document_invalidates_the_answers_that_cite_it_on_the_other_replica() {
    run(async {
        let (redis, rag) = (RedisServer::start(), ExampleService::start().await);
        let (one, two) = (replica(&redis, rag.url()).await, replica(&redis, rag.url()).await);
        change_of_a_cited_document(&one.client(), &two.client()).await;
    });
}

#[test]
fn a_change_through_one_replica_reaches_the_other() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), citing().await);
        let (one, two) = (replica(&redis, &upstream.url()).await, replica(&redis, &upstream.url()).await);
        let (one, two) = (one.client(), two.client());
        let mut slowest = Duration::ZERO;
        for _ in 0..10 {
            for client in [&one, &two] {
                cache(client, "d 1").await;
                cache(client, "other").await;
                assert_eq!(cache(client, "d 1").await, "HIT");
            }
            one.request("PUT", DOCUMENT, &[], "{}").await;
            let changed = Instant::now();
            let known = eventually("known", async || {
                let asked = Instant::now();
                let is_known = cache(&two, "d 1").await == "MISS";
                assert!(is_known || asked < changed + NEAR_STALENESS, "{:?}", asked - changed);
                is_known.then_some(asked)
            })
            .await;
            slowest = slowest.max(known - changed);
            let fresh = cache(&one, "d 1").await;
            assert!(is_shared(&fresh), "the other one's fresh answer: {fresh}");
            assert_eq!(cache(&two, "other").await, "HIT");
        }
        measured(format_args!("a change is known after {slowest:.1?} at most"));
    });
}

#[test]
fn a_replica_that_starts_later_knows_earlier_invalidations() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), citing().await);
        let one = replica(&redis, &upstream.url()).await;
        cache(&one.client(), "d 1").await;
        cache(&one.client(), "other").await;
        one.log.stored(2).await;
        one.client().request("PUT", DOCUMENT, &[], "{}").await;
        let two = replica(&redis, &upstream.url()).await;
        assert_eq!(cache(&two.client(), "other").await, "HIT");
        assert_eq!(cache(&two.client(), "d 1").await, "MISS");
        for key in redis.cli(&["KEYS", "*"]).lines() {
            let left: i64 = redis.cli(&["PTTL", key]).parse().expect("milliseconds");
            assert!(left != -1, "{key} has no TTL");
        }
    });
}

#[test]
fn changes_during_a_redis_outage_invalidate_once_it_is_back() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), citing().await);
        let settings = "[store]\ntimeout = \"100ms\"";
        let start =
            || Setup::to(&upstream.url()).arguments(&["--redis", &redis.url()]).config(settings).start();
        let (one, two) = (start().await, start().await);
        let client = one.client();
        let hit = async |text: &str| (cache(&client, text).await == "HIT").then_some(());
        eventually("stored", async || hit("d 1").await).await;
        eventually("stored", async || hit("other").await).await;
        redis.pause();
        one.log.lifecycle("Cache store lost").await;
        client.request("PUT", DOCUMENT, &[], "{}").await;
        redis.resume();
        // The first hit for the document must be a new answer.
        eventually("the store is back", async || hit("other").await).await;
        let calls = upstream.calls();
        eventually("stored again", async || hit("d 1").await).await;
        assert!(upstream.calls() > calls, "the old answer is gone");
        let known = async || (cache(&two.client(), "other").await == "HIT").then_some(());
        eventually("the other replica has the store back", known).await;
        let fresh = async || is_shared(&cache(&two.client(), "d 1").await).then_some(());
        eventually("it has the fresh one", fresh).await;
    });
}

/// If Redis evicts or loses the invalidation log, all answers are invalid: none comes back.
#[test]
fn a_lost_invalidation_log_invalidates_everything() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), citing().await);
        let one = replica(&redis, &upstream.url()).await;
        let client = one.client();
        for lost in ["sidecache:_:{retired}:stream", "sidecache:_:{retired}:order"] {
            cache(&client, "d 1").await;
            assert_eq!(cache(&client, "d 1").await, "HIT");
            client.request("PUT", DOCUMENT, &[], "{}").await;
            assert_eq!(redis.cli(&["DEL", lost]), "1");
            let two = replica(&redis, &upstream.url()).await;
            assert_eq!(cache(&two.client(), "d 1").await, "MISS", "{lost}");
            let same = async || (cache(&client, "d 1").await == "HIT").then_some(());
            eventually("both agree again", same).await;
            assert_eq!(cache(&two.client(), "d 1").await, "HIT");
        }
    });
}

#[test]
fn lookups_miss_while_the_invalidation_log_cannot_be_read() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), citing().await);
        let one = replica(&redis, &upstream.url()).await;
        let client = one.client();
        cache(&client, "d 1").await;
        assert_eq!(cache(&client, "d 1").await, "HIT");
        redis.cli(&["ACL", "SETUSER", "default", "-xread", "-xinfo"]);
        eventually("it is not relied on", async || (cache(&client, "d 1").await == "MISS").then_some(()))
            .await;
        redis.cli(&["ACL", "SETUSER", "default", "+@all"]);
        eventually("it is again", async || (cache(&client, "d 1").await == "HIT").then_some(())).await;
    });
}
