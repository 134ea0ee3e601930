//! An upstream at a socket file.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpStream, UnixListener},
};

use crate::support::{
    Script, Sidecache, Upstream, run,
    samples::{CHAT, chat, chat_answer},
};

/// Has `upstream` answer at `path`, too. Counts the connections.
fn at_socket(upstream: &Upstream, path: &Path) -> Arc<AtomicUsize> {
    let listener = UnixListener::bind(path).expect("a new file");
    let (count, target) = (Arc::new(AtomicUsize::new(0)), upstream.address());
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.expect("a connection");
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(target).await.expect("the upstream");
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    count
}

#[test]
fn an_upstream_at_a_socket_file_is_cached_and_its_connections_are_reused() {
    run(async {
        for closes in [false, true] {
            let dir = tempfile::tempdir().expect("a folder");
            let path = dir.path().join("service.sock");
            let script = Script::json(&chat_answer());
            let upstream = Upstream::always(if closes { script.close() } else { script }).await;
            let connections = at_socket(&upstream, &path);
            let url = format!("unix:{}", path.display());
            let sidecache = Sidecache::start(&url).await;
            let client = sidecache.client();
            for (target, turn) in [("/some", "PASS"), (CHAT, "MISS"), (CHAT, "HIT")] {
                let answer = client.post(target, &chat()).await;
                assert_eq!((answer.status, answer.cache(), answer.json()), (200, turn, chat_answer()));
            }
            assert_eq!(upstream.last().header("host"), Some("localhost"));
            for number in 0..40 {
                assert_eq!(client.get("/some").await.status, 200, "{number}, closes: {closes}");
            }
            let count = connections.load(Ordering::Relaxed);
            assert!(if closes { count >= 42 } else { count <= 6 }, "{count}, closes: {closes}");
            let health = sidecache.health().await;
            assert_eq!(
                (&health["upstream"]["url"], &health["upstream"]["reachable"]),
                (&json!(url), &json!(true))
            );
        }
    });
}

#[test]
fn a_socket_file_without_a_service_is_told_by_its_path() {
    run(async {
        let dir = tempfile::tempdir().expect("a folder");
        let url = format!("unix:{}/none.sock", dir.path().display());
        let sidecache = Sidecache::start(&url).await;
        let answer = sidecache.client().get("/some").await;
        let details = json!({"kind": "connect", "host": url});
        assert_eq!((answer.status, &answer.json()["details"]), (502, &details));
        assert_eq!(sidecache.health().await["upstream"]["reachable"], false);
    });
}
