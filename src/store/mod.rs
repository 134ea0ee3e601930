//! Where answers are kept: in this process, or in Redis. A store never hurts: whatever fails is a miss.

mod memory;
pub mod redis;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

pub use self::{
    memory::MemoryStore,
    redis::{Lease, OpenError, RedisStore, StoreError, StoreEvent},
};
use crate::{entry::Entry, key::Key};

/// One of the two stores.
#[derive(Debug)]
pub enum Store {
    /// In this process.
    Memory(MemoryStore),
    /// In Redis, shared with other replicas.
    Redis(Arc<RedisStore>),
}

/// Whose turn it is to ask the upstream.
#[derive(Debug)]
pub enum Turn {
    /// Nobody's: the answer is stored by now.
    Stored(Arc<Entry>),
    /// This replica's; the lease where there are others.
    Mine(Option<Lease>),
    /// Another replica's.
    Theirs,
    /// Everybody's: answers are for their own callers only.
    Unshareable,
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
    /// The entry under `key`.
    ///
    /// # Errors
    /// Where the store could not be asked; to the request, a miss.
    pub async fn get(&self, key: &Key) -> Result<Option<Arc<Entry>>, StoreError> {
        let store = match self {
            Self::Memory(store) => return Ok(store.get(key)),
            Self::Redis(store) => store,
        };
        let key = key.to_string();
        let Some(envelope) = store.get(&key).await? else { return Ok(None) };
        match Entry::open(&envelope, &key) {
            Ok(entry) => Ok(Some(Arc::new(entry))),
            Err(_) => {
                // Rubbish under our key, or a reply that was meant for another request.
                store.suspect();
                Err(StoreError::Protocol)
            }
        }
    }

    /// Keeps `entry` under `key` for `life`.
    ///
    /// # Errors
    /// Where it could not be stored.
    pub async fn put(&self, key: &Key, entry: Arc<Entry>, life: Duration) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => {
                store.put(key, entry, life);
                Ok(())
            }
            Self::Redis(store) => {
                let key = key.to_string();
                store.put(&key, Bytes::from(entry.seal(&key)), life).await
            }
        }
    }

    /// Asks whether it is this replica's turn to ask the upstream for what `key` is kept under, in `form`.
    ///
    /// # Errors
    /// Where the store could not be asked.
    pub async fn turn(&self, key: &Key, form: u64) -> Result<Turn, StoreError> {
        let Self::Redis(store) = self else { return Ok(Turn::Mine(None)) };
        let key = key.to_string();
        Ok(match store.turn(&key, form).await? {
            redis::Turn::Mine(lease) => Turn::Mine(Some(lease)),
            redis::Turn::Theirs => Turn::Theirs,
            redis::Turn::Unshareable => Turn::Unshareable,
            redis::Turn::Stored(envelope) => match Entry::open(&envelope, &key) {
                Ok(entry) => Turn::Stored(Arc::new(entry)),
                Err(_) => return Err(StoreError::Protocol),
            },
        })
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
                let status = store.status().await;
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
