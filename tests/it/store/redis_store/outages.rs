//! A Redis that stops and comes back, hangs, fills up, or is not the master any more.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sidecache::internals::store::StoreError;

use super::{
    PATIENCE, ROOMY, TIGHT, assert_unavailable, at_once, eventually, fake_peers::Forwarder, open, open_ready,
    poll_once, put,
};
use crate::support::RedisServer;

/// The connections that lookups use, which are replaced together.
const LANES: u64 = 4;

#[tokio::test]
async fn a_server_that_is_down_at_the_start_is_used_once_up() {
    let mut server = RedisServer::start();
    server.kill();
    let (store, events) = open(&server.url(), ROOMY);
    assert_eq!(at_once(store.get("ns:k")), Err(StoreError::Unavailable));
    assert!(!store.ready(Duration::from_millis(1)).await);
    eventually("reported", PATIENCE, async || events.names() == ["lost"]).await;
    assert_unavailable(&store);

    server.restart();
    eventually("back", PATIENCE, async || put(&store, "ns:k", "v").await.is_ok()).await;
    assert_eq!(store.get("ns:k").await, Ok(Some(Bytes::from_static(b"v"))));
    assert_eq!(events.names(), ["lost", "back"]);
}

#[tokio::test]
async fn a_killed_server_is_noticed_and_used_once_restarted() {
    let mut server = RedisServer::start();
    let (store, events) = open_ready(&server.url(), ROOMY).await;
    for round in 1..=3 {
        put(&store, "ns:k", "v").await.expect("stored");
        server.kill();
        let began = Instant::now();
        eventually("lost", PATIENCE, async || store.get("ns:k").await == Err(StoreError::Unavailable)).await;
        // A closed connection is noticed at once.
        assert!(began.elapsed() < ROOMY / 2, "{:?}", began.elapsed());
        assert_unavailable(&store);

        server.restart();
        eventually("back", PATIENCE, async || put(&store, "ns:k", "v").await.is_ok()).await;
        assert_eq!(store.get("ns:k").await, Ok(Some(Bytes::from_static(b"v"))));
        assert_eq!(events.names(), ["lost", "back"].repeat(round));
    }
}

#[tokio::test]
async fn an_outage_is_noticed_without_traffic() {
    let mut server = RedisServer::start();
    let (store, events) = open_ready(&server.url(), 10 * TIGHT).await;
    server.stop();
    eventually("reported", PATIENCE, async || events.names() == ["lost"]).await;
    server.restart();
    eventually("back", PATIENCE, async || store.connected()).await;
    server.pause();
    // Each heartbeat has the deadline of a call; three must miss it.
    eventually("reported", PATIENCE, async || events.names() == ["lost", "back", "lost"]).await;
    assert_unavailable(&store);
    server.resume();
    eventually("back", PATIENCE, async || store.connected()).await;
}

#[tokio::test]
async fn a_hung_server_is_given_up_and_used_once_it_runs_again() {
    let server = RedisServer::start();
    let (store, events) = open_ready(&server.url(), TIGHT).await;
    eventually("stored", PATIENCE, async || put(&store, "ns:k", "v").await.is_ok()).await;
    server.pause();
    let mut timeouts = 0;
    loop {
        let began = Instant::now();
        match store.get("ns:k").await {
            Err(StoreError::Timeout) => timeouts += 1,
            Err(StoreError::Unavailable) => break,
            other => panic!("{other:?}"),
        }
        // A machine that is busy with other tests adds something.
        assert!(began.elapsed() < TIGHT + ROOMY, "{:?}", began.elapsed());
    }
    // Fewer if a heartbeat timed out too.
    assert!(timeouts <= 3, "{timeouts}");
    assert_unavailable(&store);
    // Still away, however often it is tried.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_unavailable(&store);

    server.resume();
    let hit = Ok(Some(Bytes::from_static(b"v")));
    eventually("back", PATIENCE, async || store.get("ns:k").await == hit).await;
    assert_eq!(events.names().last(), Some(&"back"));
}

#[tokio::test]
async fn a_full_server_is_read_and_not_written() {
    let server = RedisServer::start();
    let (store, events) = open_ready(&server.url(), ROOMY).await;
    put(&store, "ns:old", "v").await.expect("stored");
    put(&store, "ns:older", "v").await.expect("stored");
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let connections = server.cli(&["INFO", "stats"]);
    assert_eq!(put(&store, "ns:new", "v").await, Err(StoreError::Refused));
    let refused = Some(Err(StoreError::Refused));
    eventually("not sent", PATIENCE, async || poll_once(put(&store, "ns:new", "v")) == refused).await;
    assert_eq!(store.get("ns:old").await, Ok(Some(Bytes::from_static(b"v"))));
    assert_eq!(store.remove("ns:older").await, Ok(true), "a full Redis can remove");
    eventually("reported", PATIENCE, async || {
        assert_eq!(put(&store, "ns:new", "v").await, Err(StoreError::Refused));
        events.names() == ["refused"]
    })
    .await;
    assert!(store.connected());

    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    eventually("writes again", PATIENCE, async || put(&store, "ns:new", "v").await.is_ok()).await;
    assert_eq!(put(&store, "ns:new", "v").await, Ok(()));
    // The two connections of this test's `cli`, and none of new lanes; on a busy machine, one for the
    // invalidation log.
    let made = connections_made(&server.cli(&["INFO", "stats"])) - connections_made(&connections);
    assert!(made < 2 + LANES, "{made} connections");
    eventually("reported", PATIENCE, async || events.names() == ["refused", "writes back"]).await;
}

fn connections_made(stats: &str) -> u64 {
    let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    line.and_then(|count| count.trim().parse().ok()).expect("a count")
}

#[tokio::test]
async fn a_read_only_server_is_read_and_not_written() {
    let server = RedisServer::start();
    let (store, events) = open_ready(&server.url(), ROOMY).await;
    put(&store, "ns:k", "v").await.expect("stored");
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    let began = Instant::now();
    let connections = server.cli(&["INFO", "stats"]);
    eventually("reported", PATIENCE, async || {
        assert_eq!(put(&store, "ns:k", "new").await, Err(StoreError::Refused));
        assert_eq!(store.remove("ns:k").await, Err(StoreError::Refused));
        assert_eq!(store.get("ns:k").await, Ok(Some(Bytes::from_static(b"v"))));
        events.names() == ["refused"]
    })
    .await;
    // The store looks for a new master: the lanes and the log's reader connect once a second at most; one is
    // the test's.
    let made = connections_made(&server.cli(&["INFO", "stats"])) - connections_made(&connections);
    let times = began.elapsed().as_secs() + 1;
    assert!(made <= (LANES + 1) * times + 1, "{made} connections in {:?}", began.elapsed());

    server.cli(&["REPLICAOF", "NO", "ONE"]);
    eventually("writes again", PATIENCE, async || put(&store, "ns:k", "new").await.is_ok()).await;
    assert_eq!(events.names(), ["refused"]);
}

#[tokio::test]
async fn the_new_master_is_found_after_a_failover() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let way = Forwarder::start(old.port()).await;
    let (store, events) = open_ready(&way.url(), ROOMY).await;
    old.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(put(&store, "ns:k", "v").await, Err(StoreError::Refused));
    // New connections reach the new master; the old ones stay with the old.
    way.lead_to(new.port());
    eventually("writes", PATIENCE, async || put(&store, "ns:k", "v").await.is_ok()).await;
    assert_eq!(new.cli(&["GET", "ns:k"]), "v");
    assert!(!events.names().contains(&"lost"));
}
