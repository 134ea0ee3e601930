//! Whatever way a service has of closing after its answers, all who may be asked twice are answered.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use super::{CONFIG, Kind, Seen, before, bytes, kinds, retried};
use crate::support::{Script, Setup, Sidecache, Upstream, measured, run};

/// What a service does after each answer.
#[derive(Clone, Copy, Debug)]
enum After {
    Closes(Duration),
    Resets(Duration),
    /// It has more to say, in one piece with the answer.
    Says(&'static str),
    /// It closes its own half, and reads on.
    ClosesHalf,
    /// It closes once the next request has come.
    ClosesOnRequest,
    /// It resets once the next request has begun to come.
    ResetsOnRequest,
}

const WAYS: [After; 10] = [
    After::Closes(Duration::ZERO),
    After::Closes(Duration::from_micros(100)),
    After::Closes(Duration::from_millis(2)),
    After::Resets(Duration::ZERO),
    After::Resets(Duration::from_micros(100)),
    After::Resets(Duration::from_millis(2)),
    After::Says("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong"),
    After::ClosesHalf,
    After::ClosesOnRequest,
    After::ResetsOnRequest,
];

async fn closing(after: After, seen: &Seen) -> Upstream {
    let seen = seen.clone();
    Upstream::serve(move |mut conn| {
        let seen = seen.clone();
        async move {
            let Some(mut request) = conn.head().await else { return };
            request.body = conn.body(&request).await;
            seen.note(&request, 0);
            let more = if let After::Says(more) = after { more } else { "" };
            conn.send([bytes(&request), more.into()].concat()).await;
            match after {
                After::Closes(pause) => passed(pause).await,
                After::Resets(pause) => {
                    passed(pause).await;
                    conn.play(Script::raw().reset()).await;
                }
                After::Says(_) => while !conn.some().await.is_empty() {},
                After::ClosesHalf => {
                    conn.close_half().await;
                    while !conn.some().await.is_empty() {}
                }
                After::ClosesOnRequest => {
                    let Some(next) = conn.head().await else { return };
                    conn.body(&next).await;
                    seen.note(&next, 1);
                }
                After::ResetsOnRequest => {
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

/// Asks several times; the number of those that got no answer.
async fn asked(sidecache: &Sidecache, kind: &Kind, numbers: &AtomicUsize, seen: &Seen) -> usize {
    let client = sidecache.client();
    let mut failed = 0;
    for _ in 0..3 {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let told = kind.ask(&client, number).await;
        let came = seen.of(number).len();
        let context = format!("{}: {} {:?}, came {came} times", kind.name(), told.status, told.text());
        assert!(!told.text().contains("wrong"), "{context}");
        if told.status == 200 {
            assert!((1..=if kind.is_safe { 2 } else { 1 }).contains(&came), "{context}");
        } else {
            assert!(told.status == 502 && !kind.is_safe && came <= 1, "{context}");
            failed += 1;
        }
    }
    failed
}

#[test]
fn all_who_may_be_asked_twice_are_answered() {
    run(async {
        for after in WAYS {
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
fn no_permit_is_lost() {
    run(async {
        for after in WAYS {
            let seen = Seen::default();
            let upstream = closing(after, &seen).await;
            let config = format!("{CONFIG}\n[limits]\nmax_upstream_requests = 1");
            let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
            let client = sidecache.client();
            for number in 0..100 {
                for kind in kinds().iter().step_by(6) {
                    let told = kind.ask(&client, number).await;
                    let context = format!("{after:?}, {}: {} {}", kind.name(), told.status, told.text());
                    assert!(told.status == 200 || (told.status == 502 && !kind.is_safe), "{context}");
                }
            }
            let health = sidecache.health().await;
            assert_eq!(health["limits"]["max_upstream_requests"], 0, "{after:?}: {health}");
        }
    });
}
