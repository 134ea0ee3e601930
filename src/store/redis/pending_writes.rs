//! Entries that are being written to Redis. This process finds them from the moment at which the write
//! begins.
//!
//! So a caller need not wait for the write, and the next one finds the answer all the same, in whatever order
//! the lookup and the write go over the connections.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::cache::{
    entry::Entry,
    key::{Key, KeyId},
};

/// The entries whose writes are under way. Each write has a deadline, so there are no more than that.
#[derive(Debug, Default)]
pub(super) struct PendingWrites {
    entries: Mutex<HashMap<KeyId, Arc<Entry>>>,
    /// A write has ended.
    ended: Notify,
}

impl PendingWrites {
    /// Lets `entry` be found under `key` until the returned value is dropped.
    pub(super) fn begin(&self, key: &Key, entry: &Arc<Entry>) -> PendingWrite<'_> {
        self.entries.lock().insert(key.id(), Arc::clone(entry));
        PendingWrite { writes: self, key: key.id(), entry: Arc::clone(entry) }
    }

    /// As [`Self::begin`], if no other entry is being written there.
    ///
    /// # Errors
    /// That other entry.
    pub(super) fn begin_first(&self, key: &Key, entry: &Arc<Entry>) -> Result<PendingWrite<'_>, Arc<Entry>> {
        match self.entries.lock().entry(key.id()) {
            hash_map::Entry::Occupied(other) => Err(Arc::clone(other.get())),
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(Arc::clone(entry));
                Ok(PendingWrite { writes: self, key: key.id(), entry: Arc::clone(entry) })
            }
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.lock().get(&key.id()).cloned()
    }

    /// Waits for the writes that are under way by now. A walk through Redis then sees every answer that was
    /// given before.
    pub(super) async fn settled(&self) {
        let under_way: Vec<_> = self.entries.lock().values().cloned().collect();
        loop {
            let ended = self.ended.notified();
            let is_under_way = |entry| under_way.iter().any(|other| Arc::ptr_eq(entry, other));
            if !self.entries.lock().values().any(is_under_way) {
                return;
            }
            ended.await;
        }
    }
}

/// A write that is under way.
#[derive(Debug)]
pub(super) struct PendingWrite<'a> {
    writes: &'a PendingWrites,
    key: KeyId,
    entry: Arc<Entry>,
}

impl PendingWrite<'_> {
    /// Whether no later write has taken its place: its entry is found.
    pub(super) fn is_latest(&self) -> bool {
        self.writes.entries.lock().get(&self.key).is_some_and(|found| Arc::ptr_eq(found, &self.entry))
    }
}

impl Drop for PendingWrite<'_> {
    fn drop(&mut self) {
        // A later write may have taken its place.
        if let hash_map::Entry::Occupied(held) = self.writes.entries.lock().entry(self.key)
            && Arc::ptr_eq(held.get(), &self.entry)
        {
            held.remove();
        }
        self.writes.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::cache::route::kind::Kind;

    fn entry() -> Arc<Entry> {
        Arc::new(Entry::new(StatusCode::OK, HeaderMap::new(), Bytes::new()))
    }

    fn key(name: &[u8]) -> Key {
        Key::new("ns".into(), Kind::Query, blake3::hash(name))
    }

    #[test]
    fn what_is_written_is_found_while_it_is() {
        let writes = PendingWrites::default();
        let earlier = entry();
        let later = entry();
        let first = writes.begin(&key(b"a"), &earlier);
        let is = |entry| writes.get(&key(b"a")).is_some_and(|found| Arc::ptr_eq(&found, entry));
        assert!(is(&earlier) && writes.get(&key(b"b")).is_none());
        let other = writes.begin_first(&key(b"a"), &later).expect_err("another one");
        assert!(Arc::ptr_eq(&other, &earlier) && is(&earlier));
        assert!(first.is_latest());
        let second = writes.begin(&key(b"a"), &later);
        assert!(second.is_latest() && !first.is_latest());
        drop(first);
        assert!(is(&later), "the end of an overtaken write hides nothing");
        drop(second);
        assert!(writes.get(&key(b"a")).is_none());
        let third = writes.begin_first(&key(b"a"), &later).expect("no other");
        assert!(is(&later));
        drop(third);
        assert!(writes.get(&key(b"a")).is_none());
    }

    #[tokio::test]
    async fn those_under_way_are_waited_for_and_no_later_ones() {
        let writes = PendingWrites::default();
        let first = [b"a", b"b"].map(|name| writes.begin(&key(name), &entry()));
        let mut settled = pin!(writes.settled());
        assert!(settled.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let _later = writes.begin(&key(b"a"), &entry());
        drop(first);
        settled.await;
    }
}
