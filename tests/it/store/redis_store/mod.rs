//! The Redis store against real servers, and against peers that misbehave in ways a real one cannot be made
//! to.

mod batches;
mod fake_peers;
mod outages;
mod replies;
mod sentinels;
mod wrong_clusters;

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use sidecache::internals::{
    config::RedisAccess,
    store::{RedisClient, StoreError, StoreEvent},
};

use crate::support::RedisServer;

/// The default timeout, for tests of the timeout.
pub(super) const TIGHT: Duration = Duration::from_millis(50);

/// A timeout that even a busy machine keeps, for all other tests.
pub(super) const ROOMY: Duration = Duration::from_secs(5);

/// For what must happen at some time; `resilience::redis` shows how soon.
pub(super) const PATIENCE: Duration = crate::support::PATIENCE;

pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// The events that the store reported.
#[derive(Clone, Default)]
pub(super) struct Events(Arc<Mutex<Vec<StoreEvent>>>);

impl Events {
    pub(super) fn all(&self) -> Vec<StoreEvent> {
        self.0.lock().expect("not poisoned").clone()
    }

    /// The changes in what Redis can be used for.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let is_change = |event: &&StoreEvent| !matches!(event, StoreEvent::Lacks { .. });
        self.all().iter().filter(is_change).map(name).collect()
    }
}

pub(super) fn name(event: &StoreEvent) -> &'static str {
    match event {
        StoreEvent::Lost { .. } => "lost",
        StoreEvent::Back => "back",
        StoreEvent::WritesRefused { .. } => "refused",
        StoreEvent::WritesBack => "writes back",
        StoreEvent::Lacks { .. } => "lacks",
    }
}

pub(super) fn open(url: &str, timeout: Duration) -> (Arc<RedisClient>, Events) {
    let events = Events::default();
    let received = events.clone();
    let store = RedisClient::open(url, &RedisAccess::default(), "ns", timeout, move |event| {
        received.0.lock().expect("not poisoned").push(event)
    });
    (store.expect("a good URL"), events)
}

pub(super) async fn open_ready(url: &str, timeout: Duration) -> (Arc<RedisClient>, Events) {
    let (store, events) = open(url, timeout);
    assert!(store.ready(PATIENCE).await, "{:?}", store.last_error());
    (store, events)
}

pub(super) async fn put(store: &RedisClient, key: &str, value: &str) -> Result<(), StoreError> {
    store.put(key, Bytes::copy_from_slice(value.as_bytes()), MINUTE).await.map(|_| ())
}

/// How often the server carried out a command.
pub(super) fn calls(server: &RedisServer, command: &str) -> u64 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()).map_or(0, |count| count.parse().expect("a count"))
}

/// Polls until it is true; fails the test after `within`.
pub(super) async fn eventually(what: &str, within: Duration, mut is: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is().await {
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The result of a call, if it has one without waiting for anything.
pub(super) fn poll_once<T>(call: impl Future<Output = T>) -> Option<T> {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// The result of a call that must not wait for anything.
#[track_caller]
pub(super) fn at_once<T>(call: impl Future<Output = T>) -> T {
    poll_once(call).expect("no wait")
}

/// All calls fail at once.
#[track_caller]
pub(super) fn assert_unavailable(store: &RedisClient) {
    assert!(!store.connected());
    assert!(store.last_error().is_some());
    assert_eq!(at_once(store.get("ns:k")), Err(StoreError::Unavailable));
    assert_eq!(at_once(store.put("ns:k", Bytes::new(), MINUTE)), Err(StoreError::Unavailable));
    assert_eq!(at_once(store.remove("ns:k")), Err(StoreError::Unavailable));
    let status = at_once(store.status());
    assert_eq!((status.connected, status.total_keys, status.memory_used), (false, None, None));
}

#[tokio::test]
async fn values_are_stored_read_and_removed() {
    let server = RedisServer::start();
    let (store, events) = open_ready(&server.url(), ROOMY).await;
    assert_eq!(store.get("ns:query:1").await, Ok(None));
    put(&store, "ns:query:1", "one").await.expect("stored");
    assert_eq!(store.get("ns:query:1").await, Ok(Some(Bytes::from_static(b"one"))));
    assert_eq!(server.cli(&["GET", "ns:query:1"]), "one");
    let ttl: u64 = server.cli(&["PTTL", "ns:query:1"]).parse().expect("milliseconds");
    assert!((1..=60_000).contains(&ttl), "{ttl}");

    let binary = Bytes::from((0..=255).collect::<Vec<u8>>());
    store.put("ns:query:1", binary.clone(), MINUTE).await.expect("stored over");
    assert_eq!(store.get("ns:query:1").await, Ok(Some(binary)));
    assert_eq!(store.remove("ns:query:1").await, Ok(true));
    assert_eq!(store.remove("ns:query:1").await, Ok(false));
    assert_eq!(store.get("ns:query:1").await, Ok(None));
    assert_eq!(events.all(), [], "a first connection that works is no change");
    assert_eq!(store.last_error(), None);
}

#[tokio::test]
async fn values_expire_after_their_ttl() {
    let server = RedisServer::start();
    let (store, _) = open_ready(&server.url(), ROOMY).await;
    store.put("ns:short", Bytes::from_static(b"x"), Duration::ZERO).await.expect("stored for a moment");
    eventually("expired", PATIENCE, async || store.get("ns:short").await == Ok(None)).await;
    store.put("ns:long", Bytes::from_static(b"x"), Duration::MAX).await.expect("stored for long");
    assert_eq!(store.get("ns:long").await, Ok(Some(Bytes::from_static(b"x"))));
}

#[tokio::test]
async fn large_and_small_values_are_read_side_by_side() {
    let server = RedisServer::start();
    let (store, _) = open_ready(&server.url(), PATIENCE).await;
    let large = Bytes::from(vec![7; 8 * 1024 * 1024]);
    store.put("ns:large", large.clone(), MINUTE).await.expect("stored");
    put(&store, "ns:small", "x").await.expect("stored");
    let (one, other) = tokio::join!(store.get("ns:large"), store.get("ns:small"));
    assert!(one == Ok(Some(large)));
    assert_eq!(other, Ok(Some(Bytes::from_static(b"x"))));
    // From the large lane to a small one and back.
    put(&store, "ns:large", "no longer").await.expect("stored");
    assert_eq!(store.get("ns:large").await, Ok(Some(Bytes::from_static(b"no longer"))));
    assert_eq!(store.remove("ns:large").await, Ok(true));
}

#[tokio::test]
async fn only_keys_of_the_namespace_are_counted() {
    let server = RedisServer::start();
    let (store, _) = open_ready(&server.url(), ROOMY).await;
    server.cli(&["EVAL", "for i = 1, 3000 do redis.call('SET', 'ns:query:' .. i, i) end", "0"]);
    server.cli(&["EVAL", "for i = 1, 3000 do redis.call('SET', 'other:' .. i, i) end", "0"]);
    for foreign in ["ns:_:probe", "ns:_:tag:x", "ns2:query:1", "xns:query:1", "ns"] {
        server.cli(&["SET", foreign, "x"]);
    }
    // Redis may still be growing its table, so a first count may differ.
    eventually("counted", PATIENCE, async || store.status().await.total_keys == Some(3000)).await;
    let status = store.status().await;
    assert!(status.memory_used.is_some_and(|bytes| bytes > 100_000), "{status:?}");
    eventually("connected", PATIENCE, async || store.status().await.connected).await;
    server.cli(&["DEL", "ns:query:1"]);
    eventually("counted again", PATIENCE, async || store.status().await.total_keys == Some(2999)).await;
}

#[tokio::test]
async fn concurrent_counts_share_scans() {
    let server = RedisServer::start();
    let (store, _) = open_ready(&server.url(), ROOMY).await;
    server.cli(&["EVAL", "for i = 1, 50000 do redis.call('SET', 'ns:query:' .. i, i) end", "0"]);
    let began = Instant::now();
    let askers: Vec<_> = (0..50)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.status().await })
        })
        .collect();
    for asker in askers {
        asker.await.expect("answered");
    }
    eventually("counted", PATIENCE, async || store.status().await.total_keys == Some(50_000)).await;
    // A scan has 50 steps; fifty callers must not make fifty scans.
    let scans = server.cli(&["INFO", "commandstats"]);
    let calls = scans.lines().find_map(|line| line.strip_prefix("cmdstat_scan:calls="));
    let calls: u64 =
        calls.and_then(|rest| rest.split(',').next()).and_then(|n| n.parse().ok()).expect("a count");
    let scans = calls / 50;
    assert!(scans <= 10, "{scans} scans in {:?}", began.elapsed());
}

#[tokio::test]
async fn status_does_not_wait_for_a_hung_server() {
    let server = RedisServer::start();
    let (store, _) = open_ready(&server.url(), ROOMY).await;
    put(&store, "ns:k", "v").await.expect("stored");
    eventually("counted", PATIENCE, async || store.status().await.total_keys == Some(1)).await;
    server.pause();
    let mut fastest = PATIENCE;
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(store.status().await.total_keys, Some(1), "the last known");
        fastest = fastest.min(began.elapsed());
    }
    // 200 ms, and what a busy machine adds; the commands themselves would take a second.
    assert!(fastest < Duration::from_millis(900), "{fastest:?}");
    server.resume();
    put(&store, "ns:k2", "v").await.expect("stored");
    eventually("counted", PATIENCE, async || store.status().await.total_keys == Some(2)).await;
}
