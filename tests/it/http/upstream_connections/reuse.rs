//! Connections that a service keeps open are reused, and closed after a long idle time.

use std::time::{Duration, Instant};

use super::{Seen, before, bytes, kinds, retried};
use crate::support::{Gate, RawClient, Script, Setup, Upstream, eventually, measured, run, soon};

/// A service that keeps its connections open.
async fn keeping(seen: &Seen) -> Upstream {
    let seen = seen.clone();
    Upstream::serve(move |mut conn| {
        seen.connect();
        async move {
            while let Some(request) = conn.request().await {
                conn.send(bytes(&request)).await;
            }
        }
    })
    .await
}

#[test]
fn a_connection_is_reused_after_every_kind_of_request() {
    run(async {
        let seen = Seen::default();
        let upstream = keeping(&seen).await;
        let sidecache = before(&upstream.url()).await;
        let client = sidecache.client();
        for number in 0..10 {
            for kind in kinds() {
                assert_eq!(kind.ask(&client, number).await.status, 200, "{}", kind.name());
            }
        }
        let (asked, connections) = (10 * kinds().len(), seen.connections());
        measured(format_args!("{asked} requests over {connections} connections"));
        // Now and then a connection is not ready yet, because its task did not get to run.
        assert!(connections <= asked / 20, "{connections}");
        assert_eq!(retried(&sidecache).await, 0);
    });
}

#[test]
fn an_idle_connection_is_closed_before_servers_usually_do() {
    run(async {
        let answered = Gate::new();
        let opened = answered.clone();
        let (upstream, closed) = Upstream::until_closed(move |mut conn| {
            let answered = opened.clone();
            async move {
                let request = conn.head().await?;
                conn.send(bytes(&request)).await;
                answered.open();
                Some(conn)
            }
        })
        .await;
        let sidecache = before(&upstream.url()).await;
        assert_eq!(sidecache.client().get("/things").await.status, 200);
        answered.passed().await;
        let began = Instant::now();
        soon("the idle connection's end", closed.passed()).await;
        let idle = began.elapsed();
        assert!(idle > Duration::from_secs(3), "{idle:?}");
        measured(format_args!("closed after {idle:.1?}"));
    });
}

#[test]
fn an_answer_that_is_not_read_to_its_end_closes_its_connection() {
    run(async {
        let (upstream, closed) = Upstream::until_closed(|mut conn| async move {
            let request = conn.head().await?;
            if request.target != "/endless" {
                conn.send(bytes(&request)).await;
                return None;
            }
            conn.send(Script::chunked("text/plain").chunk("begun").bytes()).await;
            Some(conn)
        })
        .await;
        let config = "[limits]\nmax_upstream_requests = 1";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let mut raw = RawClient::connect(sidecache.address()).await;
        raw.send("GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
        raw.until("begun").await;
        drop(raw);
        soon("the connection's end", closed.passed()).await;
        eventually("a permit", async || {
            (sidecache.client().get("/things").await.status == 200).then_some(())
        })
        .await;
    });
}
