//! Sentinels whose word changes as the test wants.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use bytes::Bytes;

use super::{PATIENCE, ROOMY, eventually, fake_peers::fake, open_ready, put};
use crate::support::RedisServer;

#[tokio::test]
async fn a_master_that_is_demoted_with_its_connections_open_is_left() {
    let (before, after) = (RedisServer::start(), RedisServer::start());
    let master = Arc::new(AtomicU16::new(before.port()));
    let named = Arc::clone(&master);
    let sentinel = fake(move |command| {
        let port = named.load(Ordering::SeqCst).to_string();
        match &*command[0] {
            "SENTINEL" => format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len()).into_bytes(),
            _ => b"+OK\r\n".to_vec(),
        }
    })
    .await;
    let url = format!("{}/main", sentinel.replace("redis://", "redis+sentinel://"));
    let (store, events) = open_ready(&url, ROOMY).await;
    put(&store, "ns:k", "before").await.expect("stored");
    after.cli(&["SET", "ns:k", "after"]);
    master.store(after.port(), Ordering::SeqCst);
    // Nothing but reads, which the old one answers.
    let new = Ok(Some(Bytes::from_static(b"after")));
    eventually("the new master is asked", PATIENCE, async || store.get("ns:k").await == new).await;
    assert_eq!(events.names(), ["lost", "back"]);
}
