//! The events that wait for one reader.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use super::{event, filter::Filter};

/// The most that waits here, in bytes. The connection may hold as much again: together, this is less than 1 MiB.
const MAX_BYTES: usize = 512 * 1024;

/// What an event takes besides its text, in bytes.
const OVERHEAD: usize = 64;

/// How much a reader gets at once, in bytes.
const CHUNK: usize = 16 * 1024;

/// A bounded queue. Where an event has no room, it is counted instead, and the reader is told the count in its place.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) filter: Filter,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Bytes>,
    bytes: usize,
    /// How many events there was no room for since the last one that waits.
    missed: u64,
    ended: bool,
    reader: Option<std::task::Waker>,
}

impl Queue {
    pub(super) fn new(filter: Filter) -> Self {
        Self { filter, waiting: Mutex::default() }
    }

    pub(super) fn push(&self, event: Bytes) {
        let mut waiting = self.waiting.lock();
        let waiting = &mut *waiting;
        if waiting.bytes + event.len() + 2 * OVERHEAD > MAX_BYTES {
            waiting.missed += 1;
            return;
        }
        waiting.tell_missed();
        waiting.add(event);
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
    }

    /// Ends the queue, behind what waits.
    pub(super) fn end(&self) {
        let mut waiting = self.waiting.lock();
        waiting.ended = true;
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
    }

    /// What waits, or a part of that; `None` at the end.
    pub(super) fn poll_take(&self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut waiting = self.waiting.lock();
        if waiting.events.is_empty() {
            waiting.tell_missed();
        }
        match waiting.take() {
            Some(chunk) => Poll::Ready(Some(chunk)),
            None if waiting.ended => Poll::Ready(None),
            None => {
                waiting.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Waiting {
    fn tell_missed(&mut self) {
        let missed = std::mem::take(&mut self.missed);
        if missed > 0 {
            self.add(event::missed(missed));
        }
    }

    fn add(&mut self, event: Bytes) {
        self.bytes += event.len() + OVERHEAD;
        self.events.push_back(event);
    }

    fn take(&mut self) -> Option<Bytes> {
        let first = self.remove()?;
        let fits = |next: &Bytes, len: usize| len + next.len() <= CHUNK;
        if !self.events.front().is_some_and(|next| fits(next, first.len())) {
            return Some(first);
        }
        let mut chunk = BytesMut::with_capacity(CHUNK);
        chunk.extend_from_slice(&first);
        while self.events.front().is_some_and(|next| fits(next, chunk.len())) {
            chunk.extend_from_slice(&self.remove().unwrap_or_default());
        }
        Some(chunk.freeze())
    }

    fn remove(&mut self) -> Option<Bytes> {
        let event = self.events.pop_front()?;
        self.bytes -= event.len() + OVERHEAD;
        Some(event)
    }
}
