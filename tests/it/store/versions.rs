//! Questions whose answers change, and a load that fails at the first wrong, failed or invalidated answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{Client, Script, Setup, Sidecache, Upstream, eventually};

pub(super) const ASK: &str = "/api/v1/query";

/// Questions, each with a version that a change of its document raises.
pub(super) const QUESTIONS: usize = 20;

/// Those that [`Load`] changes itself.
const CHANGING: usize = 5;

/// Clients of each replica.
const CLIENTS: usize = 3;

/// So long another replica may not have heard of an invalidation, if a master died that had told only one of them.
const UNHEARD: Duration = Duration::from_secs(5);

/// A service whose answers name the question, and the version of its document.
#[derive(Clone)]
pub(super) struct Versions(Arc<Vec<AtomicU64>>);

impl Versions {
    pub(super) async fn start() -> (Self, Upstream) {
        let versions = Self(Arc::new((0..QUESTIONS).map(|_| AtomicU64::new(1)).collect()));
        let known = versions.clone();
        let upstream = Upstream::forgetful(move |request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let number = body["question"].as_u64().expect("a number") as usize;
            let version = known.now(number);
            Script::json(&json!({
                "answer": format!("{number} in version {version}"),
                "sources": [{"document_id": format!("d{number}")}],
                "number": number,
                "version": version,
            }))
        })
        .await;
        (versions, upstream)
    }

    pub(super) fn now(&self, number: usize) -> u64 {
        self.0[number].load(Ordering::SeqCst)
    }

    pub(super) fn raise(&self, number: usize) -> u64 {
        self.0[number].fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Changes a document, and invalidates its answers at `sidecache`; the version from now on. While no master has the
    /// log, an operator gets a 503, and tries again.
    pub(super) async fn change(&self, number: usize, sidecache: &Sidecache) -> u64 {
        let version = self.raise(number);
        eventually("the purge is done", async || {
            let purged = sidecache.operator().post("/purge", &json!({"tag": format!("d{number}")})).await;
            assert!(matches!(purged.status, 200 | 503), "{}", purged.text());
            (purged.status == 200).then_some(())
        })
        .await;
        version
    }
}

/// Asks a question; the version of its answer, and whether it was a hit. Any other answer fails the test.
pub(super) async fn ask(client: &Client, number: usize) -> (u64, bool) {
    let question = json!({"query": format!("question {number}"), "question": number});
    let answer = client.post(ASK, &question).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["number"], number, "another question's answer");
    (body["version"].as_u64().expect("a version"), answer.cache() == "HIT")
}

pub(super) async fn start(upstream: &Upstream, url: &str, near: &str) -> Sidecache {
    let config = format!("[store]\nnear_memory = \"{near}\"\n");
    Setup::to(&upstream.url()).admin().config(&config).arguments(&["--redis", url]).start().await
}

/// Waits until a question is a hit at `sidecache`; a version older than `least` fails the test.
pub(super) async fn hits_again(sidecache: &Sidecache, number: usize, least: u64) {
    let client = sidecache.client();
    eventually("hits are back", async || {
        let (version, is_hit) = ask(&client, number).await;
        assert!(version >= least, "question {number} in version {version}, and {least} is the present one");
        is_hit.then_some(())
    })
    .await;
}

/// Some hundred questions a second to each of two replicas, as fast as they come, and 20 changes a second of the last
/// questions, by way of the first replica.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<u64>>,
    changes: JoinHandle<u64>,
}

impl Load {
    pub(super) fn start(versions: &Versions, replicas: [&Sidecache; 2]) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let known = Arc::new(Known::default());
        let load = |(place, sidecache): (usize, &Sidecache)| {
            let asking =
                Asking { client: sidecache.client(), is_first: place == 0, known: Arc::clone(&known) };
            tokio::spawn(asking.run(Arc::clone(&stop)))
        };
        let clients = replicas.into_iter().enumerate().flat_map(|replica| [replica; CLIENTS]);
        let tasks = clients.map(load).collect();
        let changes = change(versions.clone(), replicas[0].operator(), Arc::clone(&known), Arc::clone(&stop));
        Self { stop: Arc::clone(&stop), tasks, changes: tokio::spawn(changes) }
    }

    /// Ends it: how many questions were asked, and how many changes were made.
    pub(super) async fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let mut asked = 0;
        for task in self.tasks {
            asked += task.await.expect("no answer was wrong, failed or invalidated");
        }
        (asked, self.changes.await.expect("every change was taken"))
    }
}

/// The versions that the replicas are known to have heard of.
#[derive(Default)]
struct Known {
    /// By the replica that takes the changes.
    first: [AtomicU64; QUESTIONS],
    /// By the other one.
    other: [AtomicU64; QUESTIONS],
}

struct Asking {
    client: Client,
    is_first: bool,
    known: Arc<Known>,
}

impl Asking {
    async fn run(self, stop: Arc<AtomicBool>) -> u64 {
        let mut asked = 0;
        while !stop.load(Ordering::Relaxed) {
            let number = asked as usize % QUESTIONS;
            let known = if self.is_first { &self.known.first } else { &self.known.other };
            let least = known[number].load(Ordering::SeqCst);
            let (version, _) = ask(&self.client, number).await;
            assert!(version >= least, "question {number}: version {version} after {least} was invalidated");
            asked += 1;
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        asked
    }
}

/// Changes the last questions in turn; how many changes that were.
async fn change(versions: Versions, operator: Client, known: Arc<Known>, stop: Arc<AtomicBool>) -> u64 {
    let mut changes = 0;
    let mut unheard = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = QUESTIONS - 1 - changes as usize % CHANGING;
        let version = versions.raise(number);
        // If Redis is away, it holds at this replica all the same.
        operator.post("/purge", &json!({"tag": format!("d{number}")})).await;
        known.first[number].fetch_max(version, Ordering::SeqCst);
        unheard.push((Instant::now(), number, version));
        unheard.retain(|(at, number, version)| {
            let is_unheard = at.elapsed() < UNHEARD;
            if !is_unheard {
                known.other[*number].fetch_max(*version, Ordering::SeqCst);
            }
            is_unheard
        });
        changes += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    changes
}
