//! Finding entries: near ones, those that are being written, and those in Redis, unless they are invalidated.

use std::{
    slice,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    GetResult, Lease, LeaseReply, LeaseState, RedisStore, StoreError, near_cache::Ticket, remaining_life,
};
use crate::cache::{
    entry::Entry,
    invalidation::{Dependencies, TargetId},
    key::Key,
};

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

impl RedisStore {
    /// The entry under `key`, for a request: a hit counts, and is near from then on.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(in crate::store) async fn get(self: &Arc<Self>, key: &Key) -> GetResult {
        match self.get_near(key) {
            Some(entry) => Ok(Some(entry)),
            None => self.get_far(key).await,
        }
    }

    /// As [`Self::get`], for an entry that is not near.
    async fn get_far(self: &Arc<Self>, key: &Key) -> GetResult {
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
    pub(in crate::store) async fn get_or_lease(
        self: &Arc<Self>,
        key: &Key,
        form: u64,
        target_ids: impl FnOnce() -> Vec<TargetId>,
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
            return self.get_far(key).await.map(Looked::from);
        }
        let deadline = self.deadline(Duration::MAX)?;
        let ticket = self.ticket(key);
        let target_ids = &target_ids();
        let since = self.invalidations.last_concerning(Dependencies { key, target_ids });
        let reply = match Lease::look(&self.client, &name, form, since).await {
            // The user may read, and run no script; or the slot is on its way to another server.
            Err(StoreError::Refused | StoreError::WrongType) => {
                return self.get_far(key).await.map(Looked::from);
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
    pub(in crate::store) async fn get_many(self: &Arc<Self>, keys: &[Key]) -> Vec<GetResult> {
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
    pub(in crate::store) async fn peek(self: &Arc<Self>, key: &Key) -> GetResult {
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

    /// Asks for the lease of the answer under `key`; waits no longer than `within`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(in crate::store) async fn acquire_lease(
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

    /// The entry under `key`, if it is near and not invalidated: that is a hit.
    fn get_near(&self, key: &Key) -> Option<Arc<Entry>> {
        let entry = self.near.as_ref()?.get(key, Instant::now())?;
        let entry = Some(entry).filter(|entry| !entry.is_invalidated(key, &self.invalidations))?;
        self.hits.count(key);
        Some(entry)
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
    pub(super) async fn read_known(&self, key: &Key) -> GetResult {
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

    /// The entry that was found under `key`, unless it is invalidated; that must be known by `deadline`.
    pub(super) async fn unless_invalidated(
        &self,
        key: &Key,
        found: Option<Arc<Entry>>,
        deadline: Instant,
    ) -> GetResult {
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

    /// The entry in the bytes that were found under `name`.
    pub(super) fn decode(&self, name: &str, value: Bytes) -> Result<Arc<Entry>, StoreError> {
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
