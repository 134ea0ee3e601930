//! Everything at once, for any time: hits, misses, streams, vectors, documents that change, callers that
//! leave, while Redis and the upstream fail at random. A model knows every byte that may come back.
//!
//! `SIDECACHE_SOAK=1800 cargo test --release --test it soak -- --nocapture` for half an hour; 20 s by default.

mod callers;
mod model;
mod outages;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use self::{callers::Caller, model::Model, outages::Outages};
use crate::support::{
    FaultProxy, RedisServer, Setup, Sidecache, eventually, measured, number_from, run_within,
};

/// Callers at the same time.
const CALLERS: usize = 12;

/// Counts of what came back.
#[derive(Debug, Default)]
struct Tally {
    /// Whole answers, from the store or the upstream.
    right: AtomicU64,
    hits: AtomicU64,
    /// Errors and visible cuts, while the upstream failed.
    failed: AtomicU64,
    /// Callers that left before the end.
    left: AtomicU64,
    writes: AtomicU64,
}

/// What a replica holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    files: usize,
    memory: u64,
}

fn held(replica: &Sidecache) -> Held {
    Held { files: replica.open_files(), memory: replica.memory() }
}

async fn replica(model: &Model, redis: &FaultProxy) -> Sidecache {
    Setup::to(&model.url())
        .arguments(&["--redis", &redis.url(), "--log-level", "ERROR"])
        .env("CACHE_NEAR_MEMORY", "0")
        .env("CACHE_WORKERS", "8")
        .after("exec >/dev/null")
        .start_silent()
        .await
}

#[test]
fn a_soak_has_no_wrong_byte_no_hung_request_and_no_growth() {
    let length = Duration::from_secs(number_from("SIDECACHE_SOAK", 20));
    run_within(length + Duration::from_secs(120), async move {
        let (model, redis) = (Arc::new(Model::start().await), RedisServer::start());
        let proxy = FaultProxy::in_front_of(redis.port()).await;
        let replicas = [replica(&model, &proxy).await, replica(&model, &proxy).await];
        let (tally, until) = (Arc::new(Tally::default()), Instant::now() + length);
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let clients = [replicas[0].client(), replicas[1].client()];
                let caller = Caller { model: Arc::clone(&model), clients, tally: Arc::clone(&tally) };
                tokio::spawn(async move { caller.run(until).await })
            })
            .collect();
        let mut outages = Outages { model: Arc::clone(&model), redis, proxy, turns: 0 };
        outages.run(until - length * 2 / 3).await;
        let early = replicas.each_ref().map(held);
        outages.run(until).await;
        for caller in callers {
            caller.await.expect("no wrong byte, and no hung request");
        }
        measured(format_args!("{} s, {tally:?}", length.as_secs()));
        assert_recovered(&model, &replicas, &tally).await;
        for (replica, early) in replicas.iter().zip(early) {
            let late = eventually("connections are closed", async || {
                Some(held(replica)).filter(|late| late.files <= early.files + 8)
            })
            .await;
            measured(format_args!("early {early:?}, late {late:?}"));
            // Allocators keep some memory of a peak; a leak per request would be far more.
            assert!(late.memory < early.memory * 3 / 2 + 32 * 1024, "{early:?}, {late:?}");
        }
        for count in [&tally.right, &tally.hits, &tally.failed, &tally.left, &tally.writes] {
            assert!(count.load(Ordering::Relaxed) > 0, "nothing of a kind was tried: {tally:?}");
        }
    });
}

/// After the outages, each question becomes a hit on both replicas, with the right answer.
async fn assert_recovered(model: &Arc<Model>, replicas: &[Sidecache; 2], tally: &Arc<Tally>) {
    for replica in replicas {
        eventually("healthy", async || (replica.health().await["status"] == "healthy").then_some(())).await;
    }
    let clients = [replicas[0].client(), replicas[1].client()];
    let caller = Caller { model: Arc::clone(model), clients, tally: Arc::clone(tally) };
    for number in 0..model::QUESTIONS {
        for replica in 0..2 {
            eventually("hits are back", async || caller.whole(number, replica).await.then_some(())).await;
            eventually("of streams too", async || caller.stream(number, replica).await.then_some(())).await;
        }
    }
}
