//! A cluster: entries are on all its masters, one shard that is gone costs only its own keys, and slots may move.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::versions::{self, Load, Versions, start as start_at};
use crate::support::{
    Client, Cluster, Script, Sidecache, Upstream, eventually, eventually_within, measured, run, run_within,
};

const ASK: &str = "/api/v1/query";

const QUESTIONS: usize = 60;

/// The server with this key has the invalidation log.
const LOG: &str = "sidecache:_:{retired}:stream";

/// A service whose answers say what was asked.
async fn echo() -> Upstream {
    Upstream::forgetful(|request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        Script::json(&json!({"answer": body["query"], "sources": [{"document_id": "d1"}]}))
    })
    .await
}

async fn start(upstream: &Upstream, cluster: &Cluster, near: &str) -> Sidecache {
    start_at(upstream, &cluster.url(), near).await
}

/// Asks a question; whether it was a hit, and its key.
async fn ask(client: &Client, number: usize) -> (bool, String) {
    let question = format!("question {number}");
    let answer = client.post(ASK, &json!({"query": question})).await;
    assert_eq!((answer.status, &answer.json()["answer"]), (200, &json!(question)));
    (answer.cache() == "HIT", answer.key())
}

/// Asks all questions; how many were hits.
async fn hits(client: &Client) -> usize {
    let mut hits = 0;
    for number in 0..QUESTIONS {
        hits += usize::from(ask(client, number).await.0);
    }
    hits
}

async fn until_all_hit(client: &Client) {
    eventually("all are hits", async || (hits(client).await == QUESTIONS).then_some(())).await;
}

#[test]
fn entries_are_on_all_masters_and_are_listed_and_purged_there() {
    run(async {
        let (cluster, upstream) = (Cluster::start().await, echo().await);
        let sidecache = start(&upstream, &cluster, "0").await;
        let client = sidecache.client();
        until_all_hit(&client).await;
        let on_masters = cluster.entries("sidecache");
        assert_eq!(on_masters.len(), 3);
        assert!(on_masters.iter().all(|entries| !entries.is_empty()), "{on_masters:?}");
        let all: BTreeSet<_> = on_masters.concat().into_iter().collect();
        assert_eq!(all.len(), QUESTIONS);
        eventually("all are counted", async || {
            let health = sidecache.health().await;
            (health["cache"]["total_keys"] == QUESTIONS).then_some(())
        })
        .await;
        let operator = sidecache.operator();
        let listed = operator.get("/entries?limit=1000").await.json();
        assert_eq!(listed["entries"].as_array().map(Vec::len), Some(QUESTIONS));
        let purged = operator.post("/purge", &json!({"tag": "d1"})).await;
        assert_eq!(purged.status, 200, "{}", purged.text());
        // The response waits no longer than a second for the sweep.
        let is_empty = async || cluster.entries("sidecache").concat().is_empty().then_some(());
        eventually("all were removed", is_empty).await;
        assert_eq!(hits(&client).await, 0);
    });
}

#[test]
fn what_one_replica_writes_and_invalidates_the_other_knows() {
    run(async {
        let (cluster, upstream) = (Cluster::start().await, echo().await);
        let [one, other] =
            [start(&upstream, &cluster, "16MiB").await, start(&upstream, &cluster, "16MiB").await];
        until_all_hit(&one.client()).await;
        assert_eq!(hits(&other.client()).await, QUESTIONS, "one store for both");
        let purged = one.operator().post("/purge", &json!({"tag": "d1"})).await;
        assert_eq!(purged.status, 200);
        // The other one has all of them near.
        eventually("the other one knows", async || (!ask(&other.client(), 0).await.0).then_some(())).await;
        assert_eq!(hits(&other.client()).await, 1, "all but the one just asked again");
    });
}

#[test]
fn a_shard_that_hangs_costs_its_own_keys_only() {
    run(async {
        let (cluster, upstream) = (Cluster::start().await, echo().await);
        let sidecache = start(&upstream, &cluster, "0").await;
        let client = sidecache.client();
        until_all_hit(&client).await;
        // Not the one that has the log, without which nothing is known to be valid.
        let log = cluster.master_of(LOG);
        let mut keys = Vec::new();
        for number in 0..QUESTIONS {
            keys.push(ask(&client, number).await.1);
        }
        let hung =
            (0..QUESTIONS).map(|number| cluster.master_of(&keys[number])).find(|server| *server != log);
        let hung = hung.expect("a shard without the log");
        let of_others: Vec<_> =
            (0..QUESTIONS).filter(|number| cluster.master_of(&keys[*number]) != hung).collect();
        cluster.servers[hung].pause();
        for number in of_others {
            assert!(ask(&client, number).await.0, "question {number} is on another shard");
        }
        cluster.servers[hung].resume();
        cluster.whole().await;
        until_all_hit(&client).await;
    });
}

#[test]
fn when_a_master_dies_its_replica_takes_over() {
    run_within(Duration::from_secs(180), async {
        let (mut cluster, upstream) = (Cluster::start().await, echo().await);
        let sidecache = start(&upstream, &cluster, "0").await;
        let client = sidecache.client();
        until_all_hit(&client).await;
        // The one with the log: the hardest.
        let master = cluster.master_of(LOG);
        cluster.servers[master].kill();
        until_all_hit(&client).await;
        sidecache.log.lifecycle("Cache store back").await;
        let health = sidecache.health().await;
        assert_eq!(health["cache"]["connected"], true, "{health}");
    });
}

#[test]
fn a_shard_with_the_log_that_hangs_fails_no_request() {
    run_within(Duration::from_secs(180), async {
        let (cluster, (versions, upstream)) = (Cluster::start().await, Versions::start().await);
        let (one, other) = (start(&upstream, &cluster, "0").await, start(&upstream, &cluster, "16MiB").await);
        versions::hits_again(&one, 0, 1).await;
        let load = Load::start(&versions, [&one, &other]);
        let hung = cluster.master_of(LOG);
        cluster.servers[hung].pause();
        cluster.next_master(LOG).await;
        versions::hits_again(&one, 0, 1).await;
        // It still takes itself for the master when it goes on.
        cluster.servers[hung].resume();
        let least = versions.change(0, &one).await;
        versions::hits_again(&one, 0, least).await;
        versions::hits_again(&other, 0, least).await;
        cluster.whole().await;
        load.end().await;
    });
}

#[test]
fn a_master_that_is_demoted_keeps_its_connections_and_is_not_asked_any_more() {
    run_within(Duration::from_secs(180), async {
        let (cluster, (versions, upstream)) = (Cluster::start().await, Versions::start().await);
        let (one, other) = (start(&upstream, &cluster, "0").await, start(&upstream, &cluster, "16MiB").await);
        versions::hits_again(&one, 0, 1).await;
        let load = Load::start(&versions, [&one, &other]);
        let before = cluster.master_of(LOG);
        cluster.take_over(before);
        let is_another = async || (cluster.master_of(LOG) != before).then_some(());
        eventually("another master", is_another).await;
        let least = versions.change(0, &one).await;
        versions::hits_again(&one, 0, least).await;
        versions::hits_again(&other, 0, least).await;
        load.end().await;
    });
}

#[test]
fn slots_may_move_under_load() {
    run_within(Duration::from_secs(600), async {
        let (cluster, (versions, upstream)) = (Cluster::start().await, Versions::start().await);
        let (one, other) = (start(&upstream, &cluster, "0").await, start(&upstream, &cluster, "16MiB").await);
        versions::hits_again(&one, 0, 1).await;
        let load = Load::start(&versions, [&one, &other]);
        let id = |place: usize| cluster.servers[place].cli(&["CLUSTER", "MYID"]);
        let from = cluster.master_of(LOG);
        let to = (0..3).find(|place| *place != from).expect("another master");
        let host = format!("127.0.0.1:{}", cluster.servers[from].port());
        let reshard = ["--cluster", "reshard", &host, "--cluster-from", &id(from), "--cluster-to", &id(to)];
        let reshard: Vec<_> =
            reshard.into_iter().chain(["--cluster-slots", "4096", "--cluster-yes"]).collect();
        let reshard: Vec<_> = reshard.into_iter().map(str::to_owned).collect();
        let tool = std::thread::spawn(move || std::process::Command::new("redis-cli").args(reshard).output());
        // The tool makes a call or two for each slot, which takes long on a busy machine.
        let limit = Duration::from_secs(480);
        eventually_within(limit, "all slots have moved", async || tool.is_finished().then_some(())).await;
        let done = tool.join().expect("no panic").expect("redis-cli runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        let least = versions.change(0, &one).await;
        versions::hits_again(&one, 0, least).await;
        versions::hits_again(&other, 0, least).await;
        let (asked, changed) = load.end().await;
        measured(format!("4,096 slots moved, {asked} requests, none failed, {changed} changes"));
    });
}
