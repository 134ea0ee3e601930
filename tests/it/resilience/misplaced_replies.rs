//! Replies of Redis that belong to another request: a lookup must not use another key's value.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{ask, knowing};
use crate::support::{
    Action, Client, FaultProxy, RedisServer, Setup, eventually, measured, number_from, run_within,
};

/// The number of entries.
const ENTRIES: usize = 200;

/// Callers at the same time.
const ASKERS: u64 = 16;

/// One in this many lookups has its reply sent twice.
const STRAY: u32 = 300;

/// Asks at random, sometimes leaves before the answer, and checks every answer. Returns the hits.
async fn lookups(client: Client, count: u64) -> u64 {
    let mut hits = 0;
    for _ in 0..count {
        let number = fastrand::usize(..ENTRIES);
        let patience = match fastrand::u8(..10) {
            0 => Duration::from_micros(fastrand::u64(..3000)),
            _ => Duration::from_secs(30),
        };
        if let Ok(received) = timeout(patience, ask(&client, number)).await {
            hits += u64::from(received.cache() == "HIT");
        }
    }
    hits
}

/// A million by hand: `SIDECACHE_LOOKUPS=1000000 cargo test --release --test it misplaced_replies`.
#[test]
fn no_wrong_body_is_served_under_cancellations_and_misplaced_replies() {
    let count = number_from("SIDECACHE_LOOKUPS", 6_000);
    run_within(Duration::from_secs(60 + count / 100), async move {
        let (redis, upstream) = (RedisServer::start(), knowing().await);
        let proxy = Arc::new(FaultProxy::in_front_of(redis.port()).await);
        let sidecache = Setup::to(&upstream.url())
            .arguments(&["--redis", &proxy.url(), "--log-level", "WARNING"])
            .env("CACHE_NEAR_MEMORY", "0")
            .after("exec >/dev/null")
            .start_silent()
            .await;
        let client = sidecache.client();
        for number in 0..ENTRIES {
            eventually("stored", async || (ask(&client, number).await.cache() == "HIT").then_some(())).await;
        }
        proxy.apply(|name| match name {
            "GET" | "MGET" if fastrand::u32(..STRAY) == 0 => Action::Duplicate,
            _ => Action::Pass,
        });
        let askers: Vec<_> =
            (0..ASKERS).map(|_| tokio::spawn(lookups(sidecache.client(), count / ASKERS))).collect();
        let mut hits = 0;
        for asker in askers {
            hits += asker.await.expect("no wrong body");
        }
        assert!(hits > count / 50, "{hits} hits of {count}");
        let health = sidecache.health().await;
        assert!(health["cache"]["errors"].as_u64().expect("a count") > 0, "no reply slipped: {health}");
        measured(format_args!("{count} lookups, {hits} hits that came whole, no wrong body"));
        proxy.pass();
        eventually("hits are back", async || (ask(&client, 0).await.cache() == "HIT").then_some(())).await;
    });
}
