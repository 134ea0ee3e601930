//! The same inputs from several callers at the same moment make one upstream call.

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    asked, assert_vectors,
    fake_service::{self, Behavior, OPENAI},
    texts,
};
use crate::support::{Answer, Gate, RedisServer, Setup, Sidecache, Upstream, eventually, run, soon};

/// A service that answers requests with a text `slow` once the gate is open.
async fn slow(gate: &Gate) -> Upstream {
    Upstream::slow(gate, |request| fake_service::answer(request, Behavior::GOOD)).await
}

fn asking(sidecache: &Sidecache, id: &'static str, body: &Value) -> JoinHandle<Answer> {
    sidecache.asking(OPENAI, id, body)
}

async fn received(asked: JoinHandle<Answer>, body: &Value) -> Answer {
    let answer = soon("an answer", asked).await.expect("no panic");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_vectors(&answer, body);
    answer
}

#[test]
fn requests_with_the_same_missing_inputs_make_one_call() {
    run(async {
        let go = Gate::new();
        let upstream = slow(&go).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        asked(&client, &[], &texts(&["a", "b"])).await;
        let bodies = [
            texts(&["slow 1", "a", "slow 2"]),
            texts(&["b", "slow 1", "slow 2", "slow 1"]),
            texts(&["slow 1", "slow 2"]),
        ];
        let leader = asking(&sidecache, "leader", &bodies[0]);
        eventually("the call", async || (upstream.calls() == 2).then_some(())).await;
        let others = [asking(&sidecache, "other", &bodies[1]), asking(&sidecache, "all", &bodies[2])];
        for id in ["other", "all"] {
            sidecache.log.looked_up(id).await;
        }
        for _ in 0..5 {
            sidecache.health().await;
        }
        go.open();
        assert_eq!(received(leader, &bodies[0]).await.cache(), "PARTIAL");
        let [other, all] = others;
        assert_eq!(received(other, &bodies[1]).await.cache(), "PARTIAL");
        assert_eq!(received(all, &bodies[2]).await.cache(), "COALESCED");
        assert_eq!(upstream.calls(), 2);
        assert_eq!(sidecache.health().await["cache"]["coalesced"], 2);
    });
}

#[test]
fn a_single_input_joins_a_batch_that_misses_only_it() {
    run(async {
        let go = Gate::new();
        let upstream = slow(&go).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        asked(&sidecache.client(), &[], &texts(&["a"])).await;
        let (batch, alone) = (texts(&["a", "slow"]), json!({"model": "e", "input": "slow"}));
        let leader = asking(&sidecache, "leader", &batch);
        eventually("the call", async || (upstream.calls() == 2).then_some(())).await;
        let other = asking(&sidecache, "other", &alone);
        sidecache.log.looked_up("other").await;
        for _ in 0..5 {
            sidecache.health().await;
        }
        go.open();
        received(leader, &batch).await;
        received(other, &alone).await;
        assert_eq!(upstream.calls(), 2);
    });
}

#[test]
fn an_invalidation_removes_stored_and_running_vectors() {
    run(async {
        let go = Gate::new();
        let upstream = slow(&go).await;
        let route = "[[route]]\nmatch = \"POST /reindex\"\nkind = \"other\"\ncache = false\n\
                     invalidates = [\"embedding\"]";
        let sidecache = Setup::to(&upstream.url()).config(route).start().await;
        let client = sidecache.client();
        asked(&client, &[], &texts(&["a", "b"])).await;
        let body = texts(&["a", "slow"]);
        let running = asking(&sidecache, "running", &body);
        eventually("the call", async || (upstream.calls() == 2).then_some(())).await;
        assert_eq!(client.post("/reindex", &json!({"input": "x"})).await.status, 200);
        go.open();
        assert_eq!(received(running, &body).await.cache(), "PARTIAL");
        let again = asked(&client, &[], &texts(&["a", "b", "slow"])).await;
        assert_eq!((again.cache(), again.detail()), ("MISS", Some("\"hits=0/3\"")));
    });
}

#[test]
fn two_replicas_make_one_call_for_the_same_inputs() {
    run(async {
        for (body, calls) in [(texts(&["slow 1", "slow 2"]), 1), (texts(&["slow"]), 1)] {
            let (go, redis) = (Gate::new(), RedisServer::start());
            let upstream = slow(&go).await;
            let replica = || {
                let setup = Setup::to(&upstream.url()).arguments(&["--redis", &redis.url()]);
                setup.env("CACHE_NEAR_MEMORY", "0").config("[store]\ntimeout = \"5s\"").start()
            };
            let (one, two) = (replica().await, replica().await);
            let leader = asking(&one, "leader", &body);
            eventually("the call", async || (upstream.calls() == 1).then_some(())).await;
            let follower = asking(&two, "follower", &body);
            two.log.looked_up("follower").await;
            go.open();
            assert_eq!(received(leader, &body).await.cache(), "MISS");
            assert_eq!(received(follower, &body).await.cache(), "COALESCED");
            assert_eq!(upstream.calls(), calls);
        }
    });
}
