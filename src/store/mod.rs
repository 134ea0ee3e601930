//! Where answers are kept: in this process, or in Redis. A store never hurts: whatever fails is a miss.

mod hits;
mod list;
mod memory;
pub mod redis;
mod sweep;
mod writing;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;

pub use self::{
    list::{List, Listed},
    memory::MemoryStore,
    redis::{Lease, OpenError, RedisStore, StoreError, StoreEvent, Whose},
    sweep::{Sweep, Sweeping},
};
use crate::{
    entry::Entry,
    generations::{Dependencies, Generations, Mark, Point, Retirement, Subject},
    key::Key,
    time::unix_millis,
};

/// One of the two stores.
#[derive(Debug)]
pub enum Store {
    /// In this process.
    Memory(MemoryStore),
    /// In Redis, shared with other replicas.
    Redis(Arc<RedisStore>),
}

/// Whether to ask the upstream, and what is stored by now.
#[derive(Debug)]
pub struct Turn {
    /// Whose turn it is.
    pub whose: Whose,
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
    pub fn generations(&self) -> &Generations {
        match self {
            Self::Memory(store) => store.generations(),
            Self::Redis(store) => store.generations(),
        }
    }

    /// The place in the order of retirements that a fill begins at now; `None` where that is not known, and so no
    /// answer can be told from a retired one.
    pub fn now(&self) -> Option<Point> {
        self.generations().now(Instant::now())
    }

    /// Retires: from now on no entry that depends on one of `subjects`, and whose fill has begun by now, is found, by
    /// any replica; nor is one stored. Tells the place at which that happened.
    ///
    /// # Errors
    /// Where other replicas could not be told yet; here it is retired all the same.
    pub async fn retire(&self, subjects: &[Subject]) -> Result<Point, StoreError> {
        self.retire_within(subjects, Duration::MAX).await
    }

    /// The same for a caller who can wait no longer than `within` for the others to be told.
    ///
    /// # Errors
    /// See [`Self::retire`].
    pub async fn retire_within(&self, subjects: &[Subject], within: Duration) -> Result<Point, StoreError> {
        let retirement = Retirement::of(subjects);
        match self {
            Self::Memory(store) => Ok(store.generations().retire(&retirement)),
            Self::Redis(store) => store.retire(&retirement, within).await,
        }
    }

    /// Whether `entry`, found under `key`, is retired.
    fn is_retired(&self, key: &Key, entry: &Entry) -> bool {
        self.generations().is_retired(entry.began, Dependencies { key, marks: &entry.marks })
    }

    /// The entry under `key`, where it is not retired.
    ///
    /// # Errors
    /// Where the store could not be asked; to the request, a miss.
    pub async fn get(&self, key: &Key) -> Result<Option<Arc<Entry>>, StoreError> {
        match self {
            Self::Memory(store) => Ok(self.hit(store, key)),
            Self::Redis(store) => Ok(self.peek(key).await?.inspect(|_| store.count_hit(key))),
        }
    }

    /// What the in-process store gives a request.
    fn hit(&self, store: &MemoryStore, key: &Key) -> Option<Arc<Entry>> {
        store.get(key).filter(|entry| !self.is_retired(key, entry))
    }

    /// The same for whoever looks on: it counts as no request.
    ///
    /// # Errors
    /// Where the store could not be asked.
    pub async fn peek(&self, key: &Key) -> Result<Option<Arc<Entry>>, StoreError> {
        if self.now().is_none() {
            return Err(StoreError::Unavailable);
        }
        Ok(self.find(key).await?.filter(|entry| !self.is_retired(key, entry)))
    }

    async fn find(&self, key: &Key) -> Result<Option<Arc<Entry>>, StoreError> {
        let store = match self {
            Self::Memory(store) => return Ok(store.peek(key)),
            Self::Redis(store) => store,
        };
        if let Some(entry) = store.writing.get(key) {
            return Ok(Some(entry));
        }
        if key.former().is_some() {
            return find_many(store, std::slice::from_ref(key)).await.pop().unwrap_or(Ok(None));
        }
        let key = key.to_string();
        let envelope = store.get(&key).await?;
        envelope.map(|envelope| opened(store, &key, &envelope)).transpose()
    }

    /// The entries under `keys` in one round trip, each as [`Self::get`] would find it.
    pub async fn get_many(&self, keys: &[Key]) -> Vec<Result<Option<Arc<Entry>>, StoreError>> {
        let store = match self {
            Self::Memory(store) => return keys.iter().map(|key| Ok(self.hit(store, key))).collect(),
            Self::Redis(store) => store,
        };
        if self.now().is_none() {
            return vec![Err(StoreError::Unavailable); keys.len()];
        }
        let kept = |(key, found): (&Key, Result<Option<Arc<Entry>>, StoreError>)| {
            let found = found?.filter(|entry| !self.is_retired(key, entry));
            Ok(found.inspect(|_| store.count_hit(key)))
        };
        keys.iter().zip(find_many(store, keys).await).map(kept).collect()
    }

    /// Removes the entry under `key`; whether there was one. It may come back by a fill that is running, unless
    /// that was retired before.
    ///
    /// # Errors
    /// Where the store could not be asked.
    pub async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.remove(key)),
            Self::Redis(store) => store.remove(&key.to_string()).await,
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
            Self::Redis(store) => {
                store.forget_hits(key);
                let _writing = store.writing.begin(key, &entry);
                let key = key.to_string();
                store.put(&key, Bytes::from(entry.seal(&key)), life).await
            }
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
            Self::Redis(store) => {
                let _writing: Vec<_> =
                    entries.iter().map(|(key, entry, _)| store.writing.begin(key, entry)).collect();
                let sealed = |(key, entry, life): (Key, Arc<Entry>, Duration)| {
                    store.forget_hits(&key);
                    let key = key.to_string();
                    let envelope = Bytes::from(entry.seal(&key));
                    (key, envelope, life)
                };
                store.put_many(entries.into_iter().map(sealed).collect()).await.into_iter().collect()
            }
        }
    }

    /// Asks whose turn it is to ask the upstream for what `key` is kept under and depends on `marks`, in `form`; waits
    /// no longer than `within`.
    ///
    /// # Errors
    /// Where the store could not be asked.
    pub async fn turn(
        &self,
        key: &Key,
        marks: &[Mark],
        form: u64,
        within: Duration,
    ) -> Result<Turn, StoreError> {
        let Self::Redis(store) = self else {
            return Ok(Turn { whose: Whose::Mine(None), found: self.peek(key).await? });
        };
        if self.now().is_none() {
            return Err(StoreError::Unavailable);
        }
        // Who asked before something was retired is not waited for.
        let since = self.generations().last_concerning(Dependencies { key, marks });
        let name = key.to_string();
        let redis::Turn { whose, stored } = store.turn(&name, form, since, within).await?;
        let found = stored.map(|envelope| opened(store, &name, &envelope)).transpose()?;
        Ok(Turn { whose, found: found.filter(|entry| !self.is_retired(key, entry)) })
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

/// What Redis holds under `keys`, or is about to, retired or not; under their former names too, in the same round trip.
async fn find_many(store: &Arc<RedisStore>, keys: &[Key]) -> Vec<Result<Option<Arc<Entry>>, StoreError>> {
    let writing: Vec<_> = keys.iter().map(|key| store.writing.get(key)).collect();
    let former: Vec<_> = keys.iter().filter_map(Key::former).collect();
    let names: Vec<_> = keys.iter().chain(&former).map(ToString::to_string).collect();
    let open = |(name, found): (&String, Result<Option<Bytes>, StoreError>)| {
        found?.map(|envelope| opened(store, name, &envelope)).transpose()
    };
    let mut found: Vec<_> = names.iter().zip(store.get_many(&names).await).map(open).collect();
    let renewed = found.split_off(keys.len());
    for ((key, found), renewed) in keys.iter().zip(&mut found).zip(renewed) {
        if let (Ok(None), Ok(Some(entry))) = (&found, &renewed) {
            renew(store, key, entry);
            *found = renewed;
        }
    }
    for (found, entry) in found.iter_mut().zip(writing) {
        if entry.is_some() {
            *found = Ok(entry);
        }
    }
    found
}

/// Keeps what was found under its former name under the present one, for the rest of its life. Nobody waits for it.
fn renew(store: &Arc<RedisStore>, key: &Key, entry: &Entry) {
    let age = entry.age(unix_millis(SystemTime::now()));
    let Some(rest) = entry.life().checked_sub(age).filter(|rest| !rest.is_zero()) else { return };
    let (store, key) = (Arc::clone(store), key.to_string());
    let envelope = Bytes::from(entry.seal(&key));
    tokio::spawn(async move { store.put_if_absent(&key, envelope, rest).await });
}

/// The entry in an envelope that was found under `key`.
fn opened(store: &RedisStore, key: &str, envelope: &Bytes) -> Result<Arc<Entry>, StoreError> {
    Entry::open(envelope, key, store.largest()).map(Arc::new).map_err(|_| {
        // Rubbish under our key, or a reply that was meant for another request.
        store.suspect();
        StoreError::Protocol
    })
}
