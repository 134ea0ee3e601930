//! The admin API, with both stores.

mod auth;
mod entries;
mod figures;
mod foreign_keys;
mod glob_patterns;
mod list;
mod page;
mod purge;
mod put;
mod requests;

use serde_json::{Value, json};

use crate::support::{Answer, Client, RedisServer, Setup, Sidecache, Upstream};

/// The store of a sidecache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StoreKind {
    Memory,
    Redis,
}

const BOTH_STORES: [StoreKind; 2] = [StoreKind::Memory, StoreKind::Redis];

/// A sidecache with an admin listener and its clients.
struct Fixture {
    sidecache: Sidecache,
    /// A client of the admin listener.
    operator: Client,
    /// A client of the listener for callers.
    client: Client,
    redis: Option<RedisServer>,
}

impl Fixture {
    /// One in front of `upstream`, with this store.
    async fn new(store: StoreKind, upstream: &Upstream) -> Self {
        Self::with(store, Setup::to(&upstream.url()).config("[store]\ntimeout = \"10s\"")).await
    }

    /// One with further settings.
    async fn with(store: StoreKind, setup: Setup) -> Self {
        let redis = (store == StoreKind::Redis).then(RedisServer::start);
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

    /// Sends a `POST`; returns `X-Cache`.
    async fn asked(&self, path: &str, body: &Value) -> String {
        self.client.post(path, body).await.cache().to_owned()
    }

    /// Counts without removing.
    async fn counted(&self, mut body: Value) -> u64 {
        body["dry_run"] = json!(true);
        self.purged(body).await
    }
}
