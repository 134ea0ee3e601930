//! The chunks of a running answer, the readers' places in them, and the room that is left.
//!
//! The buffer is bounded. Up to its bound it has the answer from the first byte, so that a late reader misses
//! nothing. Beyond its bound it is a window: the chunks that every reader has had go first, and the writer
//! waits for the slowest reader. A reader is cut only if it takes nothing at all for a long time while others
//! wait for it, never because others are faster.

use std::{collections::VecDeque, sync::Arc, task::Waker, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::head::{End, Head};

/// How long a follower may take nothing while others wait for it. A system buffers megabytes for a
/// connection: at some 50 KiB a second, half a minute passes here without a read.
pub(super) const FOLLOWER_STALL: Duration = Duration::from_secs(30);

/// How long the leader may take nothing while others wait for it. It asked for the answer: without this
/// proxy, nobody would cut it.
pub(super) const LEADER_STALL: Duration = Duration::from_secs(300);

/// The mutable state of a flight.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) head: Option<Arc<Head>>,
    pub(super) chunks: VecDeque<Bytes>,
    /// The number of chunks that were dropped from the front.
    pub(super) dropped: usize,
    /// The bytes in `chunks`.
    pub(super) len: usize,
    pub(super) end: Option<End>,
    pub(super) ended_at: Option<Instant>,
    /// Nobody else may join, whatever the head says.
    pub(super) released: bool,
    /// The answer was judged, and is good for the readers that wait for that.
    pub(super) approved: bool,
    /// A reader keeps its index; the place of one that left is free.
    pub(super) readers: Vec<Option<ReaderState>>,
}

/// A reader, as the writer sees it.
#[derive(Debug, Default)]
pub(super) struct ReaderState {
    /// The number of chunks it has had.
    pub(super) next: usize,
    pub(super) waker: Option<Waker>,
    /// It asked for the answer.
    pub(super) is_leader: bool,
    /// Since when it has taken nothing while others wait for it.
    pub(super) stalls_since: Option<Instant>,
    /// It took nothing for too long, and the chunk that it needs next was dropped.
    pub(super) is_cut: bool,
}

impl ReaderState {
    const fn may_stall_for(&self) -> Duration {
        if self.is_leader { LEADER_STALL } else { FOLLOWER_STALL }
    }
}

/// Whether the buffer takes another chunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    Free,
    /// Once readers have read on, or at the latest at this time.
    Later(Option<Instant>),
    /// The buffer is full, and nobody reads.
    NoReaders,
}

impl Buffer {
    pub(super) fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len();
        self.chunks.push_back(chunk);
    }

    pub(super) fn wake_readers(&mut self) {
        for reader in self.readers.iter_mut().flatten() {
            if let Some(waker) = reader.waker.take() {
                waker.wake();
            }
        }
    }

    /// The number of chunks that were written, those that were dropped included.
    pub(super) fn written(&self) -> usize {
        self.dropped + self.chunks.len()
    }

    /// The index of one more reader, from the answer's beginning. The first reader is the leader.
    pub(super) fn add_reader(&mut self) -> usize {
        let is_cut = self.dropped > 0;
        let is_leader = self.readers.is_empty();
        let reader = ReaderState { is_cut, is_leader, ..ReaderState::default() };
        match self.readers.iter().position(Option::is_none) {
            Some(free) => {
                self.readers[free] = Some(reader);
                free
            }
            None => {
                self.readers.push(Some(reader));
                self.readers.len() - 1
            }
        }
    }

    /// Drops the first chunk, and cuts the readers that have not had it.
    fn drop_first(&mut self) {
        if let Some(chunk) = self.chunks.pop_front() {
            self.len -= chunk.len();
            self.dropped += 1;
        }
        let dropped = self.dropped;
        for reader in self.readers.iter_mut().flatten().filter(|reader| reader.next < dropped) {
            reader.is_cut = true;
        }
    }

    /// Makes room for `more` bytes under `bound`: first goes what all readers have had, then what only
    /// stalled readers have not had.
    pub(super) fn make_room(&mut self, more: usize, bound: usize, now: Instant) -> Room {
        while self.len + more > bound {
            let places =
                || self.readers.iter().flatten().filter(|reader| !reader.is_cut).map(|reader| reader.next);
            let (Some(fastest), Some(slowest)) = (places().max(), places().min()) else {
                return Room::NoReaders;
            };
            if self.dropped == fastest {
                // A single chunk may be larger than the bound; it goes through alone.
                return if self.len == 0 { Room::Free } else { Room::Later(None) };
            }
            if slowest == self.dropped
                && let Some(until) = self.waits_until(now)
            {
                return Room::Later(Some(until));
            }
            self.drop_first();
        }
        Room::Free
    }

    /// Until when the writer waits for the readers that lack the first chunk; `None` if that time is over.
    fn waits_until(&mut self, now: Instant) -> Option<Instant> {
        let dropped = self.dropped;
        let behind =
            self.readers.iter_mut().flatten().filter(|reader| !reader.is_cut && reader.next == dropped);
        let until =
            |reader: &mut ReaderState| *reader.stalls_since.get_or_insert(now) + reader.may_stall_for();
        behind.map(until).filter(|until| now < *until).max()
    }
}
