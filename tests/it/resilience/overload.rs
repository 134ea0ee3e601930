//! A hundred times more requests than can be served: the others get a 503 at once, and afterwards all is as
//! before.

use super::{answer, question};
use crate::support::{
    Gate, Received, Script, Setup, Sidecache, Upstream, eventually, measured, number_from, run, run_within,
    samples::CHAT, soon,
};

/// `max_upstream_requests`.
const ROOM: usize = 8;

/// An upstream that holds back every answer, and a sidecache with that limit.
async fn crowded(go: &Gate) -> (Upstream, Sidecache) {
    let held = go.clone();
    let upstream = Upstream::start(move |request: &Received| {
        Script::raw().wait(&held).then(Script::json(&answer(&request.json())))
    })
    .await;
    let config = format!("[limits]\nmax_upstream_requests = {ROOM}");
    let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
    (upstream, sidecache)
}

#[test]
fn requests_beyond_the_limit_get_a_503_at_once_and_others_are_served() {
    run(async {
        let go = Gate::new();
        let (upstream, sidecache) = crowded(&go).await;
        let served: Vec<_> = (0..ROOM)
            .map(|number| {
                let client = sidecache.client();
                tokio::spawn(async move { client.post(CHAT, &question(number)).await })
            })
            .collect();
        eventually("full", async || (upstream.calls() == ROOM).then_some(())).await;
        // All permits are taken until the gate opens, so each of these must be answered at once.
        let crowd: Vec<_> = (0..100)
            .map(|asker| {
                let client = sidecache.client();
                tokio::spawn(async move {
                    for turn in 0..ROOM {
                        let received = client.post(CHAT, &question(1000 + asker * ROOM + turn)).await;
                        assert_eq!((received.status, received.header("retry-after")), (503, "1"));
                        assert_eq!(received.json()["error"], "OverloadedException");
                    }
                })
            })
            .collect();
        for asker in crowd {
            soon("refused", asker).await.expect("the right refusal");
        }
        assert_eq!(upstream.calls(), ROOM);
        let refused = sidecache.health().await["limits"]["max_upstream_requests"].clone();
        assert_eq!(refused, 100 * ROOM);
        measured(format_args!("{refused} refused while {ROOM} wait, then all served"));
        go.open();
        for (number, one) in served.into_iter().enumerate() {
            let received = one.await.expect("an answer");
            assert_eq!((received.status, received.json()), (200, answer(&question(number))));
        }
        // Then there is room for the same number again, also for the rejected ones.
        for number in (0..ROOM).chain(1000..1100) {
            let received = sidecache.client().post(CHAT, &question(number)).await;
            assert_eq!((received.status, received.json()), (200, answer(&question(number))));
        }
    });
}

/// Ten million by hand: `SIDECACHE_KEYS=10000000 cargo test --release --test it distinct`.
#[test]
fn memory_stays_bounded_with_any_number_of_distinct_keys() {
    let keys = number_from("SIDECACHE_KEYS", 8_000);
    run_within(std::time::Duration::from_secs(90 + keys / 500), async move {
        let upstream = Upstream::forgetful(|request| {
            Script::json(&serde_json::json!({"at": request.target, "text": "x".repeat(2000)}))
        })
        .await;
        let sidecache = Setup::to(&upstream.url())
            .arguments(&["--max-memory", "2MiB", "--log-level", "ERROR"])
            .after("exec >/dev/null")
            .start_silent()
            .await;
        let ask = async |from: u64, to: u64| {
            let askers: Vec<_> = (0..8)
                .map(|asker| {
                    let client = sidecache.client();
                    tokio::spawn(async move {
                        for number in (from..to).filter(|number| number % 8 == asker) {
                            let received = client.get(&format!("/api/v1/documents/{number}")).await;
                            assert_eq!((received.status, received.cache()), (200, "MISS"));
                        }
                    })
                })
                .collect();
            for asker in askers {
                asker.await.expect("answers");
            }
        };
        // Enough to fill the store.
        ask(0, keys / 4).await;
        let full = sidecache.memory();
        ask(keys / 4, keys).await;
        let after = sidecache.memory();
        assert!(after < full + 16 * 1024, "{full} KiB, then {after} KiB");
        measured(format_args!("{keys} keys: {full} KiB after a quarter, {after} KiB at the end"));
        let health = sidecache.health().await;
        let kept = health["cache"]["total_keys"].as_u64().expect("a count");
        // 2 MiB of 2 KiB each, which are evicted a little later.
        assert!((100..2000).contains(&kept), "{kept}");
    });
}
