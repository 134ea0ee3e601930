//! Fail-over: a master dies under load, and another server takes its place.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Client, Script, Sentinels, Setup, Sidecache, Upstream, eventually, measured, number_from, run_within,
};

const ASK: &str = "/api/v1/query";

/// Questions, each with a version that a change of its document raises.
const QUESTIONS: usize = 20;

/// A service whose answers name the question, and the version of its document.
struct Versions(Arc<Vec<AtomicU64>>);

impl Versions {
    async fn start() -> (Self, Upstream) {
        let versions: Arc<Vec<_>> = Arc::new((0..QUESTIONS).map(|_| AtomicU64::new(1)).collect());
        let known = Arc::clone(&versions);
        let upstream = Upstream::forgetful(move |request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let number = body["question"].as_u64().expect("a number") as usize;
            let version = known[number].load(Ordering::SeqCst);
            Script::json(&json!({
                "answer": format!("{number} in version {version}"),
                "sources": [{"document_id": format!("d{number}")}],
                "number": number,
                "version": version,
            }))
        })
        .await;
        (Self(versions), upstream)
    }

    fn raise(&self, number: usize) -> u64 {
        self.0[number].fetch_add(1, Ordering::SeqCst) + 1
    }
}

fn question(number: usize) -> Value {
    json!({"query": format!("question {number}"), "question": number})
}

/// Asks a question; the version of its answer, and whether it was a hit. Any other answer fails the test.
async fn ask(client: &Client, number: usize) -> (u64, bool) {
    let answer = client.post(ASK, &question(number)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["number"], number, "another question's answer");
    (body["version"].as_u64().expect("a version"), answer.cache() == "HIT")
}

/// Asks all questions in turn until it is told to stop; how many it asked.
async fn load(client: Client, stop: Arc<AtomicBool>) -> u64 {
    let mut asked = 0;
    while !stop.load(Ordering::Relaxed) {
        ask(&client, asked as usize % QUESTIONS).await;
        asked += 1;
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    asked
}

async fn start(upstream: &Upstream, url: &str, near: &str) -> Sidecache {
    let config = format!("[store]\nnear_memory = \"{near}\"\n");
    Setup::to(&upstream.url()).admin().config(&config).arguments(&["--redis", url]).start().await
}

/// Waits until a question is a hit at `sidecache`; a version older than `least` fails the test.
async fn hits_again(sidecache: &Sidecache, number: usize, least: u64) {
    let client = sidecache.client();
    eventually("hits are back", async || {
        let (version, is_hit) = ask(&client, number).await;
        assert!(version >= least, "question {number} in version {version}, and {least} is the present one");
        is_hit.then_some(())
    })
    .await;
}

#[test]
fn through_fail_overs_no_request_fails_and_hits_come_back() {
    let count = number_from("SIDECACHE_FAILOVERS", 1);
    run_within(Duration::from_secs(120 * count), async {
        let mut sentinels = Sentinels::start().await;
        let (versions, upstream) = Versions::start().await;
        let far = start(&upstream, &sentinels.url(), "0").await;
        let near = start(&upstream, &sentinels.url(), "16MiB").await;
        for round in 0..count as usize {
            hits_again(&far, 0, 1).await;
            let stop = Arc::new(AtomicBool::new(false));
            let loads: Vec<_> = [&far, &near]
                .map(|sidecache| tokio::spawn(load(sidecache.client(), Arc::clone(&stop))))
                .into_iter()
                .collect();
            let number = round % QUESTIONS;
            hits_again(&near, number, 1).await;
            let least = versions.raise(number);
            let purged = far.operator().post("/purge", &json!({"tag": format!("d{number}")})).await;
            assert_eq!(purged.status, 200, "{}", purged.text());
            let master = sentinels.master();
            sentinels.servers[master].kill();
            sentinels.next_master(master).await;
            let promoted = Instant::now();
            hits_again(&far, number, least).await;
            measured(format!("hits are back {:?} after the new master", promoted.elapsed()));
            hits_again(&near, number, least).await;
            stop.store(true, Ordering::Relaxed);
            for load in loads {
                assert!(load.await.expect("no request failed") > 0);
            }
            sentinels.come_back(master).await;
        }
        let health = far.health().await;
        assert_eq!(health["cache"]["connected"], true, "{health}");
    });
}
