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
mod hits;
mod near_cache;
mod pending_writes;
mod replicas;
mod restore;
mod subscriber;
mod walk;

use std::{
    fmt, slice,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use tokio::{sync::watch, task::AbortHandle};

pub use self::client::{Lease, LeaseState, RedisClient, StoreError, StoreEvent};
pub(crate) use self::client::{LeaseReply, OpenError};
pub(super) use self::walk::{Walk, WalkedEntry};
use self::{
    hits::HitCounts,
    near_cache::{NearCache, Ticket},
    pending_writes::{PendingWrite, PendingWrites},
    replicas::Replicas,
    subscriber::{Shared, Subscriber},
};
use super::StoreStatus;
use crate::{
    cache::{
        encryption::Encryption,
        entry::Entry,
        invalidation::{Dependencies, Invalidation, InvalidationLog, TargetId, Version, glob::escape},
        key::{Key, namespace::Namespace},
        route::kind::Kind,
    },
    dialect::Placement,
    time::unix_millis,
};

/// After so many disturbed lookups, a put no longer checks what it replaces.
const MAX_LOOKUPS: usize = 4;

/// What a look at the store found.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    pub(crate) entry: Option<Arc<Entry>>,
    /// If there is no entry: who may ask the upstream, if that is known.
    pub(crate) lease: Option<LeaseState>,
}

impl From<Option<Arc<Entry>>> for Looked {
    fn from(entry: Option<Arc<Entry>>) -> Self {
        Self { entry, lease: None }
    }
}

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

    /// The entry under `key`, for a request: a hit counts, and is near from then on.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn get(self: &Arc<Self>, key: &Key) -> GetResult {
        if let Some(entry) = self.get_near(key) {
            return Ok(Some(entry));
        }
        let ticket = self.ticket(key);
        let found = self.peek(key).await?;
        self.record_read(key, found.as_deref(), ticket);
        Ok(found)
    }

    /// As [`Self::get`]. If there is nothing, asks for the lease of the answer in the same round trip. A key that lately had
    /// a value is read alone: that costs Redis less.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn get_or_lease(
        self: &Arc<Self>,
        key: &Key,
        target_ids: &[TargetId],
        form: u64,
    ) -> Result<Looked, StoreError> {
        if let Some(entry) = self.get_near(key) {
            return Ok(Some(entry).into());
        }
        let name = key.name();
        let is_plain = key.former().is_some()
            || self.client.expects(&name)
            || self.pending_writes.get(key).is_some()
            || self.client.refuses_writes(&name);
        if is_plain {
            return self.get(key).await.map(Looked::from);
        }
        let deadline = self.deadline(Duration::MAX)?;
        let ticket = self.ticket(key);
        let since = self.invalidations.last_concerning(Dependencies { key, target_ids });
        let reply = match Lease::look(&self.client, &name, form, since).await {
            // The user may read, and run no script; or the slot is on its way to another server.
            Err(StoreError::Refused | StoreError::WrongType) => {
                return self.get(key).await.map(Looked::from);
            }
            reply => reply?,
        };
        let entry = reply.stored.map(|value| self.decode(&name, value)).transpose()?;
        let entry = self.unless_invalidated(key, entry, deadline).await?;
        self.record_read(key, entry.as_deref(), ticket);
        Ok(Looked { entry, lease: reply.state })
    }

    /// The entries under `keys`, each as [`Self::get`] would find it; those that are not near, in one round
    /// trip.
    pub(super) async fn get_many(self: &Arc<Self>, keys: &[Key]) -> Vec<GetResult> {
        let near: Vec<_> = keys.iter().map(|key| self.get_near(key)).collect();
        let missing = keys.iter().zip(&near).filter(|(_, near)| near.is_none());
        let missing: Vec<_> = missing.map(|(key, _)| key.clone()).collect();
        let tickets: Vec<_> = missing.iter().map(|key| self.ticket(key)).collect();
        let read = self.peek_many(&missing).await;
        let mut read = missing.iter().zip(tickets).zip(read).map(|((key, ticket), found)| {
            found.inspect(|found| self.record_read(key, found.as_deref(), ticket))
        });
        let near_or_read = |near: Option<_>| match near {
            Some(entry) => Ok(Some(entry)),
            None => read.next().unwrap_or(Err(StoreError::Unavailable)),
        };
        near.into_iter().map(near_or_read).collect()
    }

    /// The entry under `key` in Redis, without counting a hit.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn peek(self: &Arc<Self>, key: &Key) -> GetResult {
        if key.former().is_some() {
            return self.peek_many(slice::from_ref(key)).await.pop().unwrap_or(Ok(None));
        }
        let deadline = self.deadline(Duration::MAX)?;
        if let Some(entry) = self.pending_writes.get(key) {
            return self.unless_invalidated(key, Some(entry), deadline).await;
        }
        self.read(key).await
    }

    async fn peek_many(self: &Arc<Self>, keys: &[Key]) -> Vec<GetResult> {
        let Ok(deadline) = self.deadline(Duration::MAX) else {
            return vec![Err(StoreError::Unavailable); keys.len()];
        };
        let mut results = Vec::with_capacity(keys.len());
        for (key, found) in keys.iter().zip(self.read_many(keys).await) {
            results.push(match found {
                Ok(found) => self.unless_invalidated(key, found, deadline).await,
                failed => failed,
            });
        }
        results
    }

    /// Stores `entry` under `key` for `life`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn put(&self, key: &Key, entry: &Arc<Entry>, life: Duration) -> Result<(), StoreError> {
        self.hits.forget(key, self.hits(key));
        self.write(key, entry, life).await
    }

    /// Stores entries as [`Self::put`] would, pipelined; the first failure.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn put_many(&self, entries: Vec<(Key, Arc<Entry>, Duration)>) -> Result<(), StoreError> {
        let _pending: Vec<_> =
            entries.iter().map(|(key, entry, _)| self.pending_writes.begin(key, entry)).collect();
        let tickets: Vec<_> = entries.iter().map(|(key, ..)| self.ticket(key)).collect();
        let value_of = |(key, entry, life): &(Key, Arc<Entry>, Duration)| {
            self.hits.forget(key, self.hits(key));
            let name = key.name();
            let value = self.encode(&name, entry)?;
            Ok((name, value, *life))
        };
        let mut result = Ok(());
        let mut sent = Vec::with_capacity(entries.len());
        let mut values = Vec::with_capacity(entries.len());
        for (put, ticket) in entries.iter().zip(tickets) {
            match value_of(put) {
                Ok(value) => {
                    values.push(value);
                    sent.push((put, ticket));
                }
                Err(error) => result = Err(error),
            }
        }
        for (((key, entry, life), ticket), put) in sent.into_iter().zip(self.client.put_many(values).await) {
            match (put, &self.near) {
                (Ok(offset), Some(near)) => near.put_written(key, entry, *life, ticket.zip(offset)),
                (put, _) => result = result.and(put.map(|_| ())),
            }
        }
        result
    }

    /// Stores `entry` for `life` under `key`. If another entry is there, `place` decides: instead of it,
    /// beside it, or nowhere. While Redis is asked for that other entry, this process finds the new one in
    /// its own form.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn put_in_place(
        &self,
        key: &Key,
        entry: &Arc<Entry>,
        life: Duration,
        place: impl Fn(&Entry) -> Placement,
    ) -> Result<Placement, StoreError> {
        let beside = key.beside(entry.form);
        let hits_before = self.hits(key);
        let _found_beside = self.pending_writes.begin(&beside, entry);
        let (_found_here, other) = self.look_before(key, entry).await?;
        if entry.is_invalidated(key, &self.invalidations) {
            return Ok(Placement::Nowhere);
        }
        let place = other.map_or(Placement::Instead, |other| place(&other));
        match place {
            Placement::Instead => {
                self.hits.forget(key, hits_before);
                self.write(key, entry, life).await?;
            }
            Placement::Beside => self.put(&beside, entry, life).await?,
            Placement::Nowhere => {}
        }
        Ok(place)
    }

    /// Removes the entry under `key`; whether there was one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        let removed = self.client.remove(&key.name()).await;
        if let Some(near) = &self.near {
            near.remove(key);
        }
        removed
    }

    /// Asks for the lease of the answer under `key`; waits no longer than `within`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn acquire_lease(
        &self,
        key: &Key,
        target_ids: &[TargetId],
        form: u64,
        within: Duration,
    ) -> Result<LeaseReply<Arc<Entry>>, StoreError> {
        let deadline = self.deadline(within)?;
        // Nobody waits for an answer that was asked for before an invalidation.
        let since = self.invalidations.last_concerning(Dependencies { key, target_ids });
        let name = key.name();
        let LeaseReply { state, stored } = Lease::acquire(&self.client, &name, form, since, within).await?;
        let entry = stored.map(|value| self.decode(&name, value)).transpose()?;
        Ok(LeaseReply { state, stored: self.unless_invalidated(key, entry, deadline).await? })
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

    /// The entry under `key`, if it is near and not invalidated: that is a hit.
    fn get_near(&self, key: &Key) -> Option<Arc<Entry>> {
        let entry = self.near.as_ref()?.get(key, Instant::now())?;
        let entry = Some(entry).filter(|entry| !entry.is_invalidated(key, &self.invalidations))?;
        self.hits.count(key);
        Some(entry)
    }

    fn ticket(&self, key: &Key) -> Option<Ticket> {
        self.near.as_ref()?.ticket(key)
    }

    /// Counts a hit in Redis, and stores the entry near.
    fn record_read(&self, key: &Key, entry: Option<&Entry>, ticket: Option<Ticket>) {
        if entry.is_some() {
            self.hits.count(key);
        }
        match (&self.near, entry, ticket) {
            // An entry that is only being written becomes near once it is written.
            (Some(_), Some(_), Some(_)) if self.pending_writes.get(key).is_some() => {}
            (Some(near), Some(entry), Some(ticket)) => {
                near.put_read(key, entry, remaining_life(entry), ticket)
            }
            // The near entry may be older, and must not be found after a newer one.
            (Some(near), _, None) => near.remove(key),
            _ => {}
        }
    }

    /// The entry that Redis holds under `key`, unless it is invalidated.
    async fn read(&self, key: &Key) -> GetResult {
        let deadline = self.deadline(Duration::MAX)?;
        let found = self.read_known(key).await?;
        self.unless_invalidated(key, found, deadline).await
    }

    /// The entry that Redis holds under `key`, unless it is known to be invalidated. It may not be served: the latest
    /// invalidations need not be known.
    async fn read_known(&self, key: &Key) -> GetResult {
        let name = key.name();
        let value = self.client.get(&name).await?;
        let entry = value.map(|value| self.decode(&name, value)).transpose()?;
        Ok(entry.filter(|entry| !entry.is_invalidated(key, &self.invalidations)))
    }

    /// The entries that Redis holds under `keys`, or is about to hold, invalidated or not; under their former
    /// names too, in the same round trip.
    async fn read_many(self: &Arc<Self>, keys: &[Key]) -> Vec<GetResult> {
        let pending: Vec<_> = keys.iter().map(|key| self.pending_writes.get(key)).collect();
        let former: Vec<_> = keys.iter().filter_map(Key::former).collect();
        let names: Vec<_> = keys.iter().chain(&former).map(Key::name).collect();
        let decode = |(name, value): (&String, Result<Option<Bytes>, StoreError>)| {
            value?.map(|value| self.decode(name, value)).transpose()
        };
        let mut found: Vec<_> = names.iter().zip(self.client.get_many(&names).await).map(decode).collect();
        let found_former = found.split_off(keys.len());
        for ((key, found), found_former) in keys.iter().zip(&mut found).zip(found_former) {
            if let (Ok(None), Ok(Some(entry))) = (&found, &found_former) {
                self.rename(key, entry);
                *found = found_former;
            }
        }
        for (found, pending) in found.iter_mut().zip(pending) {
            if pending.is_some() {
                *found = Ok(pending);
            }
        }
        found
    }

    /// Stores an entry that was found under its former name under the present one, for the rest of its life.
    /// Nobody waits for that.
    fn rename(self: &Arc<Self>, key: &Key, entry: &Arc<Entry>) {
        let life = remaining_life(entry);
        if life.is_zero() {
            return;
        }
        let store = Arc::clone(self);
        let name = key.name();
        let entry = Arc::clone(entry);
        tokio::spawn(async move {
            let value = store.encode(&name, &entry)?;
            store.client.put_if_absent(&name, value, life).await
        });
    }

    async fn write(&self, key: &Key, entry: &Arc<Entry>, life: Duration) -> Result<(), StoreError> {
        let _pending = self.pending_writes.begin(key, entry);
        let ticket = self.ticket(key);
        let name = key.name();
        let offset = self.client.put(&name, self.encode(&name, entry)?, life).await?;
        if let Some(near) = &self.near {
            near.put_written(key, entry, life, ticket.zip(offset));
        }
        Ok(())
    }

    /// The entry that is stored under `key`, or is being written there. If there is none, `entry` is found
    /// there until the pending write that comes with it is dropped.
    ///
    /// # Errors
    /// See [`StoreError`]. A better entry may be stored then, so nothing is written.
    async fn look_before(
        &self,
        key: &Key,
        entry: &Arc<Entry>,
    ) -> Result<(Option<PendingWrite<'_>>, Option<Arc<Entry>>), StoreError> {
        for _ in 0..MAX_LOOKUPS {
            let write = match self.pending_writes.begin_first(key, entry) {
                Ok(write) => write,
                Err(other) => return Ok((None, Some(other))),
            };
            let stored = match self.read_known(key).await {
                Ok(stored) => stored,
                // What cannot be read as an entry is replaced.
                Err(StoreError::Protocol | StoreError::WrongType) => None,
                Err(error) => return Err(error),
            };
            // If another write began meanwhile, Redis may have been read before it.
            if write.is_latest() {
                return Ok((stored.is_none().then_some(write), stored));
            }
        }
        Ok((None, None))
    }

    /// Until when a call that begins now may take; none begins while it is not known what was invalidated.
    fn deadline(&self, within: Duration) -> Result<Instant, StoreError> {
        let now = Instant::now();
        self.invalidations.now(now).ok_or(StoreError::Unavailable)?;
        Ok(now + within.min(self.client.timeout()))
    }

    /// The entry that was found under `key`, unless it is invalidated; that must be known by `deadline`.
    async fn unless_invalidated(&self, key: &Key, found: Option<Arc<Entry>>, deadline: Instant) -> GetResult {
        let Some(entry) = found else { return Ok(None) };
        self.caught_up(deadline).await?;
        Ok(Some(entry).filter(|entry| !entry.is_invalidated(key, &self.invalidations)))
    }

    /// Waits until it is known what was invalidated and written up to now, but no longer than until
    /// `deadline`. Without a near cache it suffices that [`InvalidationLog::now`] knows it.
    ///
    /// # Errors
    /// If it is not known by then: what was found may be invalidated.
    async fn caught_up(&self, deadline: Instant) -> Result<(), StoreError> {
        let is_known = match &self.near {
            Some(near) => near.caught_up(deadline).await,
            None => self.invalidations.now(Instant::now()).is_some(),
        };
        if is_known { Ok(()) } else { Err(StoreError::Unavailable) }
    }

    /// The bytes of `entry` to be stored under `name`. Fails early while Redis refuses writes.
    fn encode(&self, name: &str, entry: &Entry) -> Result<Bytes, StoreError> {
        self.client.check_writable(name)?;
        let envelope = Bytes::from(entry.seal(name));
        match &self.encryption {
            Some(encryption) => encryption.seal(name, &envelope).ok_or(StoreError::Unavailable),
            None => Ok(envelope),
        }
    }

    /// The entry in the bytes that were found under `name`.
    fn decode(&self, name: &str, value: Bytes) -> Result<Arc<Entry>, StoreError> {
        let envelope = match &self.encryption {
            Some(encryption) => encryption.open(name, &value),
            None => Some(value),
        };
        let max_entry = self.max_entry.load(Ordering::Relaxed);
        let entry = envelope.and_then(|envelope| Entry::open(&envelope, name, max_entry).ok());
        entry.map(Arc::new).ok_or_else(|| {
            // Rubbish under our key, sealed with another encryption key, or a reply that was meant for
            // another request.
            self.client.refresh_connections();
            StoreError::Protocol
        })
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
