//! Answers in Redis.
//!
//! Redis can never hurt: every call has an outer deadline, and while Redis is of no use calls fail at once,
//! without a socket being touched. A breaker opens on the first sign that Redis is gone, and a
//! background task closes it again.
//!
//! | sign | what follows |
//! | --- | --- |
//! | connection lost; three timeouts in a row; a reply of the wrong kind; `LOADING`, `NOAUTH`, `MOVED` and the like | everything fails at once until a test lookup works again |
//! | `MISCONF` | the same, until a test write works again |
//! | `OOM`, `READONLY`, `NOREPLICAS`, `NOPERM` on a write | writes fail at once but for a probe every 500 ms; reads go on |
//! | `READONLY`; three timeouts in a row on one connection while others answer | fresh connections, without a gap |
//! | `WRONGTYPE` | nothing: that key's affair |

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ::redis::Value;
use bytes::Bytes;
use tokio::{sync::watch, task::AbortHandle};

pub mod announcements;
pub mod batch;
mod breaker;
mod client;
pub mod connections;
mod connector;
mod error;
mod lease;
mod scan;
mod stream;
pub mod subscriber;
pub mod timeouts;
pub mod usage;
pub mod write_gate;

pub use error::{OpenError, StoreError};
pub use lease::{Lease, LeaseReply, LeaseState};
pub use scan::{Seen, Walk};

use announcements::Announcements;
use breaker::{Breaker, Call, Kind};
use client::client;
use connections::{LARGE, LargeKeys, get};
use connector::Connector;
use stream::Keys;
use subscriber::Subscriber;
use usage::UsageScan;

use super::{MAX_TTL, hits::Hits, near_cache::NearCache, pending_writes::Writing};
use crate::{
    cache::{
        encryption::Encryption,
        invalidation::{Invalidation, InvalidationLog, Offset, Version},
        key::Key,
    },
    config::RedisTls,
};

/// A change in what Redis can be used for, told once each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// Redis cannot be used any more, or could not be reached at the start.
    Lost {
        /// Why, without anything secret.
        reason: String,
    },
    /// Redis can be used again.
    Back,
    /// Redis takes no writes; reads go on.
    WritesRefused {
        /// Why, without anything secret.
        reason: String,
    },
    /// Redis took all writes for a while.
    WritesBack,
}

/// What `/health` tells of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether lookups can find anything: Redis can be used, and it is known what was retired.
    pub connected: bool,
    /// How many keys the namespace has, but for those under `NAMESPACE:_:`; `None` where that is not known. A
    /// count of a table that changes meanwhile is near, not exact.
    pub total_keys: Option<u64>,
    /// The memory that Redis uses for everything in it, in bytes; `None` where that is not known.
    pub memory_used: Option<u64>,
}

/// How a value is put.
#[derive(Clone, Copy, Default)]
struct Put {
    /// It is one of many, and goes over the connection for large values.
    is_bulk: bool,
    /// It does not take another one's place.
    if_absent: bool,
}

/// A store of bytes under keys in one Redis.
pub struct RedisStore {
    breaker: Arc<Breaker>,
    census: Arc<UsageScan>,
    large_keys: LargeKeys,
    tasks: [AbortHandle; 2],
    namespace: String,
    invalidations: Arc<InvalidationLog>,
    keys: Keys,
    synced: watch::Receiver<bool>,
    near: Option<Arc<NearCache>>,
    hits: Hits,
    pub(super) writing: Writing,
    encryption: Option<Arc<Encryption>>,
    /// The largest body that is taken for an answer, in bytes.
    largest: AtomicUsize,
}

impl RedisStore {
    /// Begins to connect to the Redis at `url` and does not wait for it; until it is reached, every call fails
    /// with [`StoreError::Unavailable`]. `timeout` is the deadline of each call. With `near` bytes, entries are kept
    /// in this process too. `on_change` is called from a background task, once for each change: a first connection that
    /// works at once is none. It must neither block nor panic.
    ///
    /// # Errors
    /// If `url` is no Redis URL, or a file of `tls` is of no use.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn open(
        url: &str,
        tls: &RedisTls,
        namespace: &str,
        timeout: Duration,
        near: u64,
        on_change: impl Fn(StoreEvent) + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        let client = client(url, tls)?;
        let census = Arc::new(UsageScan::new(client.clone(), namespace));
        let (invalidations, keys) = (Arc::<InvalidationLog>::default(), Keys::of(namespace));
        let near = NearCache::new(near).map(Arc::new);
        let announced = near.as_ref().map(|near| Announcements::new(Arc::clone(near), namespace));
        let mirror = Subscriber::new(client.clone(), keys.clone(), Arc::clone(&invalidations), announced);
        let synced = mirror.synced();
        let (breaker, losses) = Breaker::new(client, timeout);
        let breaker = Arc::new(breaker);
        let connector = Connector::new(Arc::clone(&breaker), losses, on_change, namespace);
        let tasks = [tokio::spawn(connector.run()).abort_handle(), tokio::spawn(mirror.run()).abort_handle()];
        let (large_keys, namespace) = (LargeKeys::new(), namespace.to_owned());
        Ok(Self {
            breaker,
            census,
            large_keys,
            tasks,
            namespace,
            invalidations,
            keys,
            synced,
            near,
            hits: Hits::default(),
            writing: Writing::default(),
            encryption: None,
            largest: AtomicUsize::new(usize::MAX),
        })
    }

    /// The same store, but with values that are sealed before they leave this process.
    #[must_use]
    pub fn sealed(mut self, encryption: Option<Encryption>) -> Self {
        self.encryption = encryption.map(Arc::new);
        self
    }

    /// The largest body that is taken for an answer, in bytes.
    pub fn largest(&self) -> usize {
        self.largest.load(Ordering::Relaxed)
    }

    /// Sets it.
    pub fn set_largest(&self, bytes: usize) {
        self.largest.store(bytes, Ordering::Relaxed);
    }

    /// Waits until Redis can be used, but no longer than `within`; whether it can.
    pub async fn ready(&self, within: Duration) -> bool {
        let _ = tokio::time::timeout(within, self.breaker.ready()).await;
        self.connected()
    }

    /// Waits until it is known what was retired, but no longer than `within`: no value is of use before that.
    pub async fn synced(&self, within: Duration) {
        let mut synced = self.synced.clone();
        let _ = tokio::time::timeout(within, synced.wait_for(|synced| *synced)).await;
    }

    /// Whether Redis can be used, as far as is known.
    pub fn connected(&self) -> bool {
        self.breaker.connected()
    }

    /// Why Redis cannot be used, for `check` and for logs; `None` while it can, and before the first try ended.
    pub fn last_error(&self) -> Option<String> {
        self.breaker.last_error()
    }

    /// The deadline of a call.
    pub fn timeout(&self) -> Duration {
        self.breaker.timeout
    }

    /// The value under `key`; `None` where there is none.
    ///
    /// # Errors
    /// See [`StoreError`]; all of them are misses.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let lanes = self.breaker.lanes()?;
        let hash = self.large_keys.hash(key);
        let lane = lanes.pick(self.large_keys.contains(hash));
        let call = Call { lanes: &lanes, lane, key, kind: Kind::Read, within: Duration::MAX };
        match self.breaker.call(call, lane.send(&get(key))).await? {
            Value::Nil => Ok(None),
            Value::BulkString(value) => {
                self.large_keys.note(hash, value.len());
                self.unsealed(key, value).map(Some)
            }
            _ => Err(self.breaker.mistrust(&lanes)),
        }
    }

    /// The value in the bytes that were found under `key`.
    fn unsealed(&self, key: &str, bytes: Vec<u8>) -> Result<Bytes, StoreError> {
        let Some(encryption) = &self.encryption else { return Ok(bytes.into()) };
        encryption.open(key, &bytes).ok_or_else(|| {
            // Rubbish, another encryption key's, or a reply that was meant for another request.
            self.suspect();
            StoreError::Protocol
        })
    }

    /// Stores `value` under `key` for `ttl`, of which a part of a millisecond counts as a whole one, and announces it;
    /// at which place, where some replica listens. A call that times out, or whose future is dropped, may still store
    /// it, even later.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Refused`] also without asking Redis, where it refused lately.
    pub async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<Option<Offset>, StoreError> {
        self.put_on(key, value, ttl, Put::default()).await
    }

    /// The same, unless there is one by now.
    ///
    /// # Errors
    /// See [`Self::put`].
    pub async fn put_if_absent(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
    ) -> Result<Option<Offset>, StoreError> {
        self.put_on(key, value, ttl, Put { if_absent: true, ..Put::default() }).await
    }

    async fn put_on(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        how: Put,
    ) -> Result<Option<Offset>, StoreError> {
        let lanes = self.breaker.lanes()?;
        let writes = &self.breaker.writes;
        if !writes.admits(Instant::now()) {
            return Err(StoreError::Refused);
        }
        let value = match &self.encryption {
            Some(encryption) => encryption.seal(key, &value).ok_or(StoreError::Unavailable)?,
            None => value,
        };
        let hash = self.large_keys.hash(key);
        // An older, larger value's lane is kept for this write, so that it cannot overtake that one's.
        let lane = lanes.pick(how.is_bulk || value.len() >= LARGE || self.large_keys.contains(hash));
        let mut command = ::redis::cmd("SET");
        command.arg(key).arg(&value[..]).arg("PX").arg(millis(ttl));
        if how.if_absent {
            command.arg("NX");
        }
        let commands = self.keys.announced(key, command);
        let call = Call { lanes: &lanes, lane, key, kind: Kind::Put, within: Duration::MAX };
        let reply = self.breaker.call(call, lane.send_together(&commands)).await?;
        match stream::announced_at(reply) {
            Some((Value::Okay, offset)) => {
                writes.open();
                self.large_keys.note(hash, value.len());
                Ok(offset)
            }
            Some((Value::Nil, offset)) if how.if_absent => Ok(offset),
            _ => Err(self.breaker.mistrust(&lanes)),
        }
    }

    /// Removes `key`, and announces it; whether it was there. Sent even while other writes are refused: a full Redis can remove.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        let lanes = self.breaker.lanes()?;
        let hash = self.large_keys.hash(key);
        let lane = lanes.pick(self.large_keys.contains(hash));
        let command = self.keys.remove(key);
        let call = Call { lanes: &lanes, lane, key, kind: Kind::Aside, within: Duration::MAX };
        match self.breaker.call(call, lane.send(&command)).await? {
            Value::Int(removed) => Ok(removed > 0),
            _ => Err(self.breaker.mistrust(&lanes)),
        }
    }

    /// Waits until it is known what was retired and written up to now, but no longer than until `deadline`. Without a
    /// near tier, it is known well enough where [`InvalidationLog::now`] says so.
    ///
    /// # Errors
    /// Where it is not known by then: what was found may be retired.
    pub(super) async fn caught_up(&self, deadline: Instant) -> Result<(), StoreError> {
        let is_known = match &self.near {
            Some(near) => near.caught_up(deadline).await,
            None => self.invalidations.now(Instant::now()).is_some(),
        };
        if is_known { Ok(()) } else { Err(StoreError::Unavailable) }
    }

    /// The near tier, where there is one.
    pub(super) fn near(&self) -> Option<&NearCache> {
        self.near.as_deref()
    }

    /// Counts a request that `key`'s entry was found for.
    pub fn count_hit(&self, key: &Key) {
        self.hits.count(key);
    }

    /// Another entry is stored under `key`; `before` were counted until it could be found.
    pub fn forget_hits(&self, key: &Key, before: u64) {
        self.hits.forget(key, before);
    }

    /// How often this process found `key`'s entry, as far as it remembers.
    pub fn hits(&self, key: &Key) -> u64 {
        self.hits.of(key)
    }

    /// What was retired, by whichever replica.
    pub fn invalidations(&self) -> &InvalidationLog {
        &self.invalidations
    }

    /// Retires for all replicas; the place at which that happened. Where Redis cannot be told `within` that time, it is retired here at
    /// once, and for the others as soon as Redis is back.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn invalidate(
        &self,
        invalidation: &Invalidation,
        within: Duration,
    ) -> Result<Version, StoreError> {
        match self.tell(invalidation, within).await {
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

    async fn tell(&self, invalidation: &Invalidation, within: Duration) -> Result<Version, StoreError> {
        let lanes = self.breaker.lanes()?;
        let (command, name) = (self.keys.invalidate(invalidation), &self.keys.stream);
        let lane = &lanes.small;
        let call = Call { lanes: &lanes, lane, key: name, kind: Kind::Aside, within };
        let reply = self.breaker.call(call, lane.send(&command)).await?;
        stream::invalidated_at(reply).ok_or_else(|| self.breaker.mistrust(&lanes))
    }

    /// Says that a value did not fit its key: replies may have slipped against requests. The connections are
    /// replaced by fresh ones, at most once a second, without a gap.
    pub fn suspect(&self) {
        self.breaker.ask_refresh();
    }

    /// What `/health` tells. Takes some 200 ms at most, whatever Redis does, and no lookup waits for it; figures
    /// that take longer are made in the background, and the last known ones are given.
    pub async fn status(&self) -> Status {
        if !self.connected() {
            return Status { connected: false, total_keys: None, memory_used: None };
        }
        let figures = self.census.figures().await;
        let connected = self.connected() && self.invalidations.now(Instant::now()).is_some();
        Status { connected, total_keys: figures.keys, memory_used: figures.memory }
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("RedisStore").field("connected", &self.connected()).finish_non_exhaustive()
    }
}

fn millis(ttl: Duration) -> u64 {
    let whole = ttl.min(MAX_TTL).as_nanos().div_ceil(1_000_000);
    u64::try_from(whole).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_never_zero_nor_too_long() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_micros(1500)), 2);
        assert_eq!(millis(Duration::from_secs(60)), 60_000);
        assert_eq!(millis(Duration::MAX), 3_153_600_000_000);
    }
}
