//! Two replicas on one Redis.

use std::{path::Path, time::Duration};

use tokio::time::sleep;

use support::{
    figures::text,
    process::redis,
    sidecache::{self, Options, redis_url},
    upstream::{Plan, Upstream, now},
};

use crate::{
    Figures, Scale,
    caller::call,
    contenders::question,
    say,
    thousands::{ask_all, connect_all, outcome},
};

/// Runs the cases; `None` where no Redis is installed.
pub(crate) async fn measure(
    folder: &Path,
    upstream: &Upstream,
    scale: &Scale,
) -> Option<Vec<(String, Figures)>> {
    let Some(redis) = redis(folder) else {
        say("redis-server is not installed, and the replicas are left out.\n");
        return None;
    };
    let url = redis_url(redis.port);
    let options = Options { redis: Some(&url), ..Options::to(upstream.port) };
    let replicas = [sidecache::start(folder, options), sidecache::start(folder, options)];
    let clients = scale.crowd.min(1_000);
    let plan = Plan { mark: "replicas".to_owned(), delay_ms: 2_000 / scale.faster, ..Plan::default() };
    let mut streams = Vec::new();
    for replica in &replicas {
        streams.extend(connect_all(replica.port, clients / 2).await);
    }
    let got = ask_all(streams, &question(&plan)).await;
    let figures = outcome(upstream.calls(&plan.mark).len(), &got);
    let crowd = (format!("two replicas on one Redis, {clients} clients on both"), figures);

    let [mut first, second] = replicas;
    let plan = Plan { mark: "killed".to_owned(), delay_ms: 5_000 / scale.faster, ..Plan::default() };
    let request = question(&plan);
    let leader = tokio::spawn(call(first.port, request.clone()));
    sleep(Duration::from_millis(300)).await;
    let follower = tokio::spawn(call(second.port, request));
    sleep(Duration::from_millis(300)).await;
    let joined = upstream.calls(&plan.mark).len() == 1;
    first.kill();
    let killed = now();
    let (_, follower) = (leader.await, follower.await.expect("a client that does not panic"));
    let calls = upstream.calls(&plan.mark);
    let own = calls.iter().find(|call| call.asked > killed);
    let figures = vec![
        ("the other's client waited", if joined { "yes" } else { "no" }.to_owned()),
        ("upstream calls", calls.len().to_string()),
        (
            "from the kill to its own call",
            own.map_or("none".to_owned(), |call| text(Duration::from_nanos(call.asked - killed))),
        ),
        ("complete", if follower.whole() { "yes" } else { "no" }.to_owned()),
    ];
    Some(vec![crowd, ("the replica that asks is killed with `kill -9`".to_owned(), figures)])
}
