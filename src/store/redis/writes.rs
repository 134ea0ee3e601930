//! Storing and removing entries. Until a write has ended, this process finds the entry among its pending writes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{RedisStore, StoreError, pending_writes::PendingWrite};
use crate::{
    cache::{entry::Entry, key::Key},
    dialect::Placement,
};

/// After so many disturbed lookups, a put no longer checks what it replaces.
const MAX_LOOKUPS: usize = 4;

impl RedisStore {
    /// Stores `entry` under `key` for `life`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(in crate::store) async fn put(
        &self,
        key: &Key,
        entry: &Arc<Entry>,
        life: Duration,
    ) -> Result<(), StoreError> {
        self.hits.forget(key, self.hits(key));
        self.write(key, entry, life).await
    }

    /// Stores entries as [`Self::put`] would, pipelined; the first failure.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(in crate::store) async fn put_many(
        &self,
        entries: Vec<(Key, Arc<Entry>, Duration)>,
    ) -> Result<(), StoreError> {
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
    pub(in crate::store) async fn put_in_place(
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
    pub(in crate::store) async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        let removed = self.client.remove(&key.name()).await;
        if let Some(near) = &self.near {
            near.remove(key);
        }
        removed
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

    /// The bytes of `entry` to be stored under `name`. Fails early while Redis refuses writes.
    pub(super) fn encode(&self, name: &str, entry: &Entry) -> Result<Bytes, StoreError> {
        self.client.check_writable(name)?;
        let envelope = Bytes::from(entry.seal(name));
        match &self.encryption {
            Some(encryption) => encryption.seal(name, &envelope).ok_or(StoreError::Unavailable),
            None => Ok(envelope),
        }
    }
}
