//! However a service closes its connections after an answer, every repeatable request is answered.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use super::{CONFIG, Kind, Seen, before, bytes, kinds, retried};
use crate::support::{Script, Setup, Sidecache, Upstream, measured, run};

/// What a service does after each answer.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Closes(Duration),
    Resets(Duration),
    /// Sends more bytes in one piece with the answer.
    Says(&'static str),
    /// Closes its own half, and reads on.
    ClosesHalf,
    /// Closes after the next request has arrived.
    ClosesOnRequest,
    /// Resets after the next request has begun to arrive.
    ResetsOnRequest,
}

const ALL_ENDINGS: [Ending; 10] = [
    Ending::Closes(Duration::ZERO),
    Ending::Closes(Duration::from_micros(100)),
    Ending::Closes(Duration::from_millis(2)),
    Ending::Resets(Duration::ZERO),
    Ending::Resets(Duration::from_micros(100)),
    Ending::Resets(Duration::from_millis(2)),
    Ending::Says("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong"),
    Ending::ClosesHalf,
    Ending::ClosesOnRequest,
    Ending::ResetsOnRequest,
];

async fn closing(after: Ending, seen: &Seen) -> Upstream {
    let seen = seen.clone();
    Upstream::serve(move |mut conn| {
        let seen = seen.clone();
        async move {
            let Some(request) = conn.request().await else { return };
            seen.note(&request, 0);
            let more = if let Ending::Says(more) = after { more } else { "" };
            conn.send([bytes(&request), more.into()].concat()).await;
            match after {
                Ending::Closes(pause) => passed(pause).await,
                Ending::Resets(pause) => {
                    passed(pause).await;
                    conn.play(Script::raw().reset()).await;
                }
                Ending::Says(_) => conn.drain().await,
                Ending::ClosesHalf => {
                    conn.close_half().await;
                    conn.drain().await;
                }
                Ending::ClosesOnRequest => {
                    let Some(next) = conn.request().await else { return };
                    seen.note(&next, 1);
                }
                Ending::ResetsOnRequest => {
                    conn.some().await;
                    conn.play(Script::raw().reset()).await;
                }
            }
        }
    })
    .await
}

/// Waits more finely than the runtime's timer.
async fn passed(pause: Duration) {
    let began = Instant::now();
    while began.elapsed() < pause {
        tokio::task::yield_now().await;
    }
}

/// Sends several requests; returns how many got no answer.
async fn asked(sidecache: &Sidecache, kind: &Kind, numbers: &AtomicUsize, seen: &Seen) -> usize {
    let client = sidecache.client();
    let mut failed = 0;
    for _ in 0..3 {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let received = kind.ask(&client, number).await;
        let came = seen.of(number).len();
        let context =
            format!("{}: {} {:?}, came {came} times", kind.name(), received.status, received.text());
        assert!(!received.text().contains("wrong"), "{context}");
        if received.status == 200 {
            assert!((1..=if kind.is_safe { 2 } else { 1 }).contains(&came), "{context}");
        } else {
            assert!(received.status == 502 && !kind.is_safe && came <= 1, "{context}");
            failed += 1;
        }
    }
    failed
}

#[test]
fn every_repeatable_request_is_answered_however_the_service_closes() {
    run(async {
        for after in ALL_ENDINGS {
            let seen = Seen::default();
            let upstream = closing(after, &seen).await;
            let sidecache = before(&upstream.url()).await;
            let numbers = AtomicUsize::new(0);
            let mut failed = 0;
            for kind in kinds() {
                let ask = || asked(&sidecache, &kind, &numbers, &seen);
                let counts = tokio::join!(ask(), ask(), ask(), ask());
                failed += counts.0 + counts.1 + counts.2 + counts.3;
            }
            let all = numbers.into_inner();
            measured(format_args!(
                "{after:?}: {all} asked, {} sent again, {failed} that may not be",
                retried(&sidecache).await
            ));
        }
    });
}

#[test]
fn no_upstream_permit_is_lost_however_the_service_closes() {
    run(async {
        for after in ALL_ENDINGS {
            let seen = Seen::default();
            let upstream = closing(after, &seen).await;
            let config = format!("{CONFIG}\n[limits]\nmax_upstream_requests = 1");
            let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
            let client = sidecache.client();
            for number in 0..100 {
                for kind in kinds().iter().step_by(6) {
                    let received = kind.ask(&client, number).await;
                    let context =
                        format!("{after:?}, {}: {} {}", kind.name(), received.status, received.text());
                    assert!(received.status == 200 || (received.status == 502 && !kind.is_safe), "{context}");
                }
            }
            let health = sidecache.health().await;
            assert_eq!(health["limits"]["max_upstream_requests"], 0, "{after:?}: {health}");
        }
    });
}
