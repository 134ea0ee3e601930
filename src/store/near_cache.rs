//! The near tier: in this process, what was lately found in Redis or written there.
//!
//! Every write is announced in a stream that each replica reads along (`redis/announcements.rs`). What is near is given
//! only while that is known to be read up to now, so it is what Redis holds, or held `CURRENT_FOR` ago at most.
//!
//! A value that was asked for before an announcement, and comes after it, must not stay: a key belongs to a slot, and
//! nothing is kept of which its slot has heard meanwhile.

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

use super::MemoryStore;
use crate::{
    cache::{entry::Entry, invalidation::Offset, key::Key},
    time::MicrosClock,
};

/// How long after the announcements were known to be complete what is near is given. What is promised is 100 ms.
const CURRENT_FOR: Duration = Duration::from_millis(90);

/// An announcement keeps out what is on its way to the same slot, be it another key's.
const SLOTS: usize = 1024;

/// Own writes of a slot whose announcements are still to come. One that is forgotten is dropped when it comes.
const MAX_AWAITED: usize = 32;

/// What was known of a key's slot when a call of Redis began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticket {
    /// How often what is on its way was given up.
    round: u64,
    /// The last announcement.
    latest: Offset,
}

#[derive(Debug, Default)]
struct Slot {
    now: Ticket,
    /// Announcements of writes that are known here already.
    awaited: Vec<Offset>,
}

impl Slot {
    fn give_up(&mut self) {
        *self = Self { now: Ticket { round: self.now.round + 1, ..Ticket::default() }, awaited: Vec::new() };
    }
}

/// Entries in this process, in front of Redis.
#[derive(Debug)]
pub(super) struct NearCache {
    max_bytes: u64,
    entries: ArcSwap<MemoryStore>,
    slots: Box<[Mutex<Slot>]>,
    clock: MicrosClock,
    /// Until when entries are given, in microseconds of `clock`.
    current_until: AtomicU64,
    /// The announcements were read up to now again.
    heard: Notify,
}

impl NearCache {
    /// A tier of at most `max_bytes`, what it costs to hold them included; `None` where that is 0.
    pub(super) fn new(max_bytes: u64) -> Option<Self> {
        (max_bytes > 0).then(|| Self {
            max_bytes,
            entries: ArcSwap::from_pointee(MemoryStore::new(max_bytes)),
            slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
            clock: MicrosClock::new(Instant::now()),
            current_until: AtomicU64::new(0),
            heard: Notify::new(),
        })
    }

    /// The entry under `key`, retired or not; `None` too while it may be out of date at `now`.
    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<Arc<Entry>> {
        self.is_current(now).then(|| self.entries.load().get(key))?
    }

    /// To be taken before Redis is asked for `key`; `None` where what it says cannot be kept.
    pub(super) fn ticket(&self, key: &Key) -> Option<Ticket> {
        let ticket = self.slot(key).now;
        // Where everything is given up only now, so is this.
        self.is_current(Instant::now()).then_some(ticket)
    }

    /// Keeps for `life` what Redis was found to hold since `ticket`.
    pub(super) fn keep(&self, key: &Key, entry: &Entry, life: Duration, ticket: Ticket) {
        let slot = self.slot(key);
        if slot.now == ticket {
            self.entries.load().put(key, entry, life);
        }
    }

    /// Keeps for `life` what was written since `ticket`, and announced at `offset`; where that is no longer what Redis
    /// holds, or nobody knows, nothing.
    pub(super) fn wrote(
        &self,
        key: &Key,
        entry: &Entry,
        life: Duration,
        ticket: Option<Ticket>,
        offset: Option<Offset>,
    ) {
        let mut slot = self.slot(key);
        match (ticket, offset) {
            (Some(ticket), Some(offset)) if ticket.round == slot.now.round && offset >= slot.now.latest => {
                // It may have been read already: then nothing of it is to come.
                if offset > slot.now.latest {
                    slot.now.latest = offset;
                    slot.awaited.truncate(MAX_AWAITED - 1);
                    slot.awaited.push(offset);
                }
                self.entries.load().put(key, entry, life);
            }
            _ => self.drop_from(&mut slot, key),
        }
    }

    /// Drops what was removed, or is known to be something else in Redis.
    pub(super) fn drop_entry(&self, key: &Key) {
        self.drop_from(&mut self.slot(key), key);
    }

    fn drop_from(&self, slot: &mut Slot, key: &Key) {
        slot.now.round += 1;
        self.entries.load().remove(key);
    }

    /// Drops what was written, by whomever, and announced at `offset`.
    pub(super) fn announced(&self, key: &Key, offset: Offset) {
        let mut slot = self.slot(key);
        slot.now.latest = slot.now.latest.max(offset);
        match slot.awaited.iter().position(|awaited| *awaited == offset) {
            Some(at) => {
                slot.awaited.swap_remove(at);
            }
            None => {
                self.entries.load().remove(key);
            }
        }
    }

    /// Says that all that was announced by `at` is known.
    pub(super) fn heard(&self, at: Instant) {
        self.current_until.store(self.clock.micros(at + CURRENT_FOR), Ordering::Release);
        self.heard.notify_waiters();
    }

    /// Drops everything: announcements may be missed.
    pub(super) fn lost(&self) {
        // No tickets from now on, and those from before are of no use.
        self.current_until.store(0, Ordering::Release);
        self.slots.iter().for_each(|slot| slot.lock().give_up());
        self.entries.store(Arc::new(MemoryStore::new(self.max_bytes)));
    }

    /// Waits until what was announced, and what was retired, is known up to now, but no longer than until `deadline`;
    /// whether it is.
    pub(super) async fn caught_up(&self, deadline: Instant) -> bool {
        loop {
            let heard = self.heard.notified();
            if self.is_current(Instant::now()) {
                return true;
            }
            if time::timeout_at(deadline.into(), heard).await.is_err() {
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

    fn near() -> NearCache {
        let near = NearCache::new(1 << 20).expect("there is one");
        near.heard(Instant::now() + LIFE);
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
    fn what_was_found_before_an_announcement_is_not_kept_after_it() {
        let (near, key) = (near(), key());
        let ticket = near.ticket(&key).expect("it is current");
        near.keep(&key, &entry("old"), LIFE, ticket);
        assert!(body(&near, &key).is_some());
        for (at, announced) in [(1, key.clone()), (2, neighbour())] {
            let ticket = near.ticket(&key).expect("it is current");
            near.announced(&announced, offset(at));
            near.keep(&key, &entry("older"), LIFE, ticket);
            assert_eq!(body(&near, &key), None, "{announced:?}");
        }
        near.keep(&key, &entry("new"), LIFE, near.ticket(&key).expect("it is current"));
        assert_eq!(body(&near, &key), Some("new".into()));
    }

    #[test]
    fn an_own_write_outlives_its_announcement_and_no_later_one() {
        let (near, key) = (near(), key());
        let write = |text, at| near.wrote(&key, &entry(text), LIFE, near.ticket(&key), Some(offset(at)));
        write("1", 1);
        near.announced(&key, offset(1));
        assert_eq!(body(&near, &key), Some("1".into()), "told before it was announced");
        near.announced(&key, offset(2));
        assert_eq!(body(&near, &key), None, "another replica's");
        write("2", 2);
        assert_eq!(body(&near, &key), Some("2".into()), "announced before it was told");
        write("4", 4);
        near.announced(&key, offset(3));
        assert_eq!(body(&near, &key), None, "better too few than too many");
        near.announced(&key, offset(4));
        write("5", 5);
        near.announced(&neighbour(), offset(7));
        write("6", 6);
        assert_eq!(body(&near, &key), None, "nobody knows which was the last");
        near.wrote(&key, &entry("8"), LIFE, near.ticket(&key), None);
        assert_eq!(body(&near, &key), None, "it was not announced");
    }

    #[test]
    fn nothing_is_given_or_kept_while_the_stream_is_not_known() {
        let (near, key) = (near(), key());
        let ticket = near.ticket(&key).expect("it is current");
        near.keep(&key, &entry("1"), LIFE, ticket);
        near.lost();
        assert!(body(&near, &key).is_none() && near.ticket(&key).is_none());
        let now = Instant::now();
        near.heard(now);
        assert_eq!(near.get(&key, now), None, "all is gone");
        near.keep(&key, &entry("1"), LIFE, ticket);
        assert_eq!(near.get(&key, now), None, "it was on its way then");
        let ticket = near.slot(&key).now;
        near.keep(&key, &entry("2"), LIFE, ticket);
        assert!(near.get(&key, now).is_some());
        assert!(near.get(&key, now + CURRENT_FOR).is_none());
    }

    #[tokio::test]
    async fn it_is_waited_for_until_it_is_known_again() {
        let near = Arc::new(near());
        assert!(near.caught_up(Instant::now()).await);
        near.lost();
        assert!(!near.caught_up(Instant::now() + Duration::from_millis(5)).await);
        let waits = tokio::spawn({
            let near = Arc::clone(&near);
            async move { near.caught_up(Instant::now() + LIFE).await }
        });
        tokio::task::yield_now().await;
        near.heard(Instant::now() + LIFE);
        assert!(waits.await.expect("no panic"));
    }
}
