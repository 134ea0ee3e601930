//! Entries in Redis, where other replicas have them too; and before it, the near tier.
//!
//! What was found in Redis counts only once it is known what was retired by then.

use std::{
    slice,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;

use super::{LeaseReply, RedisStore, StoreError, near_cache::Ticket, pending_writes::Write, redis};
use crate::{
    cache::{
        entry::Entry,
        invalidation::{Dependencies, TargetId},
        key::Key,
    },
    dialect::Placement,
    time::unix_millis,
};

/// An answer that others overtake so often while it looks for them takes their place.
const MOST_LOOKS: usize = 4;

type Found = Result<Option<Arc<Entry>>, StoreError>;

impl RedisStore {
    /// The entry under `key`, for a request.
    pub(super) async fn hit(self: &Arc<Self>, key: &Key) -> Found {
        if let Some(entry) = self.near_hit(key) {
            return Ok(Some(entry));
        }
        let ticket = self.ticket(key);
        let found = self.peek(key).await?;
        self.found(key, found.as_deref(), ticket);
        Ok(found)
    }

    /// The entries under `keys`, for a request; those that are not near, in one round trip.
    pub(super) async fn hit_many(self: &Arc<Self>, keys: &[Key]) -> Vec<Found> {
        let near: Vec<_> = keys.iter().map(|key| self.near_hit(key)).collect();
        let far = keys.iter().zip(&near).filter(|(_, near)| near.is_none());
        let far: Vec<_> = far.map(|(key, _)| key.clone()).collect();
        let tickets: Vec<_> = far.iter().map(|key| self.ticket(key)).collect();
        let found = self.peek_many(&far).await;
        let mut found =
            far.iter().zip(tickets).zip(found).map(|((key, ticket), found)| {
                found.inspect(|found| self.found(key, found.as_deref(), ticket))
            });
        let or_far = |near: Option<_>| match near {
            Some(entry) => Ok(Some(entry)),
            None => found.next().unwrap_or(Err(StoreError::Unavailable)),
        };
        near.into_iter().map(or_far).collect()
    }

    /// What Redis holds under `key`, for whoever looks on.
    pub(super) async fn peek(self: &Arc<Self>, key: &Key) -> Found {
        if key.former().is_some() {
            return self.peek_many(slice::from_ref(key)).await.pop().unwrap_or(Ok(None));
        }
        let deadline = self.deadline(Duration::MAX)?;
        if let Some(entry) = self.writing.get(key) {
            return self.unless_invalidated(key, Some(entry), deadline).await;
        }
        self.stored(key).await
    }

    /// What Redis itself holds under `key`.
    async fn stored(&self, key: &Key) -> Found {
        let deadline = self.deadline(Duration::MAX)?;
        let name = key.name();
        let envelope = self.get(&name).await?;
        let found = envelope.map(|envelope| self.opened(&name, &envelope)).transpose()?;
        self.unless_invalidated(key, found, deadline).await
    }

    /// The same for many, in one round trip.
    async fn peek_many(self: &Arc<Self>, keys: &[Key]) -> Vec<Found> {
        let Ok(deadline) = self.deadline(Duration::MAX) else {
            return vec![Err(StoreError::Unavailable); keys.len()];
        };
        let mut kept = Vec::with_capacity(keys.len());
        for (key, found) in keys.iter().zip(self.find_many(keys).await) {
            kept.push(match found {
                Ok(found) => self.unless_invalidated(key, found, deadline).await,
                failed => failed,
            });
        }
        kept
    }

    /// Keeps `entry` under `key` for `life`.
    pub(super) async fn keep(&self, key: &Key, entry: &Arc<Entry>, life: Duration) -> Result<(), StoreError> {
        self.forget_hits(key, self.hits(key));
        self.write(key, entry, life).await
    }

    async fn write(&self, key: &Key, entry: &Arc<Entry>, life: Duration) -> Result<(), StoreError> {
        let _writing = self.writing.begin(key, entry);
        let (ticket, name) = (self.ticket(key), key.name());
        let place = self.put(&name, Bytes::from(entry.seal(&name)), life).await?;
        if let Some(near) = self.near() {
            near.wrote(key, entry, life, ticket, place);
        }
        Ok(())
    }

    /// The same, or where `place` says, which is asked where another entry is kept under `key`. While Redis is asked for
    /// that, this process finds the new one all the same: in its own form, whatever is kept in another.
    pub(super) async fn keep_in_place(
        &self,
        key: &Key,
        entry: &Arc<Entry>,
        life: Duration,
        place: impl Fn(&Entry) -> Placement,
    ) -> Result<Placement, StoreError> {
        let beside = key.beside(entry.form);
        let hits_before = self.hits(key);
        let _found_beside = self.writing.begin(&beside, entry);
        let (_found_here, stored) = self.look_before(key, entry).await;
        if entry.is_invalidated(key, self.invalidations()) {
            return Ok(Placement::Nowhere);
        }
        let place = stored.map_or(Placement::Instead, |stored| place(&stored));
        match place {
            Placement::Instead => {
                self.forget_hits(key, hits_before);
                self.write(key, entry, life).await?;
            }
            Placement::Beside => self.keep(&beside, entry, life).await?,
            Placement::Nowhere => {}
        }
        Ok(place)
    }

    /// What is kept under `key`, or is being written there; where that is nothing, `entry` is found there until what comes
    /// with it is dropped.
    async fn look_before(&self, key: &Key, entry: &Arc<Entry>) -> (Option<Write<'_>>, Option<Arc<Entry>>) {
        for _ in 0..MOST_LOOKS {
            let write = match self.writing.begin_first(key, entry) {
                Ok(write) => write,
                Err(other) => return (None, Some(other)),
            };
            let stored = self.stored(key).await.ok().flatten();
            // Where another one was begun there meanwhile, Redis may not have told of it yet.
            if write.is_found() {
                return (stored.is_none().then_some(write), stored);
            }
        }
        (None, None)
    }

    /// The same for many, pipelined; the first failure.
    pub(super) async fn keep_many(
        &self,
        entries: Vec<(Key, Arc<Entry>, Duration)>,
    ) -> Result<(), StoreError> {
        let _writing: Vec<_> = entries.iter().map(|(key, entry, _)| self.writing.begin(key, entry)).collect();
        let tickets: Vec<_> = entries.iter().map(|(key, ..)| self.ticket(key)).collect();
        let sealed = |(key, entry, life): &(Key, Arc<Entry>, Duration)| {
            self.forget_hits(key, self.hits(key));
            let name = key.name();
            let envelope = Bytes::from(entry.seal(&name));
            (name, envelope, *life)
        };
        let places = self.put_many(entries.iter().map(sealed).collect()).await;
        let mut kept = Ok(());
        for (((key, entry, life), ticket), place) in entries.iter().zip(tickets).zip(places) {
            match (place, self.near()) {
                (Ok(place), Some(near)) => near.wrote(key, entry, *life, ticket, place),
                (place, _) => kept = kept.and(place.map(|_| ())),
            }
        }
        kept
    }

    /// Removes the entry under `key`; whether there was one.
    pub(super) async fn discard(&self, key: &Key) -> Result<bool, StoreError> {
        let removed = self.remove(&key.name()).await;
        if let Some(near) = self.near() {
            near.drop_entry(key);
        }
        removed
    }

    /// Asks whose turn it is to ask the upstream; waits no longer than `within`.
    pub(super) async fn turn_of(
        self: &Arc<Self>,
        key: &Key,
        target_ids: &[TargetId],
        form: u64,
        within: Duration,
    ) -> Result<LeaseReply, StoreError> {
        let deadline = self.deadline(within)?;
        // Who asked before something was retired is not waited for.
        let since = self.invalidations().last_concerning(Dependencies { key, target_ids });
        let name = key.name();
        let redis::LeaseReply { state, stored } = self.acquire_lease(&name, form, since, within).await?;
        let found = stored.map(|envelope| self.opened(&name, &envelope)).transpose()?;
        Ok(LeaseReply { state, found: self.unless_invalidated(key, found, deadline).await? })
    }

    /// Until when a call that begins now may take; none begins where it is not known what is retired.
    fn deadline(&self, within: Duration) -> Result<Instant, StoreError> {
        let now = Instant::now();
        self.invalidations().now(now).ok_or(StoreError::Unavailable)?;
        Ok(now + within.min(self.timeout()))
    }

    /// What was found under `key`, unless that is retired, which is known by `deadline` or not at all.
    async fn unless_invalidated(&self, key: &Key, found: Option<Arc<Entry>>, deadline: Instant) -> Found {
        let Some(entry) = found else { return Ok(None) };
        self.caught_up(deadline).await?;
        Ok(Some(entry).filter(|entry| !entry.is_invalidated(key, self.invalidations())))
    }

    /// The entry under `key`, where it is near, and not retired: that counts.
    fn near_hit(&self, key: &Key) -> Option<Arc<Entry>> {
        let entry = self.near()?.get(key, Instant::now())?;
        let entry = Some(entry).filter(|entry| !entry.is_invalidated(key, self.invalidations()))?;
        self.count_hit(key);
        Some(entry)
    }

    fn ticket(&self, key: &Key) -> Option<Ticket> {
        self.near()?.ticket(key)
    }

    /// Redis was asked for a request: what it has counts, and is near the next time.
    fn found(&self, key: &Key, entry: Option<&Entry>, ticket: Option<Ticket>) {
        if entry.is_some() {
            self.count_hit(key);
        }
        match (self.near(), entry, ticket) {
            // What is only being written is near once it is.
            (Some(_), Some(_), Some(_)) if self.writing.get(key).is_some() => {}
            (Some(near), Some(entry), Some(ticket)) => near.keep(key, entry, rest_of(entry), ticket),
            // What is near may be older, and must not follow what is newer.
            (Some(near), _, None) => near.drop_entry(key),
            _ => {}
        }
    }

    /// What Redis holds under `keys`, or is about to, retired or not; under their former names too, in the same round
    /// trip.
    async fn find_many(self: &Arc<Self>, keys: &[Key]) -> Vec<Found> {
        let writing: Vec<_> = keys.iter().map(|key| self.writing.get(key)).collect();
        let former: Vec<_> = keys.iter().filter_map(Key::former).collect();
        let names: Vec<_> = keys.iter().chain(&former).map(Key::name).collect();
        let open = |(name, found): (&String, Result<Option<Bytes>, StoreError>)| {
            found?.map(|envelope| self.opened(name, &envelope)).transpose()
        };
        let mut found: Vec<_> = names.iter().zip(self.get_many(&names).await).map(open).collect();
        let renewed = found.split_off(keys.len());
        for ((key, found), renewed) in keys.iter().zip(&mut found).zip(renewed) {
            if let (Ok(None), Ok(Some(entry))) = (&found, &renewed) {
                self.renew(key, entry);
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
    fn renew(self: &Arc<Self>, key: &Key, entry: &Entry) {
        let rest = rest_of(entry);
        if rest.is_zero() {
            return;
        }
        let (store, key) = (Arc::clone(self), key.name());
        let envelope = Bytes::from(entry.seal(&key));
        tokio::spawn(async move { store.put_if_absent(&key, envelope, rest).await });
    }

    /// The entry in an envelope that was found under `key`.
    fn opened(&self, key: &str, envelope: &Bytes) -> Result<Arc<Entry>, StoreError> {
        Entry::open(envelope, key, self.largest()).map(Arc::new).map_err(|_| {
            // Rubbish under our key, or a reply that was meant for another request.
            self.suspect();
            StoreError::Protocol
        })
    }
}

/// What is left of an entry's life.
fn rest_of(entry: &Entry) -> Duration {
    entry.life().saturating_sub(entry.age(unix_millis(SystemTime::now())))
}
