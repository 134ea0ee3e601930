//! Servers that say wrong things of their cluster: calls fail in time, and nobody is asked without end.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{PATIENCE, ROOMY, fake_peers::fake, open};
use crate::support::eventually;
use sidecache::internals::store::StoreError;

/// The reply to `CLUSTER SLOTS` with these elements of the array.
fn slots(ranges: &[String]) -> Vec<u8> {
    format!("*{}\r\n{}", ranges.len(), ranges.concat()).into_bytes()
}

/// A range of slots with its master; `host` as it goes over the wire.
fn range(first: u32, last: u32, host: &str, port: &str) -> String {
    format!("*3\r\n:{first}\r\n:{last}\r\n*3\r\n{host}:{port}\r\n$1\r\ni\r\n")
}

fn text(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A cluster whose one server gives `reply` to `CLUSTER SLOTS`, and to all else that it has moved to itself.
async fn moving(reply: impl Fn(u16) -> Vec<u8> + Send + Sync + 'static) -> (String, Arc<AtomicU64>) {
    let asked = Arc::<AtomicU64>::default();
    let (count, port) = (Arc::clone(&asked), Arc::<AtomicU64>::default());
    let own = Arc::clone(&port);
    let url = fake(move |command| {
        let port = own.load(Ordering::SeqCst) as u16;
        match &*command[0] {
            "CLUSTER" => reply(port),
            "GET" if command[1].contains(":probe") => b"$-1\r\n".to_vec(),
            "GET" => {
                count.fetch_add(1, Ordering::SeqCst);
                format!("-MOVED 1 127.0.0.1:{port}\r\n").into_bytes()
            }
            _ => b":0\r\n".to_vec(),
        }
    })
    .await;
    let number = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    port.store(number, Ordering::SeqCst);
    (url.replace("redis://", "redis+cluster://"), asked)
}

#[tokio::test]
async fn a_key_that_moves_in_a_circle_is_asked_for_twice() {
    let (url, asked) = moving(|port| slots(&[range(0, 16_383, &text("127.0.0.1"), &port.to_string())])).await;
    let (store, _) = open(&url, ROOMY);
    eventually("connected", async || store.connected().then_some(())).await;
    assert_eq!(store.get("ns:k").await, Err(StoreError::Moved));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert!(store.connected(), "other keys are of use");
}

#[tokio::test]
async fn a_server_that_does_not_know_its_own_host_is_the_one_that_was_asked() {
    for host in ["$0\r\n\r\n", "$-1\r\n", "$1\r\n?\r\n"] {
        let (url, _) = moving(move |port| slots(&[range(0, 16_383, host, &port.to_string())])).await;
        let (store, _) = open(&url, ROOMY);
        eventually("connected", async || store.connected().then_some(())).await;
    }
}

#[tokio::test]
async fn replies_that_cannot_be_are_refused() {
    let many = (0..16_384).map(|slot| range(slot, slot, &text(&format!("h{slot}")), "1"));
    let many: Vec<_> = many.collect();
    let host = || text("127.0.0.1");
    for reply in [
        b"$-1\r\n".to_vec(),
        b"*-1\r\n".to_vec(),
        b"*1\r\n$-1\r\n".to_vec(),
        b"*1\r\n*1\r\n:0\r\n".to_vec(),
        slots(&[range(0, 16_384, &host(), "1")]),
        slots(&[range(5, 4, &host(), "1")]),
        slots(&[range(0, 16_383, &host(), "65536")]),
        slots(&[range(0, 16_383, &host(), "0")]),
        slots(&many),
    ] {
        let length = reply.len();
        let (url, _) = moving(move |_| reply.clone()).await;
        let (store, _) = open(&url, ROOMY);
        eventually("the reason", async || store.last_error()).await;
        assert_eq!(store.get("ns:k").await, Err(StoreError::Unavailable), "a reply of {length} bytes");
        assert!(!store.ready(PATIENCE / 1000).await);
    }
}
