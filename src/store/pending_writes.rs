//! What is being written to Redis: this process finds it from the moment at which its write begins.
//!
//! A caller need not wait for the write then, and whoever asks next finds the answer all the same, however the lookup
//! and the write go over the connections.

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

/// The entries whose writes are under way; no more than there are writes, each of which has a deadline.
#[derive(Debug, Default)]
pub(super) struct Writing {
    entries: Mutex<HashMap<KeyId, Arc<Entry>>>,
    /// A write has ended.
    ended: Notify,
}

impl Writing {
    /// Has `entry` found under `key` until what this returns is dropped.
    pub(super) fn begin(&self, key: &Key, entry: &Arc<Entry>) -> Write<'_> {
        self.entries.lock().insert(key.id(), Arc::clone(entry));
        Write { of: self, key: key.id(), entry: Arc::clone(entry) }
    }

    /// The same where none is being written there.
    ///
    /// # Errors
    /// The one that is.
    pub(super) fn begin_first(&self, key: &Key, entry: &Arc<Entry>) -> Result<Write<'_>, Arc<Entry>> {
        match self.entries.lock().entry(key.id()) {
            hash_map::Entry::Occupied(other) => Err(Arc::clone(other.get())),
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(Arc::clone(entry));
                Ok(Write { of: self, key: key.id(), entry: Arc::clone(entry) })
            }
        }
    }

    /// What is being written under `key`.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.lock().get(&key.id()).cloned()
    }

    /// Waits for the writes that are under way by now: whoever looks at all that Redis holds sees what was answered.
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
pub(super) struct Write<'a> {
    of: &'a Writing,
    key: KeyId,
    entry: Arc<Entry>,
}

impl Write<'_> {
    /// Whether its entry is the one that is found: no later write has taken its place.
    pub(super) fn is_found(&self) -> bool {
        self.of.entries.lock().get(&self.key).is_some_and(|found| Arc::ptr_eq(found, &self.entry))
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        // A later write may have taken its place.
        if let hash_map::Entry::Occupied(held) = self.of.entries.lock().entry(self.key)
            && Arc::ptr_eq(held.get(), &self.entry)
        {
            held.remove();
        }
        self.of.ended.notify_waiters();
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
        let (writing, earlier, later) = (Writing::default(), entry(), entry());
        let first = writing.begin(&key(b"a"), &earlier);
        let is = |entry| writing.get(&key(b"a")).is_some_and(|found| Arc::ptr_eq(&found, entry));
        assert!(is(&earlier) && writing.get(&key(b"b")).is_none());
        let other = writing.begin_first(&key(b"a"), &later).expect_err("another one");
        assert!(Arc::ptr_eq(&other, &earlier) && is(&earlier));
        assert!(first.is_found());
        let second = writing.begin(&key(b"a"), &later);
        assert!(second.is_found() && !first.is_found());
        drop(first);
        assert!(is(&later), "the end of an overtaken write hides nothing");
        drop(second);
        assert!(writing.get(&key(b"a")).is_none());
        let third = writing.begin_first(&key(b"a"), &later).expect("no other");
        assert!(is(&later));
        drop(third);
        assert!(writing.get(&key(b"a")).is_none());
    }

    #[tokio::test]
    async fn those_under_way_are_waited_for_and_no_later_ones() {
        let writing = Writing::default();
        let first = [b"a", b"b"].map(|name| writing.begin(&key(name), &entry()));
        let mut settled = pin!(writing.settled());
        assert!(settled.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let _later = writing.begin(&key(b"a"), &entry());
        drop(first);
        settled.await;
    }
}
