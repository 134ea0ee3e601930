//! Entries in Redis, where other replicas have them too, behind a near cache in this process.
//!
//! Two layers: [`RedisClient`] moves bytes and knows when Redis is of use; [`RedisStore`] makes entries of
//! the bytes, and seals them if `store.encryption_key` is set. Both offer the same
//! operations, one on bytes, one on entries.
//!
//! What is found in Redis counts only once this process knows what was invalidated by then. A task reads that
//! from the log in Redis (`subscriber.rs`), together with the writes of other replicas, which are dropped
//! from the near cache.

mod announcements;
mod client;
mod feeds;
mod hits;
mod lookups;
mod near_cache;
mod pending_writes;
mod replicas;
mod restore;
mod subscriber;
mod walk;
mod writes;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::watch, task::AbortHandle};

pub use self::client::{Lease, LeaseState, RedisClient, StoreError, StoreEvent};
pub(crate) use self::client::{LeaseReply, OpenError};
pub(crate) use self::feeds::{Appended, Feed, FeedBounds, FeedConnection, FeedError, FeedEvent, Feeds};
pub(crate) use self::lookups::Looked;
pub(super) use self::walk::{Walk, WalkedEntry};
use self::{
    hits::HitCounts,
    near_cache::{NearCache, Ticket},
    pending_writes::PendingWrites,
    replicas::Replicas,
    subscriber::{Shared, Subscriber},
};
use super::StoreStatus;
use crate::{
    cache::{
        encryption::Encryption,
        entry::Entry,
        invalidation::{Invalidation, InvalidationLog, Version, glob::escape},
        key::{Key, namespace::Namespace},
        route::kind::Kind,
    },
    time::unix_millis,
};

type GetResult = Result<Option<Arc<Entry>>, StoreError>;

/// The bounds of the near cache.
#[derive(Clone, Copy, Debug)]
pub struct Near {
    /// The bytes that it takes, the cost of holding entries included; 0 for no near cache.
    pub max_bytes: u64,
    /// How long its entries are given while this process is cut off from Redis.
    pub staleness: Duration,
}

/// Entries in one Redis.
pub struct RedisStore {
    client: Arc<RedisClient>,
    near: Option<Arc<NearCache>>,
    pending_writes: PendingWrites,
    hits: HitCounts,
    encryption: Option<Arc<Encryption>>,
    invalidations: Arc<InvalidationLog>,
    synced: watch::Receiver<bool>,
    replicas: Arc<Replicas>,
    subscriber: AbortHandle,
    /// The largest body of an entry, in bytes.
    max_entry: AtomicUsize,
}

impl RedisStore {
    /// Entries as bytes of `client`: sealed with `encryption`, and in this process too, as `near` says.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn new(client: Arc<RedisClient>, near: Near, encryption: Option<Encryption>) -> Self {
        let Near { max_bytes, staleness } = near;
        let invalidations = Arc::new(InvalidationLog::mirror(staleness));
        let near = NearCache::new(max_bytes, staleness, client.is_cluster()).map(Arc::new);
        let replicas = Arc::new(Replicas::new(client.namespace()));
        let shared = Shared {
            invalidations: Arc::clone(&invalidations),
            near: near.clone(),
            replicas: Arc::clone(&replicas),
        };
        let subscriber = Subscriber::new(&client, shared, staleness);
        let synced = subscriber.synced();
        Self {
            client,
            near,
            pending_writes: PendingWrites::default(),
            hits: HitCounts::default(),
            encryption: encryption.map(Arc::new),
            invalidations,
            synced,
            replicas,
            subscriber: tokio::spawn(subscriber.run()).abort_handle(),
            max_entry: AtomicUsize::new(usize::MAX),
        }
    }

    /// From now on this process counts as one of the replicas.
    pub(crate) fn join_replicas(&self) {
        self.replicas.join();
    }

    /// The layer below.
    pub fn client(&self) -> &RedisClient {
        &self.client
    }

    /// Takes no body of more than `bytes` for an answer from now on (`store.max_entry`).
    pub(crate) fn set_max_entry(&self, bytes: usize) {
        self.max_entry.store(bytes, Ordering::Relaxed);
    }

    /// Waits until it is known what was invalidated, but no longer than `within`: no entry is of use before
    /// that.
    pub async fn synced(&self, within: Duration) {
        let mut synced = self.synced.clone();
        let _ = tokio::time::timeout(within, synced.wait_for(|synced| *synced)).await;
    }

    /// As [`RedisClient::status`]; connected only if lookups can find something: it must also be known what
    /// was invalidated.
    pub async fn status(&self) -> StoreStatus {
        let status = self.client.status().await;
        let now = Instant::now();
        let connected = status.connected && self.invalidations.now(now).is_some();
        StoreStatus { connected, replicas: self.replicas.seen(now).filter(|_| connected), ..status }
    }

    /// What was invalidated, by whichever replica.
    pub(crate) fn invalidations(&self) -> &InvalidationLog {
        &self.invalidations
    }

    /// Invalidates for all replicas; the position in the log. If Redis does not take it `within` that time,
    /// it is valid here at once, and for the others as soon as Redis is back.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn invalidate(
        &self,
        invalidation: &Invalidation,
        within: Duration,
    ) -> Result<Version, StoreError> {
        match self.client.append(invalidation, within).await {
            Ok(version) => {
                self.invalidations.apply_own(version, invalidation);
                Ok(version)
            }
            Err(error) => {
                self.invalidations.add_pending(invalidation.clone());
                Err(error)
            }
        }
    }

    /// How often this process found the entry under `key`, as far as it remembers.
    pub(super) fn hits(&self, key: &Key) -> u64 {
        self.hits.get(key)
    }

    /// A walk through all entries, or those of one kind, once the writes that are under way have ended. It
    /// begins where `from` says; at 0, it finds all.
    pub(super) async fn walk(&self, namespace: Namespace, kind: Option<Kind>, from: u64) -> Walk {
        self.pending_writes.settled().await;
        let kind = kind.map_or_else(|| "*".to_owned(), |kind| format!("{kind}:*"));
        let scan = self.client.scan(format!("{}:{kind}", escape(&namespace)), from);
        Walk::new(scan, self.encryption.clone(), namespace)
    }

    fn ticket(&self, key: &Key) -> Option<Ticket> {
        self.near.as_ref()?.ticket(key)
    }

    /// Until when a call that begins now may take; none begins while it is not known what was invalidated.
    fn deadline(&self, within: Duration) -> Result<Instant, StoreError> {
        let now = Instant::now();
        self.invalidations.now(now).ok_or(StoreError::Unavailable)?;
        Ok(now + within.min(self.client.timeout()))
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.subscriber.abort();
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("client", &self.client).finish_non_exhaustive()
    }
}

fn remaining_life(entry: &Entry) -> Duration {
    entry.life().saturating_sub(entry.age(unix_millis(SystemTime::now())))
}
