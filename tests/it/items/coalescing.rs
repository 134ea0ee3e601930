//! The same documents from several callers at the same moment make one upstream call.

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    PER_ITEM,
    api::Api,
    documents,
    fake_service::{self, Fault},
    uncached,
};
use crate::support::{Answer, Gate, RedisServer, Setup, Sidecache, Upstream, eventually, run, soon};

const TARGET: &str = "/v2/rerank";

/// A service that answers requests with a document `slow` once the gate is open.
async fn slow(gate: &Gate) -> Upstream {
    Upstream::slow(gate, |request| fake_service::answer(request, Fault::None)).await
}

fn asking(sidecache: &Sidecache, id: &'static str, body: &Value) -> JoinHandle<Answer> {
    sidecache.asking(TARGET, id, body)
}

/// The answer, which must be right, and bill for these documents.
async fn received(asked: JoinHandle<Answer>, body: &Value, billed: &[&str]) -> String {
    let answer = soon("an answer", asked).await.expect("no panic");
    let billed: Vec<_> = billed.iter().map(|text| json!(text)).collect();
    assert_eq!((answer.status, answer.text()), (200, uncached(Api::CohereRerank, body, &billed)));
    answer.cache().to_owned()
}

#[test]
fn requests_that_lack_the_same_documents_make_one_call() {
    run(async {
        let go = Gate::new();
        let upstream = slow(&go).await;
        let sidecache = Setup::to(&upstream.url()).config(PER_ITEM).start().await;
        sidecache.client().post(TARGET, &documents(&["a", "b"])).await;
        let limited = |names: &[&str], limit: u8| {
            let mut body = documents(names);
            body["top_n"] = json!(limit);
            body
        };
        let bodies = [
            documents(&["slow 1", "a", "slow 2"]),
            limited(&["b", "slow 1", "slow 2", "slow 1"], 3),
            limited(&["slow 1", "slow 2"], 1),
            limited(&["slow 1", "slow 2"], 2),
        ];
        let leader = asking(&sidecache, "leader", &bodies[0]);
        eventually("the call", async || (upstream.calls() == 2).then_some(())).await;
        let ids = ["repeats", "one", "two"];
        let others = [1, 2, 3].map(|at| asking(&sidecache, ids[at - 1], &bodies[at]));
        for id in ids {
            sidecache.log.looked_up(id).await;
        }
        for _ in 0..5 {
            sidecache.health().await;
        }
        go.open();
        let billed = ["slow 1", "slow 2"];
        assert_eq!(received(leader, &bodies[0], &billed).await, "PARTIAL");
        for ((asked, body), expected) in
            others.into_iter().zip(&bodies[1..]).zip(["PARTIAL", "COALESCED", "COALESCED"])
        {
            assert_eq!(received(asked, body, &billed).await, expected, "{body}");
        }
        assert_eq!(upstream.calls(), 2);
        assert_eq!(sidecache.health().await["cache"]["coalesced"], 3);
    });
}

#[test]
fn two_replicas_make_one_call_for_the_same_documents() {
    run(async {
        for names in [&["slow 1", "slow 2"][..], &["slow"]] {
            let (go, redis) = (Gate::new(), RedisServer::start());
            let upstream = slow(&go).await;
            let replica = || {
                let setup = Setup::to(&upstream.url()).arguments(&["--redis", &redis.url()]);
                let setup = setup.env("CACHE_NEAR_MEMORY", "0").config(PER_ITEM);
                setup.config("[store]\ntimeout = \"5s\"").start()
            };
            let (one, two) = (replica().await, replica().await);
            let body = documents(names);
            let leader = asking(&one, "leader", &body);
            eventually("the call", async || (upstream.calls() == 1).then_some(())).await;
            let follower = asking(&two, "follower", &body);
            two.log.looked_up("follower").await;
            go.open();
            assert_eq!(received(leader, &body, names).await, "MISS");
            assert_eq!(received(follower, &body, &[]).await, "COALESCED");
            assert_eq!(upstream.calls(), 1);
        }
    });
}
