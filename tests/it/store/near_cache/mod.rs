//! The near cache, with several stores or sidecaches on one Redis.

mod random_histories;
mod replicas;
mod stores;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, StatusCode};
use sidecache::internals::{
    cache::{
        entry::Entry,
        invalidation::{Target, TargetId},
        key::Key,
        route::kind::Kind,
    },
    config::RedisAccess,
    store::{Near, RedisClient, RedisStore, Store, StoreError},
};

use crate::support::{PATIENCE, RedisServer, eventually};

/// How long near entries are given while Redis is out of reach.
const STALENESS: Duration = Duration::from_secs(2);

/// The time in which every replica knows a change, whatever happens to connections and however busy the machine is.
const BOUND: Duration = STALENESS;

const LIFE: Duration = Duration::from_secs(600);

/// A store with a near cache of this many bytes, ready for use, with a timeout that even a busy machine
/// keeps.
async fn replica(redis: &RedisServer, near: u64) -> Store {
    replica_within(redis, near, PATIENCE).await
}

/// With another timeout.
async fn replica_within(redis: &RedisServer, near: u64, timeout: Duration) -> Store {
    let client = RedisClient::open(&redis.url(), &RedisAccess::default(), "ns", timeout, |_| {});
    let near = Near { max_bytes: near, staleness: STALENESS };
    let store = RedisStore::new(client.expect("a good URL"), near, None);
    assert!(store.client().ready(PATIENCE).await, "{:?}", store.client().last_error());
    store.synced(PATIENCE).await;
    Store::Redis(Arc::new(store))
}

fn key(name: &str) -> Key {
    Key::new("ns".into(), Kind::Query, blake3::hash(name.as_bytes()))
}

/// An entry of `version` that depends on `targets`, as stored by `store` now.
fn entry(store: &Store, version: u64, life: Duration, targets: &[Target]) -> Option<Entry> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    Some(Entry {
        stored_at: since.as_millis() as u64,
        ttl: life,
        began: store.now()?,
        target_ids: TargetId::from_targets(targets),
        ..Entry::new(StatusCode::OK, HeaderMap::new(), version.to_le_bytes().to_vec().into())
    })
}

/// The version that a request finds.
async fn version(store: &Store, key: &Key) -> Result<Option<u64>, StoreError> {
    let found = store.get(key).await?;
    Ok(found.map(|entry| u64::from_le_bytes(entry.body[..].try_into().expect("a version"))))
}

/// Stores a version; it must work.
async fn put(store: &Store, key: &Key, version: u64, targets: &[Target]) {
    let entry = entry(store, version, LIFE, targets).expect("the order is known");
    store.put(key, Arc::new(entry), LIFE).await.expect("stored");
}

/// Cuts the connections that read the streams.
fn kill_readers(redis: &RedisServer) {
    for line in redis.cli(&["CLIENT", "LIST"]).lines().filter(|line| line.contains(" cmd=xread ")) {
        let id = line.split(' ').find_map(|member| member.strip_prefix("id=")).expect("an id");
        // It may be gone already.
        redis.cli(&["CLIENT", "KILL", "ID", id]);
    }
}

/// How often Redis carried out a command.
fn calls(redis: &RedisServer, command: &str) -> u64 {
    let (stats, name) = (redis.cli(&["INFO", "commandstats"]), format!("cmdstat_{command}:calls="));
    let line = stats.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or("0");
    line.split(',').next().and_then(|count| count.parse().ok()).expect("a count")
}

/// How many `MGET`s Redis got. (The store sends a `GET` now and then by itself.)
fn lookups(redis: &RedisServer) -> u64 {
    calls(redis, "mget")
}

/// Waits until lookups of `key` in `store` no longer reach Redis.
async fn is_near(redis: &RedisServer, store: &Store, key: &Key, wanted: u64) {
    let keys = [key.clone()];
    eventually("it is near", async || {
        let before = lookups(redis);
        for _ in 0..3 {
            let found = store.get_many(&keys).await.remove(0).expect("it works").expect("an entry");
            assert_eq!(found.body, wanted.to_le_bytes()[..]);
        }
        (lookups(redis) == before).then_some(())
    })
    .await;
}
