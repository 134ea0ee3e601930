//! The spans that wait to be sent.

use std::{
    mem,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Span, SpanCounts};

/// The most spans that wait: some 8 MiB.
const MAX_SPANS: usize = 8192;

/// As many as are sent at once.
pub(super) const BATCH: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Queue {
    spans: Mutex<Vec<Span>>,
    /// A batch is there.
    full_batch: Notify,
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl Queue {
    /// Puts a span into the queue. If that is full, the span is dropped and counted.
    pub(super) fn offer(&self, span: Span) {
        let waiting = {
            let mut spans = self.spans.lock();
            if spans.len() == MAX_SPANS {
                drop(spans);
                return self.dropped(1);
            }
            spans.push(span);
            spans.len()
        };
        // Each call would wake the exporter's thread: once a batch is enough.
        if waiting.is_multiple_of(BATCH) {
            self.full_batch.notify_one();
        }
    }

    /// Completes once a whole batch waits.
    pub(super) async fn batch(&self) {
        self.full_batch.notified().await;
    }

    pub(super) fn take(&self) -> Vec<Span> {
        mem::take(&mut *self.spans.lock())
    }

    pub(super) fn exported(&self, spans: usize) {
        self.exported.fetch_add(spans as u64, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self, spans: usize) {
        self.dropped.fetch_add(spans as u64, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> SpanCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SpanCounts { exported: count(&self.exported), dropped: count(&self.dropped) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts() {
        let queue = Queue::default();
        for id in 1..=MAX_SPANS as u64 + 3 {
            queue.offer(Span::example(id));
        }
        assert_eq!(queue.counts(), SpanCounts { exported: 0, dropped: 3 });
        let taken = queue.take();
        assert_eq!(taken.len(), MAX_SPANS);
        assert_eq!(taken.first().map(|span| span.id), Some(1), "the oldest stay");
        queue.offer(Span::example(1));
        assert_eq!(queue.take().len(), 1, "there is room again");
    }
}
