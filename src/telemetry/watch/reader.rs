//! One who reads along.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep};

use super::{Watch, queue::Queue};

/// After so much silence comes a comment: a reader, and what is between, sees that the stream lives.
pub(super) const SILENCE: Duration = Duration::from_secs(15);

const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// Reads events until it is dropped.
#[derive(Debug)]
pub(crate) struct Reader {
    watch: Arc<Watch>,
    queue: Arc<Queue>,
    timer: Pin<Box<Sleep>>,
}

impl Reader {
    pub(super) fn new(watch: Arc<Watch>, queue: Arc<Queue>) -> Self {
        Self { watch, queue, timer: Box::pin(sleep(SILENCE)) }
    }

    /// Some of the events that wait, or a comment; `None` at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let next = match self.queue.poll_take(cx) {
            Poll::Ready(next) => next,
            Poll::Pending => {
                ready!(self.timer.as_mut().poll(cx));
                Some(COMMENT)
            }
        };
        self.timer.as_mut().reset(Instant::now() + SILENCE);
        Poll::Ready(next)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.watch.leave(&self.queue);
    }
}
