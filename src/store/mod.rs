//! Where answers are kept: in this process, or in Redis. A store never hurts: whatever fails is a miss.
//!
//! What Redis is asked is in a box of its own: that takes thousands of bytes, which the future of each request, be it
//! one that asks no Redis, would hold and have copied.

mod hits;
mod list;
mod memory;
pub mod near_cache;
pub mod pending_writes;
pub mod redis;
mod sweep;
pub mod tiered;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::{
    list::{List, Listed},
    memory::MemoryStore,
    redis::{Lease, LeaseState, OpenError, RedisStore, StoreError, StoreEvent},
    sweep::{Sweep, Sweeping},
};
use crate::{
    cache::{
        entry::Entry,
        invalidation::{Invalidation, InvalidationLog, Target, TargetId, Version},
        key::Key,
    },
    dialect::Placement,
};

/// The longest life that an entry is given, a hundred years: beyond some point Redis refuses.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How long this process and, over Redis, the other replicas remember that a question's answers are for their own
/// callers only.
pub(crate) const UNSHAREABLE_FOR: Duration = Duration::from_secs(60);

/// One of the two stores.
#[derive(Debug)]
pub enum Store {
    /// In this process.
    Memory(MemoryStore),
    /// In Redis, shared with other replicas; perhaps with a near tier before it.
    Redis(Arc<RedisStore>),
}

/// Whether to ask the upstream, and what is stored by now.
#[derive(Debug)]
pub struct LeaseReply {
    /// Whose turn it is.
    pub state: LeaseState,
    /// What is stored, be it of no use to the request.
    pub found: Option<Arc<Entry>>,
}

/// What `/health` tells of the store.
#[derive(Clone, Copy, Debug)]
pub struct StoreStatus {
    /// `memory` or `redis`.
    pub name: &'static str,
    /// Whether it can be used.
    pub connected: bool,
    /// The namespace's entries; `None` where that is not known.
    pub total_keys: Option<u64>,
    /// The bytes in use; `None` where that is not known.
    pub memory_used: Option<u64>,
}

impl Store {
    /// From now on takes no body of more than `bytes` for an answer (`store.max_entry`).
    pub fn set_largest(&self, bytes: usize) {
        if let Self::Redis(store) = self {
            store.set_largest(bytes);
        }
    }

    /// What was retired, as far as this process knows.
    pub fn invalidations(&self) -> &InvalidationLog {
        match self {
            Self::Memory(store) => store.invalidations(),
            Self::Redis(store) => store.invalidations(),
        }
    }

    /// The place in the order of retirements that a fill begins at now; `None` where that is not known, and so no
    /// answer can be told from a retired one.
    pub fn now(&self) -> Option<Version> {
        self.invalidations().now(Instant::now())
    }

    /// Retires: from now on no entry that depends on one of `targets`, and whose fill has begun by now, is found, by
    /// any replica; nor is one stored. Tells the place at which that happened.
    ///
    /// # Errors
    /// Where other replicas could not be told yet; here it is retired all the same.
    pub async fn invalidate(&self, targets: &[Target]) -> Result<Version, StoreError> {
        self.invalidate_within(targets, Duration::MAX).await
    }

    /// The same for a caller who can wait no longer than `within` for the others to be told.
    ///
    /// # Errors
    /// See [`Self::invalidate`].
    pub async fn invalidate_within(
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

    /// The entry under `key`, where it is not retired.
    ///
    /// # Errors
    /// Where the store could not be asked; to the request, a miss.
    pub async fn get(&self, key: &Key) -> Result<Option<Arc<Entry>>, StoreError> {
        match self {
            Self::Memory(store) => Ok(self.hit(store, key)),
            Self::Redis(store) => Box::pin(store.hit(key)).await,
        }
    }

    /// What the in-process store gives a request.
    fn hit(&self, store: &MemoryStore, key: &Key) -> Option<Arc<Entry>> {
        store.get(key).filter(|entry| !entry.is_invalidated(key, store.invalidations()))
    }

    /// The same for whoever looks on: it counts as no request.
    ///
    /// # Errors
    /// Where the store could not be asked.
    pub async fn peek(&self, key: &Key) -> Result<Option<Arc<Entry>>, StoreError> {
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
            Self::Memory(store) => keys.iter().map(|key| Ok(self.hit(store, key))).collect(),
            Self::Redis(store) => Box::pin(store.hit_many(keys)).await,
        }
    }

    /// Removes the entry under `key`; whether there was one. It may come back by a fill that is running, unless
    /// that was retired before.
    ///
    /// # Errors
    /// Where the store could not be asked.
    pub async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.remove(key)),
            Self::Redis(store) => Box::pin(store.discard(key)).await,
        }
    }

    /// Keeps `entry` under `key` for `life`.
    ///
    /// # Errors
    /// Where it could not be stored.
    pub async fn put(&self, key: &Key, entry: Arc<Entry>, life: Duration) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => {
                store.put(key, &entry, life);
                Ok(())
            }
            Self::Redis(store) => Box::pin(store.keep(key, &entry, life)).await,
        }
    }

    /// Keeps `entry` for `life` under `key`, or where `place` says, which is asked where another entry is kept there by
    /// then: in its place, beside it, or nowhere. Tells where.
    ///
    /// # Errors
    /// Where it could not be stored.
    pub async fn put_in_place(
        &self,
        key: &Key,
        entry: &Arc<Entry>,
        life: Duration,
        place: impl Fn(&Entry) -> Placement,
    ) -> Result<Placement, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.put_in_place(key, entry, life, place)),
            Self::Redis(store) => Box::pin(store.keep_in_place(key, entry, life, place)).await,
        }
    }

    /// Keeps entries under their keys, each for its life; pipelined.
    ///
    /// # Errors
    /// Where one of them could not be stored; the others are.
    pub async fn put_many(&self, entries: Vec<(Key, Arc<Entry>, Duration)>) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => {
                entries.into_iter().for_each(|(key, entry, life)| store.put(&key, &entry, life));
                Ok(())
            }
            Self::Redis(store) => Box::pin(store.keep_many(entries)).await,
        }
    }

    /// Asks whose turn it is to ask the upstream for what `key` is kept under and depends on `target_ids`, in `form`; waits
    /// no longer than `within`.
    ///
    /// # Errors
    /// Where the store could not be asked.
    pub async fn acquire_lease(
        &self,
        key: &Key,
        target_ids: &[TargetId],
        form: u64,
        within: Duration,
    ) -> Result<LeaseReply, StoreError> {
        match self {
            Self::Memory(_) => {
                Ok(LeaseReply { state: LeaseState::Acquired(None), found: self.peek(key).await? })
            }
            Self::Redis(store) => Box::pin(store.turn_of(key, target_ids, form, within)).await,
        }
    }

    /// What `/health` tells.
    pub async fn status(&self) -> StoreStatus {
        match self {
            Self::Memory(store) => StoreStatus {
                name: "memory",
                connected: true,
                total_keys: Some(store.entries()),
                memory_used: Some(store.bytes()),
            },
            Self::Redis(store) => {
                let status = Box::pin(store.status()).await;
                StoreStatus {
                    name: "redis",
                    connected: status.connected,
                    total_keys: status.total_keys,
                    memory_used: status.memory_used,
                }
            }
        }
    }
}
