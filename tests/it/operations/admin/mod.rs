//! The operators' listener: its calls, on both stores, and who may make them.

mod auth;
mod entries;
mod foreign_keys;
mod glob_patterns;
mod purge;
mod put;

use serde_json::{Value, json};

use crate::support::{Answer, Client, RedisServer, Setup, Sidecache, Upstream};

/// Where a sidecache keeps its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    InProcess,
    InRedis,
}

const BOTH: [Kept; 2] = [Kept::InProcess, Kept::InRedis];

/// A sidecache with an admin listener, and what it needs.
struct Stage {
    sidecache: Sidecache,
    /// Its operator.
    operator: Client,
    /// Its caller.
    client: Client,
    redis: Option<RedisServer>,
}

impl Stage {
    /// One before `upstream`, its answers kept like this.
    async fn new(kept: Kept, upstream: &Upstream) -> Self {
        Self::with(kept, Setup::to(&upstream.url()).config("[store]\ntimeout = \"10s\"")).await
    }

    /// The same with further settings.
    async fn with(kept: Kept, setup: Setup) -> Self {
        let redis = (kept == Kept::InRedis).then(RedisServer::start);
        let setup = match &redis {
            Some(redis) => setup.arguments(&["--redis", &redis.url()]),
            None => setup,
        };
        let sidecache = setup.admin().start().await;
        let (operator, client) = (sidecache.operator(), sidecache.client());
        Self { sidecache, operator, client, redis }
    }

    /// Makes a call that changes something.
    async fn call(&self, method: &str, target: &str, body: &Value) -> Answer {
        self.operator.request(method, target, &[("content-type", "application/json")], body.to_string()).await
    }

    /// Purges, and gives the count.
    async fn purged(&self, body: Value) -> u64 {
        let answer = self.call("POST", "/purge", &body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        answer.json()["purged"].as_u64().expect("a count")
    }

    /// Asks by `POST`, and gives what `X-Cache` said.
    async fn asked(&self, path: &str, body: &Value) -> String {
        self.client.post(path, body).await.cache().to_owned()
    }

    /// Counts without removing.
    async fn counted(&self, mut body: Value) -> u64 {
        body["dry_run"] = json!(true);
        self.purged(body).await
    }
}
