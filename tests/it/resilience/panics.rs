//! A handler that panics: only its own request is lost.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use sidecache::internals::server::{Preface, Server, Workers};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::support::{Client, eventually, measured, run};

/// `max_connections`.
const ROOM: usize = 4;

/// A server whose handler panics at the path `/panic`.
async fn fragile() -> (Client, Client, Server) {
    let server = Server {
        stats: Arc::default(),
        is_for_operators: false,
        max_connections: ROOM,
        header_timeout: Duration::from_secs(10),
        preface: Preface::default(),
        is_leaving: Arc::default(),
        stop: CancellationToken::new(),
        farewell: Duration::ZERO,
        tasks: TaskTracker::new(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let handle = |request: http::Request<_>, _| async move {
        assert_ne!(request.uri().path(), "/panic", "a fault, as this test wants it");
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"fine"))))
    };
    tokio::spawn(server.clone().run(listener, Arc::new(Workers::current()), handle));
    (Client::new(address), Client::h2c(address), server)
}

#[test]
fn a_panic_in_a_handler_fails_one_request_only() {
    run(async {
        let (http1, http2, server) = fragile().await;
        for client in [&http1, &http2] {
            // More than `max_connections`: a lost connection must free its place.
            for _ in 0..2 * ROOM {
                let lost = client.try_open("GET", "/panic", &[], "").await;
                assert!(lost.is_err(), "a handler that panicked has no answer");
                assert_eq!(client.get("/fine").await.text(), "fine");
            }
        }
        drop((http1, http2));
        server.stop.cancel();
        server.tasks.close();
        measured(format_args!("{} panics, as many answers in between", 4 * ROOM));
        eventually("no connection is left", async || server.tasks.is_empty().then_some(())).await;
    });
}
