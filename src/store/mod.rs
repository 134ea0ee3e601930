//! Where entries are stored: in this process (`memory/`), or in Redis behind a near cache (`redis/`).
//!
//! A store never breaks a request: a failure is a miss.
//!
//! Each call of Redis is a boxed future. It takes thousands of bytes, which the future of every request would
//! otherwise hold and copy, even of a request that asks no Redis.

mod list;
mod memory;
mod redis;
mod sweep;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use self::memory::{Dropped, MemoryStore, SHARDS};
pub(crate) use self::redis::{
    Appended, Feed, FeedBounds, FeedConnection, FeedError, FeedEvent, Feeds, LeaseReply, Looked, OpenError,
};
pub use self::redis::{Lease, LeaseState, Near, RedisClient, RedisStore, StoreError, StoreEvent};
pub(crate) use self::{
    list::{Cursor, ListQuery, ListedEntry, Sort},
    sweep::Sweep,
};
use crate::{
    cache::{
        entry::Entry,
        invalidation::{Invalidation, InvalidationLog, Target, TargetId, Version},
        key::Key,
    },
    dialect::Placement,
    telemetry::stats::StoreOutcome,
};

/// The longest life that an entry is given, a hundred years: beyond some point Redis refuses.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How long this process and, over Redis, the other replicas remember that a question's answers are for their
/// own callers only.
pub(crate) const UNSHAREABLE_FOR: Duration = Duration::from_secs(60);

/// One of the two stores.
#[derive(Debug)]
pub enum Store {
    /// In this process.
    Memory(MemoryStore),
    /// In Redis, shared with other replicas; perhaps behind a near cache.
    Redis(Arc<RedisStore>),
}

/// What `/health` shows of the store.
#[derive(Clone, Debug)]
pub struct StoreStatus {
    /// `memory` or `redis`.
    pub name: &'static str,
    /// Whether lookups can find something.
    pub connected: bool,
    /// Whether it refuses something that lookups or writes need.
    pub is_impaired: bool,
    /// What is wrong with it, for operators; `None` if nothing is, as far as is known.
    pub problem: Option<String>,
    /// The number of entries of the namespace; `None` if that is not known.
    pub total_keys: Option<u64>,
    /// The bytes in use; `None` if that is not known.
    pub memory_used: Option<u64>,
    /// The most bytes that may be in use; `None` without a bound, or if it is not known.
    pub memory_limit: Option<u64>,
    /// When the password for it ends, in Unix seconds; `None` if it does not say.
    pub password_ends: Option<u64>,
    /// The open connections to it; `None` if it needs none.
    pub connections: Option<u64>,
    /// How many replicas share it; `None` if it is not shared, or if that is not known.
    pub replicas: Option<u64>,
}

impl Store {
    /// Takes no body of more than `bytes` for an answer from now on (`store.max_entry`).
    pub(crate) fn set_max_entry(&self, bytes: usize) {
        if let Self::Redis(store) = self {
            store.set_max_entry(bytes);
        }
    }

    /// From now on this process counts as one of the replicas that share the store.
    pub(crate) fn join_replicas(&self) {
        if let Self::Redis(store) = self {
            store.join_replicas();
        }
    }

    /// What was invalidated, as far as this process knows.
    pub(crate) fn invalidations(&self) -> &InvalidationLog {
        match self {
            Self::Memory(store) => store.invalidations(),
            Self::Redis(store) => store.invalidations(),
        }
    }

    /// The position in the invalidation log at which a fill begins now; `None` if it is not known: then every
    /// answer may be invalidated.
    pub fn now(&self) -> Option<Version> {
        self.invalidations().now(Instant::now())
    }

    /// Invalidates: from now on no replica finds or stores an entry that depends on one of `targets` and
    /// whose fill has begun by now. Returns the position in the log.
    ///
    /// # Errors
    /// If the other replicas could not be reached yet; here the entries are invalidated all the same.
    pub async fn invalidate(&self, targets: &[Target]) -> Result<Version, StoreError> {
        self.invalidate_within(targets, Duration::MAX).await
    }

    /// As [`Self::invalidate`], for a caller who can wait for the other replicas no longer than `within`.
    ///
    /// # Errors
    /// See [`Self::invalidate`].
    pub(crate) async fn invalidate_within(
        &self,
        targets: &[Target],
        within: Duration,
    ) -> Result<Version, StoreError> {
        let invalidation = Invalidation::new(targets);
        match self {
            Self::Memory(store) => Ok(store.invalidations().invalidate(&invalidation)),
            Self::Redis(store) => Box::pin(store.invalidate(&invalidation, within)).await,
        }
    }

    /// The entry under `key`, unless it is invalidated; that counts as a hit.
    ///
    /// # Errors
    /// If the store could not be asked; to the request, that is a miss.
    pub async fn get(&self, key: &Key) -> Result<Option<Arc<Entry>>, StoreError> {
        match self {
            Self::Memory(store) => Ok(get_from(store, key)),
            Self::Redis(store) => Box::pin(store.get(key)).await,
        }
    }

    /// As [`Self::get`]. If there is nothing, asks for the lease of the answer in `form` in the same round trip, where there
    /// may be other replicas.
    ///
    /// # Errors
    /// If the store could not be asked; to the request, that is a miss.
    pub(crate) async fn get_or_lease(
        &self,
        key: &Key,
        form: u64,
        target_ids: impl FnOnce() -> Vec<TargetId>,
    ) -> Result<Looked, StoreError> {
        match self {
            Self::Memory(store) => Ok(get_from(store, key).into()),
            Self::Redis(store) => Box::pin(store.get_or_lease(key, form, target_ids)).await,
        }
    }

    /// As [`Self::get`], without counting a hit.
    ///
    /// # Errors
    /// If the store could not be asked.
    pub(crate) async fn peek(&self, key: &Key) -> Result<Option<Arc<Entry>>, StoreError> {
        match self {
            Self::Memory(store) => {
                Ok(store.peek(key).filter(|entry| !entry.is_invalidated(key, store.invalidations())))
            }
            Self::Redis(store) => Box::pin(store.peek(key)).await,
        }
    }

    /// The entries under `keys` in one round trip, each as [`Self::get`] would find it.
    pub async fn get_many(&self, keys: &[Key]) -> Vec<Result<Option<Arc<Entry>>, StoreError>> {
        match self {
            Self::Memory(store) => keys.iter().map(|key| Ok(get_from(store, key))).collect(),
            Self::Redis(store) => Box::pin(store.get_many(keys)).await,
        }
    }

    /// Removes the entry under `key`; whether there was one. A running fill may store it again, unless that
    /// fill is invalidated.
    ///
    /// # Errors
    /// If the store could not be asked.
    pub async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.remove(key)),
            Self::Redis(store) => Box::pin(store.remove(key)).await,
        }
    }

    /// Stores `entry` under `key` for `life`.
    ///
    /// # Errors
    /// If it could not be stored.
    pub async fn put(&self, key: &Key, entry: Arc<Entry>, life: Duration) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => {
                store.put(key, &entry, life);
                Ok(())
            }
            Self::Redis(store) => Box::pin(store.put(key, &entry, life)).await,
        }
    }

    /// As [`Self::put`], for what nobody waits for and nobody misses: over Redis, a task of its own stores it.
    pub(crate) fn put_later(&self, key: Key, entry: Arc<Entry>, life: Duration) {
        match self {
            Self::Memory(store) => store.put(&key, &entry, life),
            Self::Redis(store) => {
                let store = Arc::clone(store);
                tokio::spawn(async move {
                    // Redis says itself that it is out of reach.
                    let _ = store.put(&key, &entry, life).await;
                });
            }
        }
    }

    /// Stores `entry` for `life` under `key`. If another entry is there, `place` decides: instead of it,
    /// beside it, or nowhere. Returns where the entry is.
    ///
    /// # Errors
    /// If it could not be stored.
    pub(crate) async fn put_in_place(
        &self,
        key: &Key,
        entry: &Arc<Entry>,
        life: Duration,
        place: impl Fn(&Entry) -> Placement,
    ) -> Result<Placement, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.put_in_place(key, entry, life, place)),
            Self::Redis(store) => Box::pin(store.put_in_place(key, entry, life, place)).await,
        }
    }

    /// Stores entries under their keys, each for its life; pipelined.
    ///
    /// # Errors
    /// If one of them could not be stored; the others are.
    pub async fn put_many(&self, entries: Vec<(Key, Arc<Entry>, Duration)>) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => {
                entries.into_iter().for_each(|(key, entry, life)| store.put(&key, &entry, life));
                Ok(())
            }
            Self::Redis(store) => Box::pin(store.put_many(entries)).await,
        }
    }

    /// Asks for the lease of the answer in `form` that is stored under `key` and depends on `target_ids`;
    /// waits no longer than `within`.
    ///
    /// # Errors
    /// If the store could not be asked.
    pub(crate) async fn acquire_lease(
        &self,
        key: &Key,
        target_ids: &[TargetId],
        form: u64,
        within: Duration,
    ) -> Result<LeaseReply<Arc<Entry>>, StoreError> {
        match self {
            Self::Memory(_) => {
                Ok(LeaseReply { state: LeaseState::Acquired(None), stored: self.peek(key).await? })
            }
            Self::Redis(store) => Box::pin(store.acquire_lease(key, target_ids, form, within)).await,
        }
    }

    /// How many entries have gone by themselves; `None` if they are not in this process.
    pub(crate) fn dropped(&self) -> Option<Dropped> {
        match self {
            Self::Memory(store) => Some(store.dropped()),
            Self::Redis(_) => None,
        }
    }

    /// Whether writes of `key` are refused, or were a moment ago.
    pub(crate) fn refuses_writes(&self, key: &Key) -> bool {
        match self {
            Self::Memory(_) => false,
            Self::Redis(store) => store.client().refuses_writes(&key.name()),
        }
    }

    /// What `/health` shows of the store.
    pub(crate) async fn status(&self) -> StoreStatus {
        match self {
            Self::Memory(store) => StoreStatus {
                name: "memory",
                connected: true,
                is_impaired: false,
                problem: None,
                total_keys: Some(store.entries()),
                memory_used: Some(store.bytes()),
                memory_limit: Some(store.max_bytes()),
                password_ends: None,
                connections: None,
                replicas: None,
            },
            Self::Redis(store) => Box::pin(store.status()).await,
        }
    }
}

/// How a call of the store ended, for its counters.
pub(crate) const fn outcome<T>(result: &Result<T, StoreError>) -> StoreOutcome {
    match result {
        Ok(_) => StoreOutcome::Ok,
        Err(StoreError::Timeout) => StoreOutcome::Timeout,
        Err(StoreError::Refused) => StoreOutcome::Refused,
        Err(
            StoreError::Unavailable
            | StoreError::Lost
            | StoreError::Moved
            | StoreError::Moving
            | StoreError::WrongType
            | StoreError::Protocol,
        ) => StoreOutcome::Error,
    }
}

fn get_from(store: &MemoryStore, key: &Key) -> Option<Arc<Entry>> {
    store.get(key).filter(|entry| !entry.is_invalidated(key, store.invalidations()))
}
