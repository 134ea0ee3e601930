//! The parts that tests put together: sidecache, upstreams, clients, Redis.

pub(crate) mod blackhole;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod example_service;
pub(crate) mod fault_proxy;
pub(crate) mod faulty_redis;
pub(crate) mod golden;
pub(crate) mod hosts;
pub(crate) mod logs;
pub(crate) mod measurements;
pub(crate) mod random;
pub(crate) mod raw_client;
pub(crate) mod redis;
pub(crate) mod samples;
pub(crate) mod script;
pub(crate) mod sentinel;
pub(crate) mod sidecache;
pub(crate) mod terminal;
pub(crate) mod tiny_bert;
pub(crate) mod upstream;
pub(crate) mod wall_clock;

#[path = "../../../examples/rag/mod.rs"]
mod rag;

use std::{
    fmt::Display,
    future::Future,
    time::{Duration, Instant},
};

pub(crate) use self::{
    blackhole::Blackhole,
    client::{Answer, Client, Streaming},
    cluster::Cluster,
    example_service::ExampleService,
    fault_proxy::{Action, FaultProxy},
    faulty_redis::FaultyRedis,
    hosts::{Hosts, MOVING},
    measurements::{Times, measured},
    raw_client::{RawClient, post},
    redis::RedisServer,
    script::{Gate, Script},
    sentinel::Sentinels,
    sidecache::{Setup, Sidecache},
    terminal::Terminal,
    upstream::{Received, Upstream},
    wall_clock::WallClock,
};

/// How long any step may take before its test fails: far more than a busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How long a whole test may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs a test on a runtime of its own; fails it if it takes too long.
pub(crate) fn run(test: impl Future<Output = ()>) {
    run_within(LIMIT, test);
}

/// Like [`run`], with another limit.
pub(crate) fn run_within(limit: Duration, test: impl Future<Output = ()>) {
    run_on(2, limit, test);
}

/// Like [`run_within`], on so many threads.
pub(crate) fn run_on(threads: usize, limit: Duration, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(limit, test).await.expect("the test ends in time") });
    runtime.shutdown_background();
}

/// So long a replica may serve what another one has changed: the default of `store.near_staleness`. Mostly it is some
/// milliseconds, but a busy machine may give the replica no turn to read of the change.
pub(crate) const NEAR_STALENESS: Duration = Duration::from_secs(2);

/// Waits for something that must happen; fails the test if it does not.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

/// Polls until `look` returns something; fails the test if that takes too long.
pub(crate) async fn eventually<T>(what: impl Display, look: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, look).await
}

/// With another timeout.
pub(crate) async fn eventually_within<T>(
    limit: Duration,
    what: impl Display,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The number in an environment variable, for tests that can run longer by hand; `otherwise` if it is not
/// set.
pub(crate) fn number_from(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}
