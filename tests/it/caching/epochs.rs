//! `epoch`: with another one, nothing stored is found; with the former one, what was stored in it.

use serde_json::{Value, json};

use crate::support::{
    Client, RedisServer, Script, Setup, Sidecache, Upstream, eventually, run, samples::cases,
};

const DOCUMENT: &str = "/api/v1/documents/42";

/// By what the service says itself, under `mode = "rfc9111"`.
const FOLLOWED: &str = "/followed/7";

/// The configuration in an epoch, or in none.
fn config(epoch: Option<&str>) -> String {
    let epoch = epoch.map(|epoch| format!("epoch = \"{epoch}\"\n")).unwrap_or_default();
    format!(
        "{epoch}store.timeout = \"5s\"\n[[route]]\nmatch = \"GET /followed/{{id}}\"\nkind = \"other\"\nmode = \"rfc9111\""
    )
}

/// A service that answers everything that [`ask_all`] asks.
async fn service() -> Upstream {
    let answers: Vec<_> = cases().into_iter().map(|case| (case.target, case.answer)).collect();
    Upstream::start(move |request| {
        let known = answers.iter().find(|(target, _)| *target == request.target);
        let answer = known.map_or_else(|| json!({"id": "42"}), |(_, answer)| answer.clone());
        Script::json_with(200, &[("cache-control", "max-age=600")], &answer)
    })
    .await
}

/// Asks something of every kind, over one connection, and returns what came of each.
async fn ask_all(client: &Client) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    for case in cases() {
        all.push((case.target, client.post(case.target, &case.question).await.cache().to_owned()));
    }
    for target in [DOCUMENT, "/api/v1/conversations/7", FOLLOWED] {
        all.push((target, client.get(target).await.cache().to_owned()));
    }
    all
}

#[track_caller]
fn assert_all(received: &[(&'static str, String)], wanted: &str) {
    assert!(received.iter().all(|(_, cache)| cache == wanted), "not all are {wanted}: {received:?}");
}

async fn reload(sidecache: &Sidecache, epoch: Option<&str>, times: usize) {
    sidecache.reconfigure(&config(epoch));
    eventually("reloaded", async || {
        let is = |line: &Value| line["message"] == "reloaded";
        sidecache.log.all().into_iter().filter(is).nth(times - 1)
    })
    .await;
}

async fn each_epoch_has_its_own_answers(setup: impl Fn(Setup) -> Setup) {
    let upstream = service().await;
    let sidecache = setup(Setup::to(&upstream.url()).config(&config(None))).start().await;
    let client = sidecache.client();
    let count = cases().len() + 3;
    // No epoch is one of its own, and what was stored before there were any stays.
    for (number, epoch) in [None, Some("2"), Some("3")].into_iter().enumerate() {
        if number > 0 {
            reload(&sidecache, epoch, number).await;
        }
        assert_all(&ask_all(&client).await, "MISS");
        // Redis may still be writing when the response goes out.
        sidecache.log.stored(count * (number + 1)).await;
        assert_all(&ask_all(&client).await, "HIT");
    }
    let calls = upstream.calls();
    for (number, epoch) in [(3, Some("2")), (4, None), (5, Some("3"))] {
        reload(&sidecache, epoch, number).await;
        assert_all(&ask_all(&client).await, "HIT");
    }
    assert_eq!(upstream.calls(), calls);
    // What changes a document counts in all epochs.
    assert_eq!(client.request("PUT", DOCUMENT, &[], "{}").await.status, 200);
    reload(&sidecache, Some("2"), 6).await;
    assert_eq!(client.get(DOCUMENT).await.cache(), "MISS");
}

#[test]
fn each_epoch_has_its_own_answers_in_memory() {
    run(each_epoch_has_its_own_answers(|setup| setup));
}

#[test]
fn each_epoch_has_its_own_answers_in_redis() {
    let redis = RedisServer::start();
    run(each_epoch_has_its_own_answers(|setup| {
        setup.arguments(&["--redis", &redis.url()]).env("CACHE_NEAR_MEMORY", "0")
    }));
}

/// With an encryption key, too: the epoch is under the name that Redis sees.
#[test]
fn each_epoch_has_its_own_answers_under_encryption() {
    let redis = RedisServer::start();
    run(each_epoch_has_its_own_answers(|setup| {
        setup.arguments(&["--redis", &redis.url()]).env("CACHE_ENCRYPTION_KEY", &"0".repeat(64))
    }));
}
