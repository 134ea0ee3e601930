//! The near cache: entries in this process that were lately found in Redis or written there.
//!
//! Every write is announced in a stream that each replica reads (`announcements.rs`). A near entry is given
//! only while that stream is known to be read up to now: while the subscriber waits at Redis for the next announcement.
//! If the connection is cut, it is what Redis held `store.near_staleness` ago at most.
//!
//! A value that Redis was asked for before an announcement, and that comes after it, must not stay. So each
//! key belongs to a slot, and a value is not stored if an announcement for its slot came meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::Notify, time};

use crate::{
    cache::{entry::Entry, invalidation::Offset, key::Key},
    store::MemoryStore,
    time::MicrosClock,
};

/// An announcement keeps out a value that is on its way to the same slot, even under another key.
const SLOTS: usize = 1024;

/// Own writes of a slot whose announcements are still to come. When the announcement of a forgotten one
/// comes, its entry is dropped.
const MAX_AWAITED: usize = 32;

/// The state of a key's slot when a call of Redis began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticket {
    /// How often values on their way were given up.
    round: u64,
    /// The last announcement.
    latest: Offset,
}

#[derive(Debug, Default)]
struct Slot {
    state: Ticket,
    /// The announcements to come of writes that are known here already.
    awaited: Vec<Offset>,
}

impl Slot {
    fn reset(&mut self) {
        *self =
            Self { state: Ticket { round: self.state.round + 1, ..Ticket::default() }, awaited: Vec::new() };
    }
}

/// Entries in this process, in front of Redis.
#[derive(Debug)]
pub(super) struct NearCache {
    max_bytes: u64,
    /// How long entries are given after the announcements were known to be complete.
    staleness: Duration,
    /// Whether writes are announced by another server than the one that carries them out: then the order of
    /// announcements need not be that of writes.
    is_cluster: bool,
    entries: ArcSwap<MemoryStore>,
    slots: Box<[Mutex<Slot>]>,
    clock: MicrosClock,
    /// Until when entries are given, in microseconds of `clock`.
    current_until: AtomicU64,
    became_current: Notify,
}

impl NearCache {
    /// A cache of at most `max_bytes`, the cost of holding entries included; `None` if that is 0. Entries are given for
    /// `staleness` after the announcements were known to be complete.
    pub(super) fn new(max_bytes: u64, staleness: Duration, is_cluster: bool) -> Option<Self> {
        (max_bytes > 0).then(|| Self {
            max_bytes,
            staleness,
            is_cluster,
            entries: ArcSwap::from_pointee(MemoryStore::new(max_bytes)),
            slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
            clock: MicrosClock::new(Instant::now()),
            current_until: AtomicU64::new(0),
            became_current: Notify::new(),
        })
    }

    /// The entry under `key`, invalidated or not; `None` too while it may be out of date at `now`.
    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<Arc<Entry>> {
        self.is_current(now).then(|| self.entries.load().get(key))?
    }

    /// A ticket is taken before Redis is asked for `key`; `None` if the reply cannot be stored here.
    pub(super) fn ticket(&self, key: &Key) -> Option<Ticket> {
        let ticket = self.slot(key).state;
        // If the cache is cleared just now, the ticket is of no use.
        self.is_current(Instant::now()).then_some(ticket)
    }

    /// Stores for `life` what was found in Redis since `ticket`.
    pub(super) fn put_read(&self, key: &Key, entry: &Entry, life: Duration, ticket: Ticket) {
        let slot = self.slot(key);
        if slot.state == ticket {
            self.entries.load().put(key, entry, life);
        }
    }

    /// Stores for `life` what was written since the ticket was taken, and announced at the offset; nothing if
    /// Redis may hold something else by now.
    pub(super) fn put_written(
        &self,
        key: &Key,
        entry: &Entry,
        life: Duration,
        announced: Option<(Ticket, Offset)>,
    ) {
        let mut slot = self.slot(key);
        match announced {
            Some((ticket, offset)) if self.is_last(ticket, offset, &slot.state) => {
                // The announcement may have been read already: then it does not come again.
                if offset > slot.state.latest {
                    slot.state.latest = offset;
                    slot.awaited.truncate(MAX_AWAITED - 1);
                    slot.awaited.push(offset);
                }
                self.entries.load().put(key, entry, life);
            }
            _ => self.remove_from(&mut slot, key),
        }
    }

    /// Whether a write since `ticket` that was announced at `offset` is the last one, as far as the slot's `state` tells.
    fn is_last(&self, ticket: Ticket, offset: Offset, state: &Ticket) -> bool {
        if self.is_cluster { ticket == *state } else { ticket.round == state.round && offset >= state.latest }
    }

    /// Removes an entry that was removed from Redis, or may be another one there.
    pub(super) fn remove(&self, key: &Key) {
        self.remove_from(&mut self.slot(key), key);
    }

    fn remove_from(&self, slot: &mut Slot, key: &Key) {
        slot.state.round += 1;
        self.entries.load().remove(key);
    }

    /// Removes the entry whose write or removal was announced at `offset`, unless this process wrote it and
    /// has it already.
    pub(super) fn apply_announcement(&self, key: &Key, offset: Offset) {
        let mut slot = self.slot(key);
        slot.state.latest = slot.state.latest.max(offset);
        match slot.awaited.iter().position(|awaited| *awaited == offset) {
            Some(at) => {
                slot.awaited.swap_remove(at);
            }
            None => {
                self.entries.load().remove(key);
            }
        }
    }

    /// Everything that was announced by `at` is known.
    pub(super) fn mark_current(&self, at: Instant) {
        self.current_until.store(self.clock.micros(at + self.staleness), Ordering::Release);
        self.became_current.notify_waiters();
    }

    /// Removes everything: announcements may be missed.
    pub(super) fn clear(&self) {
        // No tickets from now on; those from before are of no use.
        self.current_until.store(0, Ordering::Release);
        self.slots.iter().for_each(|slot| slot.lock().reset());
        self.entries.store(Arc::new(MemoryStore::new(self.max_bytes)));
    }

    /// Waits until announcements and invalidations are known up to now, but no longer than until `deadline`;
    /// whether they are.
    pub(super) async fn caught_up(&self, deadline: Instant) -> bool {
        loop {
            let became_current = self.became_current.notified();
            if self.is_current(Instant::now()) {
                return true;
            }
            if time::timeout_at(deadline.into(), became_current).await.is_err() {
                return false;
            }
        }
    }

    fn is_current(&self, now: Instant) -> bool {
        self.clock.micros(now) < self.current_until.load(Ordering::Acquire)
    }

    fn slot(&self, key: &Key) -> MutexGuard<'_, Slot> {
        let [low, high, ..] = *key.digest();
        self.slots[usize::from(u16::from_le_bytes([low, high])) % SLOTS].lock()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::cache::route::kind::Kind;

    const LIFE: Duration = Duration::from_secs(60);
    const STALENESS: Duration = Duration::from_secs(2);

    fn near() -> NearCache {
        let near = NearCache::new(1 << 20, STALENESS, false).expect("a cache");
        near.mark_current(Instant::now() + LIFE);
        near
    }

    fn key() -> Key {
        Key::new("ns".into(), Kind::Query, blake3::hash(b"one"))
    }

    /// A key of the same slot.
    fn neighbour() -> Key {
        let [low, high, ..] = *key().digest();
        let mut digest = [0; 32];
        (digest[0], digest[1]) = (low, high);
        Key::new("ns".into(), Kind::Query, blake3::Hash::from_bytes(digest))
    }

    fn entry(body: &'static str) -> Entry {
        Entry::new(StatusCode::OK, HeaderMap::new(), Bytes::from(body))
    }

    fn body(near: &NearCache, key: &Key) -> Option<Bytes> {
        near.get(key, Instant::now()).map(|entry| entry.body.clone())
    }

    fn offset(minor: u64) -> Offset {
        Offset { major: 1, minor }
    }

    #[test]
    fn what_was_found_before_an_announcement_is_not_stored_after_it() {
        let near = near();
        let key = key();
        let ticket = near.ticket(&key).expect("it is current");
        near.put_read(&key, &entry("old"), LIFE, ticket);
        assert!(body(&near, &key).is_some());
        for (at, announced) in [(1, key.clone()), (2, neighbour())] {
            let ticket = near.ticket(&key).expect("it is current");
            near.apply_announcement(&announced, offset(at));
            near.put_read(&key, &entry("older"), LIFE, ticket);
            assert_eq!(body(&near, &key), None, "{announced:?}");
        }
        near.put_read(&key, &entry("new"), LIFE, near.ticket(&key).expect("it is current"));
        assert_eq!(body(&near, &key), Some("new".into()));
    }

    #[test]
    fn an_own_write_outlives_its_announcement_and_no_later_one() {
        let near = near();
        let key = key();
        let write =
            |text, at| near.put_written(&key, &entry(text), LIFE, near.ticket(&key).zip(Some(offset(at))));
        write("1", 1);
        near.apply_announcement(&key, offset(1));
        assert_eq!(body(&near, &key), Some("1".into()), "stored before it was announced");
        near.apply_announcement(&key, offset(2));
        assert_eq!(body(&near, &key), None, "another replica's");
        write("2", 2);
        assert_eq!(body(&near, &key), Some("2".into()), "announced before it was stored");
        write("4", 4);
        near.apply_announcement(&key, offset(3));
        assert_eq!(body(&near, &key), None, "better too few than too many");
        near.apply_announcement(&key, offset(4));
        write("5", 5);
        near.apply_announcement(&neighbour(), offset(7));
        write("6", 6);
        assert_eq!(body(&near, &key), None, "nobody knows which was the last");
        near.put_written(&key, &entry("8"), LIFE, None);
        assert_eq!(body(&near, &key), None, "it was not announced");
    }

    #[test]
    fn nothing_is_given_or_stored_while_the_stream_is_not_known() {
        let near = near();
        let key = key();
        let ticket = near.ticket(&key).expect("it is current");
        near.put_read(&key, &entry("1"), LIFE, ticket);
        near.clear();
        assert!(body(&near, &key).is_none() && near.ticket(&key).is_none());
        let now = Instant::now();
        near.mark_current(now);
        assert_eq!(near.get(&key, now), None, "all is gone");
        near.put_read(&key, &entry("1"), LIFE, ticket);
        assert_eq!(near.get(&key, now), None, "it was on its way then");
        let ticket = near.slot(&key).state;
        near.put_read(&key, &entry("2"), LIFE, ticket);
        assert!(near.get(&key, now).is_some());
        assert!(near.get(&key, now + STALENESS).is_none());
    }

    #[tokio::test]
    async fn it_is_waited_for_until_it_is_known_again() {
        let near = Arc::new(near());
        assert!(near.caught_up(Instant::now()).await);
        near.clear();
        assert!(!near.caught_up(Instant::now() + Duration::from_millis(5)).await);
        let waits = tokio::spawn({
            let near = Arc::clone(&near);
            async move { near.caught_up(Instant::now() + LIFE).await }
        });
        tokio::task::yield_now().await;
        near.mark_current(Instant::now() + LIFE);
        assert!(waits.await.expect("no panic"));
    }
}
