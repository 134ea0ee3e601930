//! The Redis store against real servers, and against peers that misbehave in ways a real one cannot be made to.

#[path = "support/redis.rs"]
mod support;

use std::{
    future::Future,
    io,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use sidecache::store::redis::{RedisStore, StoreError, StoreEvent};
use support::RedisServer;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// The default deadline, for tests of the deadline.
const TIGHT: Duration = Duration::from_millis(50);

/// A deadline that a busy machine keeps, for tests of anything else.
const ROOMY: Duration = Duration::from_secs(5);

/// In which hits must be back.
const BACK: Duration = Duration::from_secs(2);

/// For what has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(20);

const MINUTE: Duration = Duration::from_secs(60);

/// What the store told.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<StoreEvent>>>);

impl Events {
    fn all(&self) -> Vec<StoreEvent> {
        self.0.lock().expect("not poisoned").clone()
    }

    fn names(&self) -> Vec<&'static str> {
        self.all().iter().map(name).collect()
    }
}

fn name(event: &StoreEvent) -> &'static str {
    match event {
        StoreEvent::Lost { .. } => "lost",
        StoreEvent::Back => "back",
        StoreEvent::WritesRefused { .. } => "refused",
        StoreEvent::WritesBack => "writes back",
    }
}

fn open(url: &str, timeout: Duration) -> (RedisStore, Events) {
    let events = Events::default();
    let told = events.clone();
    let store =
        RedisStore::open(url, "ns", timeout, move |event| told.0.lock().expect("not poisoned").push(event));
    (store.expect("a good URL"), events)
}

async fn open_ready(url: &str, timeout: Duration) -> (RedisStore, Events) {
    let (store, events) = open(url, timeout);
    assert!(store.ready(PATIENCE).await, "{:?}", store.last_error());
    (store, events)
}

async fn put(store: &RedisStore, key: &str, value: &str) -> Result<(), StoreError> {
    store.put(key, Bytes::copy_from_slice(value.as_bytes()), MINUTE).await
}

/// Tries until it is true; fails the test when that takes longer than `within`.
async fn eventually(what: &str, within: Duration, mut is: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is().await {
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The result of a call, if it has one without waiting for anything.
fn poll_once<T>(call: impl Future<Output = T>) -> Option<T> {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

/// The result of a call that must not wait for anything.
#[track_caller]
fn at_once<T>(call: impl Future<Output = T>) -> T {
    poll_once(call).expect("no wait")
}

/// All calls fail at once.
#[track_caller]
fn assert_unavailable(store: &RedisStore) {
    assert!(!store.connected());
    assert!(store.last_error().is_some());
    assert_eq!(at_once(store.get("ns:k")), Err(StoreError::Unavailable));
    assert_eq!(at_once(store.put("ns:k", Bytes::new(), MINUTE)), Err(StoreError::Unavailable));
    assert_eq!(at_once(store.remove("ns:k")), Err(StoreError::Unavailable));
    let status = at_once(store.status());
    assert_eq!((status.connected, status.total_keys, status.memory_used), (false, None, None));
}

#[tokio::test]
async fn stores_reads_and_removes() {
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
async fn values_live_as_long_as_told() {
    let server = RedisServer::start();
    let (store, _) = open_ready(&server.url(), ROOMY).await;
    store.put("ns:short", Bytes::from_static(b"x"), Duration::ZERO).await.expect("stored for a moment");
    eventually("expired", PATIENCE, async || store.get("ns:short").await == Ok(None)).await;
    store.put("ns:long", Bytes::from_static(b"x"), Duration::MAX).await.expect("stored for long");
    assert_eq!(store.get("ns:long").await, Ok(Some(Bytes::from_static(b"x"))));
}

#[tokio::test]
async fn large_values_and_small_ones_side_by_side() {
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
async fn down_at_the_start_then_up() {
    let mut server = RedisServer::start();
    server.kill();
    let (store, events) = open(&server.url(), ROOMY);
    assert_eq!(at_once(store.get("ns:k")), Err(StoreError::Unavailable));
    assert!(!store.ready(Duration::from_millis(1)).await);
    eventually("told", PATIENCE, async || events.names() == ["lost"]).await;
    assert_unavailable(&store);

    server.restart();
    eventually("back", BACK, async || put(&store, "ns:k", "v").await.is_ok()).await;
    assert_eq!(store.get("ns:k").await, Ok(Some(Bytes::from_static(b"v"))));
    assert_eq!(events.names(), ["lost", "back"]);
}

#[tokio::test]
async fn killed_and_restarted() {
    let mut server = RedisServer::start();
    let (store, events) = open_ready(&server.url(), ROOMY).await;
    for round in 1..=3 {
        put(&store, "ns:k", "v").await.expect("stored");
        server.kill();
        let began = Instant::now();
        eventually("lost", PATIENCE, async || store.get("ns:k").await == Err(StoreError::Unavailable)).await;
        // A closed connection is seen, not waited for.
        assert!(began.elapsed() < ROOMY / 2, "{:?}", began.elapsed());
        assert_unavailable(&store);

        server.restart();
        eventually("back", BACK, async || put(&store, "ns:k", "v").await.is_ok()).await;
        assert_eq!(store.get("ns:k").await, Ok(Some(Bytes::from_static(b"v"))));
        assert_eq!(events.names(), ["lost", "back"].repeat(round));
    }
}

#[tokio::test]
async fn a_loss_is_noticed_without_traffic() {
    let mut server = RedisServer::start();
    let (store, events) = open_ready(&server.url(), 10 * TIGHT).await;
    server.stop();
    eventually("told", PATIENCE, async || events.names() == ["lost"]).await;
    server.restart();
    eventually("back", BACK, async || store.connected()).await;
    server.pause();
    // Each heartbeat has the deadline of a call; three must miss it.
    eventually("told", PATIENCE, async || events.names() == ["lost", "back", "lost"]).await;
    assert_unavailable(&store);
    server.resume();
    eventually("back", BACK, async || store.connected()).await;
}

#[tokio::test]
async fn hung_then_running_again() {
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
        // The second is for a machine that is busy with other tests.
        assert!(began.elapsed() < TIGHT + Duration::from_secs(1), "{:?}", began.elapsed());
    }
    // Fewer if a heartbeat missed its deadline too.
    assert!(timeouts <= 3, "{timeouts}");
    assert_unavailable(&store);
    // Still away, however often it is tried.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_unavailable(&store);

    server.resume();
    let hit = Ok(Some(Bytes::from_static(b"v")));
    eventually("back", BACK, async || store.get("ns:k").await == hit).await;
    assert_eq!(events.names().last(), Some(&"back"));
}

#[tokio::test]
async fn full() {
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
    eventually("told", PATIENCE, async || {
        assert_eq!(put(&store, "ns:new", "v").await, Err(StoreError::Refused));
        events.names() == ["refused"]
    })
    .await;
    assert!(store.connected());

    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    eventually("writes again", BACK, async || put(&store, "ns:new", "v").await.is_ok()).await;
    assert_eq!(put(&store, "ns:new", "v").await, Ok(()));
    // The test's own two: one `cli` each.
    let made = received(&server.cli(&["INFO", "stats"])) - received(&connections);
    assert!(made <= 2, "{made} connections");
    eventually("told", PATIENCE, async || events.names() == ["refused", "writes back"]).await;
}

fn received(stats: &str) -> u64 {
    let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    line.and_then(|count| count.trim().parse().ok()).expect("a count")
}

#[tokio::test]
async fn read_only() {
    let server = RedisServer::start();
    let (store, events) = open_ready(&server.url(), ROOMY).await;
    put(&store, "ns:k", "v").await.expect("stored");
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    let began = Instant::now();
    let connections = server.cli(&["INFO", "stats"]);
    eventually("told", PATIENCE, async || {
        assert_eq!(put(&store, "ns:k", "new").await, Err(StoreError::Refused));
        assert_eq!(store.remove("ns:k").await, Err(StoreError::Refused));
        assert_eq!(store.get("ns:k").await, Ok(Some(Bytes::from_static(b"v"))));
        events.names() == ["refused"]
    })
    .await;
    // Four connections a second at most, in search of the new master.
    let made = received(&server.cli(&["INFO", "stats"])) - received(&connections);
    assert!(made <= 4 * (began.elapsed().as_secs() + 1) + 1, "{made} connections in {:?}", began.elapsed());

    server.cli(&["REPLICAOF", "NO", "ONE"]);
    eventually("writes again", BACK, async || put(&store, "ns:k", "new").await.is_ok()).await;
    assert_eq!(events.names(), ["refused"]);
}

#[tokio::test]
async fn after_a_fail_over_the_new_master_is_found() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let way = Forwarder::start(old.port()).await;
    let (store, events) = open_ready(&way.url(), ROOMY).await;
    old.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(put(&store, "ns:k", "v").await, Err(StoreError::Refused));
    // New connections reach the new master; the old ones stay with the old.
    way.lead_to(new.port());
    eventually("writes", BACK, async || put(&store, "ns:k", "v").await.is_ok()).await;
    assert_eq!(new.cli(&["GET", "ns:k"]), "v");
    assert!(!events.names().contains(&"lost"));
}

#[tokio::test]
async fn wrong_type_is_that_keys_affair() {
    let server = RedisServer::start();
    let (store, events) = open_ready(&server.url(), ROOMY).await;
    server.cli(&["LPUSH", "ns:list", "x"]);
    assert_eq!(store.get("ns:list").await, Err(StoreError::WrongType));
    assert!(store.connected());
    put(&store, "ns:list", "v").await.expect("a write replaces it");
    assert_eq!(store.get("ns:list").await, Ok(Some(Bytes::from_static(b"v"))));
    assert_eq!(events.all(), []);
}

#[tokio::test]
async fn wants_a_password() {
    let server = RedisServer::start();
    let (store, events) = open_ready(&server.url(), ROOMY).await;
    put(&store, "ns:k", "v").await.expect("stored");
    server.talk(&[&["CONFIG", "SET", "requirepass", "sesame"], &["CLIENT", "KILL", "TYPE", "normal"]]);
    eventually("the reason", PATIENCE, async || {
        store.last_error().is_some_and(|reason| reason.contains("NOAUTH"))
    })
    .await;
    assert_unavailable(&store);

    let (knowing, _) = open_ready(&format!("redis://:sesame@127.0.0.1:{}", server.port()), ROOMY).await;
    assert_eq!(knowing.get("ns:k").await, Ok(Some(Bytes::from_static(b"v"))));
    let (guessing, told) = open(&format!("redis://:guessed@127.0.0.1:{}", server.port()), ROOMY);
    eventually("refused", PATIENCE, async || guessing.last_error().is_some()).await;
    let text = format!("{guessing:?} {:?} {:?}", told.all(), guessing.last_error());
    assert!(text.contains("password") && !text.contains("guessed"), "{text}");

    server.talk(&[&["AUTH", "sesame"], &["CONFIG", "SET", "requirepass", ""]]);
    eventually("back", BACK, async || store.get("ns:k").await.is_ok()).await;
    assert_eq!(events.names(), ["lost", "back"]);
}

#[tokio::test]
async fn users_databases_and_permissions() {
    let server = RedisServer::start();
    server.cli(&["ACL", "SETUSER", "reader", "on", ">pw", "~ns:*", "+get", "+select"]);
    let (store, _) = open_ready(&format!("redis://reader:pw@127.0.0.1:{}/3", server.port()), ROOMY).await;
    server.talk(&[&["SELECT", "3"], &["SET", "ns:k", "v"]]);
    assert_eq!(store.get("ns:k").await, Ok(Some(Bytes::from_static(b"v"))));
    assert_eq!(put(&store, "ns:k", "v").await, Err(StoreError::Refused));
    assert_eq!(store.remove("ns:k").await, Err(StoreError::Refused));
    let status = store.status().await;
    assert_eq!((status.connected, status.total_keys, status.memory_used), (true, None, None));
    assert!(store.connected(), "reads go on");
}

#[tokio::test]
async fn loading() {
    let mut server = RedisServer::start();
    server.cli(&["EVAL", "for i = 1, 20000 do redis.call('SET', 'fill:' .. i, i) end", "0"]);
    server.talk(&[&["SET", "ns:k", "v"], &["SAVE"]]);
    let (store, _) = open_ready(&server.url(), ROOMY).await;
    server.kill();
    // 20,001 keys of 100 microseconds each.
    server.restart_with(&["--key-load-delay", "100", "--loading-process-events-interval-bytes", "1024"]);
    eventually("the reason", PATIENCE, async || {
        assert!(store.get("ns:k").await.is_err());
        store.last_error().is_some_and(|reason| reason.contains("LOADING"))
    })
    .await;
    eventually("loaded", PATIENCE, async || server.cli(&["PING"]) == "PONG").await;
    let hit = Ok(Some(Bytes::from_static(b"v")));
    eventually("back", BACK, async || store.get("ns:k").await == hit).await;
}

#[tokio::test]
async fn swallowed_connections_are_left() {
    let server = RedisServer::start();
    let way = Forwarder::start(server.port()).await;
    let (store, events) = open_ready(&way.url(), TIGHT).await;
    eventually("stored", PATIENCE, async || put(&store, "ns:k", "v").await.is_ok()).await;
    way.swallow();
    eventually("lost", PATIENCE, async || store.get("ns:k").await == Err(StoreError::Unavailable)).await;
    assert_unavailable(&store);
    // The old connections stay dead; only new ones reach the server.
    way.lead_to(server.port());
    let hit = Ok(Some(Bytes::from_static(b"v")));
    eventually("back", BACK, async || store.get("ns:k").await == hit).await;
    assert_eq!(events.names().last(), Some(&"back"));
}

#[tokio::test]
async fn replies_of_the_wrong_kind() {
    let peer = fake(|command| match command {
        [get, key] if get == "GET" && key == "ns:odd" => b":1\r\n".to_vec(),
        [get, key] if get == "GET" && key == "ns:garbage" => b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        [set, ..] if set == "SET" => b"$-1\r\n".to_vec(),
        [del, ..] if del == "DEL" => b"$1\r\nx\r\n".to_vec(),
        _ => b"$-1\r\n".to_vec(),
    })
    .await;
    let (store, events) = open_ready(&peer, ROOMY).await;
    assert_eq!(store.get("ns:odd").await, Err(StoreError::Protocol));
    assert!(store.ready(PATIENCE).await);
    assert_eq!(store.get("ns:garbage").await, Err(StoreError::Protocol));
    assert!(store.ready(PATIENCE).await);
    assert_eq!(put(&store, "ns:k", "v").await, Err(StoreError::Protocol));
    assert!(store.ready(PATIENCE).await);
    assert_eq!(store.remove("ns:k").await, Err(StoreError::Protocol));
    assert!(store.ready(PATIENCE).await);
    assert_eq!(store.get("ns:k").await, Ok(None));
    assert_eq!(events.names(), ["lost", "back"].repeat(4));
    assert!(!format!("{:?}", events.all()).contains("HTTP"), "no reply is in a log line");
}

#[tokio::test]
async fn a_cluster_is_given_up_once() {
    let peer = fake(|command| match command {
        [get, key] if get == "GET" && key == "ns:elsewhere" => b"-MOVED 1 10.0.0.1:6379\r\n".to_vec(),
        _ => b"$-1\r\n".to_vec(),
    })
    .await;
    let (store, events) = open_ready(&peer, ROOMY).await;
    assert_eq!(store.get("ns:here").await, Ok(None));
    assert_eq!(store.get("ns:elsewhere").await, Err(StoreError::Lost));
    // Back for the keys it has, it would be lost to the next one that it has not.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_unavailable(&store);
    assert_eq!(events.names(), ["lost"]);
}

#[tokio::test]
async fn dropped_calls_do_not_shift_replies() {
    const KEYS: u32 = 200;
    let server = RedisServer::start();
    let (store, events) = open_ready(&server.url(), PATIENCE).await;
    for key in 0..KEYS {
        put(&store, &format!("ns:{key}"), &format!("value of {key}")).await.expect("stored");
    }
    let store = Arc::new(store);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut kept = 0;
                while kept < 500 {
                    let key = fastrand::u32(..KEYS);
                    let name = format!("ns:{key}");
                    // Dropped before it is sent, while it is under way, or not at all.
                    let patience = Duration::from_micros(fastrand::u64(..1000));
                    let call = store.get(&name);
                    if let Ok(value) = tokio::time::timeout(patience, call).await {
                        assert_eq!(value, Ok(Some(Bytes::from(format!("value of {key}")))));
                        kept += 1;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no reply for another");
    }
    assert_eq!(events.all(), []);
}

#[tokio::test]
async fn counts_its_own_keys() {
    let server = RedisServer::start();
    let (store, _) = open_ready(&server.url(), ROOMY).await;
    server.cli(&["EVAL", "for i = 1, 3000 do redis.call('SET', 'ns:query:' .. i, i) end", "0"]);
    server.cli(&["EVAL", "for i = 1, 3000 do redis.call('SET', 'other:' .. i, i) end", "0"]);
    for foreign in ["ns:_:probe", "ns:_:tag:x", "ns2:query:1", "xns:query:1", "ns"] {
        server.cli(&["SET", foreign, "x"]);
    }
    // A table that grew is scanned like one that grows until it is moved over.
    eventually("counted", PATIENCE, async || store.status().await.total_keys == Some(3000)).await;
    let status = store.status().await;
    assert!(status.connected);
    assert!(status.memory_used.is_some_and(|bytes| bytes > 100_000), "{status:?}");
    server.cli(&["DEL", "ns:query:1"]);
    eventually("counted anew", PATIENCE, async || store.status().await.total_keys == Some(2999)).await;
}

#[tokio::test]
async fn counting_is_shared_and_rests() {
    let server = RedisServer::start();
    let (store, _) = open_ready(&server.url(), ROOMY).await;
    server.cli(&["EVAL", "for i = 1, 50000 do redis.call('SET', 'ns:query:' .. i, i) end", "0"]);
    let began = Instant::now();
    let store = Arc::new(store);
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
    // 50 steps and a few a scan, and ten times as long without: nowhere near a scan for each that asked.
    let scans = server.cli(&["INFO", "commandstats"]);
    let calls = scans.lines().find_map(|line| line.strip_prefix("cmdstat_scan:calls="));
    let calls: u64 =
        calls.and_then(|rest| rest.split(',').next()).and_then(|n| n.parse().ok()).expect("a count");
    let scans = calls / 50;
    assert!(scans <= 10, "{scans} scans in {:?}", began.elapsed());
}

#[tokio::test]
async fn health_does_not_wait_for_a_hung_server() {
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
    // 200 ms, and what a busy machine adds; the commands themselves are given a second.
    assert!(fastest < Duration::from_millis(900), "{fastest:?}");
    server.resume();
    put(&store, "ns:k2", "v").await.expect("stored");
    eventually("counted", PATIENCE, async || store.status().await.total_keys == Some(2)).await;
}

#[tokio::test]
async fn unix_sockets() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("redis.sock");
    let path = path.to_str().expect("UTF-8");
    let _server = RedisServer::start_with(&["--unixsocket", path]);
    for scheme in ["unix", "redis+unix"] {
        let (store, _) = open_ready(&format!("{scheme}://{path}?db=1"), ROOMY).await;
        put(&store, "ns:k", scheme).await.expect("stored");
        assert_eq!(store.get("ns:k").await, Ok(Some(Bytes::from(scheme))));
    }
}

#[tokio::test]
async fn tls() {
    let dir = tempfile::tempdir().expect("a folder");
    let (key, cert) = (dir.path().join("key.pem"), dir.path().join("cert.pem"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-subj", "/CN=localhost", "-days", "2", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .expect("openssl runs; install it: apt-get install openssl");
    assert!(made.status.success(), "{made:?}");
    let port = RedisServer::free_port().to_string();
    let (key, cert) = (key.to_str().expect("UTF-8"), cert.to_str().expect("UTF-8"));
    let _server = RedisServer::start_with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        cert,
        "--tls-key-file",
        key,
        "--tls-ca-cert-file",
        cert,
        "--tls-auth-clients",
        "no",
    ]);
    let (store, _) = open_ready(&format!("rediss://localhost:{port}/#insecure"), ROOMY).await;
    put(&store, "ns:k", "v").await.expect("stored");
    assert_eq!(store.get("ns:k").await, Ok(Some(Bytes::from_static(b"v"))));

    let (strict, events) = open(&format!("rediss://localhost:{port}"), ROOMY);
    eventually("refused", PATIENCE, async || strict.last_error().is_some()).await;
    let reason = strict.last_error().unwrap_or_default();
    assert!(reason.contains("certificate"), "{reason}");
    assert_eq!(events.names(), ["lost"]);
}

/// An address that leads to a server, and can be made to lead elsewhere. Connections stay where they lead, until
/// they are swallowed: then they stay open, and nothing passes any more.
struct Forwarder {
    port: u16,
    /// 0: nowhere.
    target: Arc<AtomicU16>,
    swallowed: tokio::sync::watch::Sender<u64>,
}

impl Forwarder {
    async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let target = Arc::new(AtomicU16::new(target));
        let swallowed = tokio::sync::watch::Sender::new(0);
        let (now, signal) = (Arc::clone(&target), swallowed.clone());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let port = now.load(Ordering::Relaxed);
                let mut signal = signal.subscribe();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = forward(&client, port) => {}
                        _ = signal.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { port, target, swallowed }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where new connections lead from now on.
    fn lead_to(&self, port: u16) {
        self.target.store(port, Ordering::Relaxed);
    }

    /// Lets nothing pass any more, on old connections and new.
    fn swallow(&self) {
        self.target.store(0, Ordering::Relaxed);
        self.swallowed.send_modify(|count| *count += 1);
    }
}

/// Passes bytes both ways until either side closes.
async fn forward(client: &TcpStream, port: u16) -> io::Result<()> {
    if port == 0 {
        return std::future::pending().await;
    }
    let server = TcpStream::connect(("127.0.0.1", port)).await?;
    tokio::select! {
        done = pass(client, &server) => done,
        done = pass(&server, client) => done,
    }
}

async fn pass(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        from.readable().await?;
        let mut rest = match from.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => &buffer[..count],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        while !rest.is_empty() {
            to.writable().await?;
            match to.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A peer that replies to each command as it likes. Its URL.
async fn fake(reply: impl Fn(&[String]) -> Vec<u8> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    let reply = Arc::new(reply);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let reply = Arc::clone(&reply);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                while let Ok(command) = read_command(&mut stream).await {
                    if stream.write_all(&reply(&command)).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

async fn read_command(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<String>> {
    let mut command = Vec::new();
    for _ in 0..read_length(stream).await? {
        let mut part = vec![0; read_length(stream).await? + 2];
        stream.read_exact(&mut part).await?;
        part.truncate(part.len() - 2);
        command.push(String::from_utf8_lossy(&part).into_owned());
    }
    Ok(command)
}

async fn read_length(stream: &mut BufReader<TcpStream>) -> io::Result<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    line.trim_end().get(1..).and_then(|number| number.parse().ok()).ok_or(io::ErrorKind::InvalidData.into())
}
