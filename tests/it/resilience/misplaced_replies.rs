//! Replies that slip: whoever asked for one key and gets another's value must not take it for the answer.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{ask, knowing};
use crate::support::{
    Act, Client, FaultProxy, RedisServer, Setup, eventually, measured, number_from, run_within,
};

/// Entries that are asked for.
const ENTRIES: usize = 200;

/// Who ask at the same time.
const ASKERS: u64 = 16;

/// Of so many lookups one has its reply sent twice.
const STRAY: u32 = 300;

/// Asks at random, leaves now and then before the answer has come, and checks every body that did.
async fn lookups(client: Client, count: u64) -> u64 {
    let mut hits = 0;
    for _ in 0..count {
        let number = fastrand::usize(..ENTRIES);
        let patience = match fastrand::u8(..10) {
            0 => Duration::from_micros(fastrand::u64(..3000)),
            _ => Duration::from_secs(30),
        };
        if let Ok(told) = timeout(patience, ask(&client, number)).await {
            hits += u64::from(told.cache() == "HIT");
        }
    }
    hits
}

/// A million by hand: `SIDECACHE_LOOKUPS=1000000 cargo test --release --test it stray`.
#[test]
fn no_wrong_body_under_cancels_and_stray_replies() {
    let count = number_from("SIDECACHE_LOOKUPS", 6_000);
    run_within(Duration::from_secs(60 + count / 100), async move {
        let (redis, upstream) = (RedisServer::start(), knowing().await);
        let proxy = Arc::new(FaultProxy::before(redis.port()).await);
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
        proxy.follow(|name| match name {
            "GET" | "MGET" if fastrand::u32(..STRAY) == 0 => Act::Twice,
            _ => Act::Pass,
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
