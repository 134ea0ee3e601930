//! Replies that are errors, of the wrong kind, late, or over other transports.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use sidecache::internals::{
    cache::invalidation::Offset,
    store::{Lease, LeaseState, Near, RedisStore, StoreError},
};

use super::{
    PATIENCE, ROOMY, TIGHT, assert_unavailable, calls, eventually,
    fake_peers::{Forwarder, fake},
    open, open_ready, put,
};
use crate::support::RedisServer;

#[tokio::test]
async fn a_key_of_the_wrong_type_fails_alone_and_is_overwritten() {
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
async fn a_missing_or_wrong_password_is_reported() {
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
    let (guessing, received) = open(&format!("redis://:guessed@127.0.0.1:{}", server.port()), ROOMY);
    // On a busy machine a connection may fail first; that is reported too, and the store tries again.
    let told_of = |what: &str| guessing.last_error().is_some_and(|reason| reason.contains(what));
    eventually("refused", PATIENCE, async || told_of("password")).await;
    let text = format!("{guessing:?} {:?} {:?}", received.all(), guessing.last_error());
    assert!(!text.contains("guessed"), "{text}");

    server.talk(&[&["AUTH", "sesame"], &["CONFIG", "SET", "requirepass", ""]]);
    eventually("back", PATIENCE, async || store.get("ns:k").await.is_ok()).await;
    assert_eq!(events.names(), ["lost", "back"]);
}

#[tokio::test]
async fn users_databases_and_permissions_are_respected() {
    let server = RedisServer::start();
    server.cli(&["ACL", "SETUSER", "reader", "on", ">pw", "~ns:*", "+get", "+select"]);
    let (store, _) = open_ready(&format!("redis://reader:pw@127.0.0.1:{}/3", server.port()), ROOMY).await;
    let entries = RedisStore::new(store, Near { max_bytes: 0, staleness: Duration::from_secs(2) }, None);
    let store = entries.client();
    server.talk(&[&["SELECT", "3"], &["SET", "ns:k", "v"]]);
    assert_eq!(store.get("ns:k").await, Ok(Some(Bytes::from_static(b"v"))));
    assert_eq!(put(store, "ns:k", "v").await, Err(StoreError::Refused));
    assert_eq!(store.remove("ns:k").await, Err(StoreError::Refused));
    let status = entries.status().await;
    // Reads work, but invalidations cannot be read, so no value may be used.
    assert_eq!((status.connected, status.total_keys, status.memory_used), (false, None, None));
    assert!(store.connected());
}

#[tokio::test]
async fn a_loading_redis_is_used_once_it_has_loaded() {
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
    eventually("back", PATIENCE, async || store.get("ns:k").await == hit).await;
}

#[tokio::test]
async fn a_redis_that_cannot_save_to_disk_is_unavailable() {
    let server = RedisServer::start_with(&["--save", "3600 1"]);
    let (store, events) = open_ready(&server.url(), ROOMY).await;
    put(&store, "ns:k", "v").await.expect("stored");
    // A folder in place of the file makes saving fail.
    std::fs::create_dir(server.dump_path()).expect("a folder");
    server.cli(&["BGSAVE"]);
    eventually("refused", PATIENCE, async || put(&store, "ns:k", "v").await == Err(StoreError::Lost)).await;
    assert_unavailable(&store);
    assert_eq!(server.cli(&["GET", "ns:k"]), "v", "it can be read");
    eventually("tried again and again", PATIENCE, async || refused(&server) >= 3).await;
    assert_unavailable(&store);
    assert_eq!(events.names(), ["lost"]);

    std::fs::remove_dir(server.dump_path()).expect("no folder");
    server.cli(&["BGSAVE"]);
    let hit = Ok(Some(Bytes::from_static(b"v")));
    eventually("back", PATIENCE, async || store.get("ns:k").await == hit).await;
    put(&store, "ns:k", "v").await.expect("stored again");
    assert_eq!(events.names(), ["lost", "back"]);
}

/// How often a server has said that it cannot save.
fn refused(server: &RedisServer) -> u64 {
    let stats = server.cli(&["INFO", "errorstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("errorstat_MISCONF:count="));
    line.map_or(0, |count| count.trim().parse().expect("a count"))
}

#[tokio::test]
async fn a_lease_whose_reply_is_late_is_released() {
    let server = RedisServer::start();
    let (store, _) = open_ready(&server.url(), PATIENCE).await;
    let acquire_lease =
        async |within| Lease::acquire(&store, "ns:query:1", 0, Offset::default(), within).await;
    let before = calls(&server, "eval");
    server.pause();
    assert!(matches!(acquire_lease(Duration::from_millis(20)).await, Err(StoreError::Timeout)));
    server.resume();
    eventually("taken and given back", PATIENCE, async || calls(&server, "eval") >= before + 2).await;
    assert_eq!(server.cli(&["KEYS", "ns:_:lease:*"]), "");
    assert!(matches!(acquire_lease(Duration::ZERO).await, Err(StoreError::Timeout)));
    let mine = acquire_lease(PATIENCE).await.expect("a reply");
    assert!(matches!(mine.state, LeaseState::Acquired(Some(_))), "{mine:?}");
    assert!(server.cli(&["KEYS", "ns:_:lease:*"]).starts_with("ns:_:lease:"));
}

#[tokio::test]
async fn silent_connections_are_replaced() {
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
    eventually("back", PATIENCE, async || store.get("ns:k").await == hit).await;
    assert_eq!(events.names().last(), Some(&"back"));
}

#[tokio::test]
async fn replies_of_the_wrong_type_are_protocol_errors() {
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
async fn a_cluster_is_unavailable_after_its_first_redirect() {
    let peer = fake(|command| match command {
        [get, key] if get == "GET" && key == "ns:elsewhere" => b"-MOVED 1 10.0.0.1:6379\r\n".to_vec(),
        _ => b"$-1\r\n".to_vec(),
    })
    .await;
    let (store, events) = open_ready(&peer, ROOMY).await;
    assert_eq!(store.get("ns:here").await, Ok(None));
    assert_eq!(store.get("ns:elsewhere").await, Err(StoreError::Lost));
    // If the store came back for the keys of this node, the next foreign key would end it again.
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
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut kept = 0;
                while kept < 500 {
                    let key = fastrand::u32(..KEYS);
                    let name = format!("ns:{key}");
                    // Dropped before it is sent, while it is under way, or not at all.
                    let store_budget = Duration::from_micros(fastrand::u64(..1000));
                    let call = store.get(&name);
                    if let Ok(value) = tokio::time::timeout(store_budget, call).await {
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
async fn unix_sockets_are_supported() {
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
async fn tls_is_supported_and_certificates_are_checked() {
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
    // On a busy machine a handshake may time out first; that is reported too, and the store tries again.
    eventually("refused", PATIENCE, async || {
        strict.last_error().is_some_and(|reason| reason.contains("certificate"))
    })
    .await;
    assert_eq!(events.names(), ["lost"], "and reported once, whatever the reason");
}
