//! Batches: many keys in one call.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sidecache::internals::store::StoreError;

use super::{MINUTE, PATIENCE, ROOMY, TIGHT, calls, eventually, fake_peers::fake, open, open_ready, put};
use crate::support::RedisServer;

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("ns:embedding:{number}")).collect()
}

#[tokio::test]
async fn each_key_of_a_batch_gets_its_own_value() {
    let server = RedisServer::start();
    let (store, events) = open_ready(&server.url(), PATIENCE).await;
    for count in [1, 5, 33, 1000] {
        let keys = keys(count);
        let value = |number: usize| match number % 7 {
            // Some use the connection for large values.
            3 => Bytes::from(vec![u8::try_from(number % 251).expect("small"); 70_000]),
            _ => Bytes::from(format!("the value of {number}")),
        };
        let (even, odd): (Vec<_>, Vec<_>) = (0..count).partition(|number| number % 2 == 0);
        let values = even.iter().map(|number| (keys[*number].clone(), value(*number), MINUTE)).collect();
        assert_eq!(store.put_many(values).await, vec![Ok(None); even.len()]);
        odd.iter().for_each(|number| drop(server.cli(&["DEL", &keys[*number]])));
        for _ in 0..2 {
            let found = store.get_many(&keys).await;
            assert_eq!(found.len(), count);
            for (number, found) in found.into_iter().enumerate() {
                let expected = (number % 2 == 0).then(|| value(number));
                assert!(found == Ok(expected), "{number} of {count}");
            }
        }
    }
    let left: u64 = server.cli(&["PTTL", "ns:embedding:0"]).parse().expect("milliseconds");
    assert!((1..=60_000).contains(&left), "{left}");
    assert_eq!(events.all(), []);
}

#[tokio::test]
async fn a_batch_is_one_command_per_connection() {
    let server = RedisServer::start();
    let (store, _) = open_ready(&server.url(), PATIENCE).await;
    store.get_many(&keys(30)).await;
    assert!((1..=3).contains(&calls(&server, "mget")), "{}", calls(&server, "mget"));
    let before = calls(&server, "mget");
    // A larger batch uses the connection for large values, in parts so that other commands get a turn.
    store.get_many(&keys(200)).await;
    assert_eq!(calls(&server, "mget") - before, 4);
}

#[tokio::test]
async fn a_key_of_the_wrong_type_is_absent_from_a_batch() {
    let server = RedisServer::start();
    let (store, events) = open_ready(&server.url(), ROOMY).await;
    let keys = keys(3);
    put(&store, &keys[0], "a").await.expect("stored");
    server.cli(&["LPUSH", &keys[1], "x"]);
    put(&store, &keys[2], "c").await.expect("stored");
    let expected = [Some("a"), None, Some("c")].map(|value| Ok(value.map(Bytes::from)));
    assert_eq!(store.get_many(&keys).await, expected);
    assert_eq!(events.all(), []);
}

#[tokio::test]
async fn every_key_of_a_batch_fails_at_once_without_a_server() {
    let (store, _) = open(&format!("redis://127.0.0.1:{}", RedisServer::free_port()), ROOMY);
    assert_eq!(store.get_many(&keys(3)).await, vec![Err(StoreError::Unavailable); 3]);
    let values = keys(2).into_iter().map(|key| (key, Bytes::new(), Duration::from_secs(1))).collect();
    assert_eq!(store.put_many(values).await, vec![Err(StoreError::Unavailable); 2]);
}

#[tokio::test]
async fn a_batch_reply_of_the_wrong_length_fails_every_key() {
    let peer = fake(|command| match command {
        [mget, ..] if mget == "MGET" => b"*2\r\n$1\r\na\r\n$1\r\nb\r\n".to_vec(),
        _ => b"$-1\r\n".to_vec(),
    })
    .await;
    let (store, events) = open_ready(&peer, ROOMY).await;
    for count in [1, 40] {
        let found = store.get_many(&keys(count)).await;
        assert!(found.iter().all(|found| *found == Err(StoreError::Protocol)), "{found:?}");
        assert!(store.ready(PATIENCE).await);
    }
    assert_eq!(events.names(), ["lost", "back"].repeat(2));
}

#[tokio::test]
async fn a_hung_server_delays_a_batch_by_its_timeout_only() {
    let server = RedisServer::start();
    let (store, _) = open_ready(&server.url(), TIGHT).await;
    server.pause();
    for count in [20, 1000] {
        let values = keys(count).into_iter().map(|key| (key, Bytes::from(vec![0; 50_000]), MINUTE)).collect();
        let began = Instant::now();
        assert!(store.get_many(&keys(count)).await.iter().all(Result::is_err));
        assert!(store.put_many(values).await.iter().all(Result::is_err));
        // Twice the timeout, and what a busy machine adds. A timeout for each key would be 100 s.
        assert!(count < 1000 || began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
    server.resume();
    eventually("back", PATIENCE, async || store.get_many(&keys(3)).await.iter().all(Result::is_ok)).await;
}
