//! Requests as they end, for operators who read along.
//!
//! Each reader has a queue of its own, bounded in bytes. A request puts its event there and goes on: it never waits for
//! a reader, and without readers it looks at one number and makes no event.

pub(crate) mod event;
pub(crate) mod filter;
mod queue;
mod reader;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::RwLock;

pub(crate) use self::reader::Reader;
use self::{event::RequestEvent, filter::Filter, queue::Queue};

/// How many can read at once.
pub(crate) const MAX_READERS: usize = 16;

/// Gives the events of requests to those who read along.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    readers: AtomicUsize,
    open: RwLock<Open>,
}

#[derive(Debug, Default)]
struct Open {
    queues: Vec<Arc<Queue>>,
    /// Whether the listener stops: there are no further events.
    closed: bool,
}

impl Watch {
    /// Whether anybody reads.
    pub(crate) fn is_read(&self) -> bool {
        self.readers.load(Ordering::Relaxed) > 0
    }

    /// Gives an event to the readers that want it.
    pub(crate) fn send(&self, event: &RequestEvent<'_>) {
        let mut text = None;
        for queue in self.open.read().queues.iter().filter(|queue| queue.filter.wants(event)) {
            queue.push(text.get_or_insert_with(|| event.to_event()).clone());
        }
    }

    /// Begins to read the events that `filter` wants; `None` if too many read already.
    pub(crate) fn read(self: &Arc<Self>, filter: Filter) -> Option<Reader> {
        let mut open = self.open.write();
        if open.queues.len() == MAX_READERS {
            return None;
        }
        let queue = Arc::new(Queue::new(filter));
        if open.closed {
            queue.end();
        }
        open.queues.push(Arc::clone(&queue));
        self.readers.store(open.queues.len(), Ordering::Relaxed);
        Some(Reader::new(Arc::clone(self), queue))
    }

    /// Ends what all readers read.
    pub(crate) fn close(&self) {
        let mut open = self.open.write();
        open.closed = true;
        open.queues.iter().for_each(|queue| queue.end());
    }

    fn leave(&self, queue: &Arc<Queue>) {
        let mut open = self.open.write();
        open.queues.retain(|other| !Arc::ptr_eq(other, queue));
        self.readers.store(open.queues.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
