//! An answer while it arrives: one task writes it, any number of readers follow, each from the first byte.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    buffer::{Buffer, Room},
    head::{End, Head, Shareable},
};
use crate::{cache::invalidation::Version, proxy::error::ProxyError, telemetry::stats::Limit};

#[derive(Debug)]
pub(crate) struct Flight {
    buffer: Mutex<Buffer>,
    meta: FlightMeta,
    /// A reader has read on, or left.
    progress: Notify,
}

/// What is known of an answer from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlightMeta {
    /// The most bytes that are buffered for readers.
    pub(crate) bound: usize,
    /// Whether the request that asks for the answer has credentials.
    pub(crate) with_credentials: bool,
    /// Whether the call follows another request's failed one. There is no third.
    pub(crate) second: bool,
    /// The last known position in the invalidation log at the start; `None` if none was known.
    pub(crate) began: Option<Version>,
}

impl Flight {
    /// A new answer, with its only writer.
    pub(crate) fn start(meta: FlightMeta) -> (Arc<Self>, FlightWriter) {
        let flight = Arc::new(Self { buffer: Mutex::default(), meta, progress: Notify::new() });
        (Arc::clone(&flight), FlightWriter { flight })
    }

    pub(crate) const fn meta(&self) -> FlightMeta {
        self.meta
    }

    /// The number of readers, if a request that came at `since` could join them; `None` if the answer failed,
    /// is for nobody else, has lost its beginning, or ended before `since`.
    pub(crate) fn joinable(&self, since: std::time::Instant) -> Option<usize> {
        let buffer = self.buffer.lock();
        let is_shared = buffer
            .head
            .as_ref()
            .is_none_or(|head| matches!(head.shareable, Shareable::Open | Shareable::Judged));
        let failed = matches!(buffer.end, Some(End::Failed(_)));
        let is_over = buffer.ended_at.is_some_and(|ended| ended.into_std() < since);
        (is_shared && !failed && !is_over && !buffer.released && buffer.dropped == 0)
            .then(|| buffer.readers.iter().flatten().count())
    }

    /// The number of readers that did not ask for the answer.
    pub(crate) fn followers(&self) -> usize {
        self.buffer.lock().readers.iter().flatten().filter(|reader| !reader.is_leader).count()
    }

    /// One more reader, from the answer's beginning. The first one is the leader's.
    pub(crate) fn reader(self: &Arc<Self>) -> FlightReader {
        let index = self.buffer.lock().add_reader();
        FlightReader { flight: Arc::clone(self), index }
    }

    fn end(&self, end: End) {
        let mut buffer = self.buffer.lock();
        if buffer.end.is_none() {
            buffer.end = Some(end);
            buffer.ended_at = Some(Instant::now());
            buffer.wake_readers();
        }
    }
}

/// The buffer is full, and nobody reads: the answer is too large to be worth finishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoReaders;

/// Writes an answer. Dropped before the end, it fails the answer, so that nobody waits for a dead writer.
#[derive(Debug)]
pub(crate) struct FlightWriter {
    flight: Arc<Flight>,
}

impl FlightWriter {
    /// Gives the head to the readers.
    pub(crate) fn head(&self, head: Head) -> Arc<Head> {
        let head = Arc::new(head);
        let mut buffer = self.flight.buffer.lock();
        buffer.head = Some(Arc::clone(&head));
        buffer.wake_readers();
        head
    }

    /// Makes the followers ask for themselves. Nobody joins from now on.
    pub(crate) fn release(&self) {
        let mut buffer = self.flight.buffer.lock();
        buffer.released = true;
        buffer.wake_readers();
    }

    /// Gives the answer to the followers that wait for its judgement.
    pub(crate) fn approve(&self) {
        let mut buffer = self.flight.buffer.lock();
        buffer.approved = true;
        buffer.wake_readers();
    }

    /// Adds a chunk. Waits for the readers if they lag.
    ///
    /// # Errors
    /// If nobody reads any more and the buffer is full.
    pub(crate) async fn chunk(&self, chunk: Bytes) -> Result<(), NoReaders> {
        self.hold_chunk(chunk).await?;
        self.wake_readers();
        Ok(())
    }

    /// Like [`Self::chunk`], but wakes the readers only if it has to wait for them: more chunks come at once.
    ///
    /// # Errors
    /// If nobody reads any more and the buffer is full.
    pub(crate) async fn hold_chunk(&self, chunk: Bytes) -> Result<(), NoReaders> {
        loop {
            let now = Instant::now();
            let room = self.flight.buffer.lock().make_room(chunk.len(), self.flight.meta.bound, now);
            let until = match room {
                Room::Free => break,
                Room::NoReaders => return Err(NoReaders),
                Room::Later(until) => until,
            };
            self.wake_readers();
            let progress = self.flight.progress.notified();
            match until {
                None => progress.await,
                Some(until) => {
                    let _ = timeout_at(until, progress).await;
                }
            }
        }
        self.flight.buffer.lock().push(chunk);
        Ok(())
    }

    /// Lets the readers have what was held.
    pub(crate) fn wake_readers(&self) {
        self.flight.buffer.lock().wake_readers();
    }

    /// Completes once nobody reads any more.
    pub(crate) async fn closed(&self) {
        while self.flight.buffer.lock().readers.iter().any(Option::is_some) {
            self.flight.progress.notified().await;
        }
    }

    pub(crate) fn end(self, end: End) {
        self.flight.end(end);
    }
}

impl Drop for FlightWriter {
    fn drop(&mut self) {
        self.flight.end(End::Failed(Arc::new(ProxyError::internal("the answer was abandoned"))));
    }
}

/// Reads an answer from its beginning. As a [`Body`], it gives the chunks.
#[derive(Debug)]
pub(crate) struct FlightReader {
    flight: Arc<Flight>,
    index: usize,
}

impl FlightReader {
    pub(crate) fn meta(&self) -> FlightMeta {
        self.flight.meta
    }

    /// Waits for the head.
    ///
    /// # Errors
    /// If the answer failed before it.
    pub(crate) async fn head(&self) -> Result<Arc<Head>, Arc<ProxyError>> {
        self.wait_for(|buffer| match (&buffer.head, &buffer.end) {
            (Some(head), _) => Some(Ok(Arc::clone(head))),
            (None, Some(End::Failed(error))) => Some(Err(Arc::clone(error))),
            _ => None,
        })
        .await
    }

    /// Waits, as a follower, for the head; `None` if the answer is for nobody but the leader.
    ///
    /// # Errors
    /// If the answer failed before it.
    pub(crate) async fn shared_head(&self) -> Result<Option<Arc<Head>>, Arc<ProxyError>> {
        self.wait_for(|buffer| match (&buffer.head, &buffer.end) {
            (Some(head), _) if head.shareable == Shareable::Released => Some(Ok(None)),
            (Some(head), _) if head.shareable != Shareable::Judged || buffer.approved => {
                Some(Ok(Some(Arc::clone(head))))
            }
            (_, _) if buffer.released => Some(Ok(None)),
            (_, Some(End::Failed(error))) => Some(Err(Arc::clone(error))),
            (Some(_), Some(End::Complete(_))) => Some(Ok(None)),
            _ => None,
        })
        .await
    }

    /// Waits for the first chunk, or for the end if there is none.
    pub(crate) async fn first_chunk(&self) {
        self.wait_for(|buffer| (buffer.written() > 0 || buffer.end.is_some()).then_some(())).await;
    }

    /// Waits for the end.
    pub(crate) async fn end(&self) -> End {
        self.wait_for(|buffer| buffer.end.clone()).await
    }

    /// Waits until `find` finds something.
    async fn wait_for<T>(&self, find: impl Fn(&Buffer) -> Option<T>) -> T {
        std::future::poll_fn(|cx| {
            let mut buffer = self.flight.buffer.lock();
            find(&buffer).map_or_else(|| self.park(&mut buffer, cx), Poll::Ready)
        })
        .await
    }

    /// How the answer ended; `None` while it arrives.
    pub(crate) fn ended(&self) -> Option<End> {
        self.flight.buffer.lock().end.clone()
    }

    /// The answer's length in bytes; `None` while it arrives, or once its beginning was dropped.
    pub(crate) fn complete_len(&self) -> Option<u64> {
        let buffer = self.flight.buffer.lock();
        matches!(buffer.end, Some(End::Complete(_)) if buffer.dropped == 0).then_some(buffer.len as u64)
    }

    fn park<T>(&self, buffer: &mut Buffer, cx: &Context<'_>) -> Poll<T> {
        if let Some(Some(reader)) = buffer.readers.get_mut(self.index) {
            reader.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Body for FlightReader {
    type Data = Bytes;
    type Error = Arc<ProxyError>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut buffer = self.flight.buffer.lock();
        let dropped = buffer.dropped;
        let written = buffer.written();
        let Some(Some(reader)) = buffer.readers.get_mut(self.index) else { return Poll::Ready(None) };
        if reader.is_cut {
            let error = ProxyError::internal("the client took nothing, and others waited for it");
            let error = error.with_limit(Limit::MaxBuffer);
            return Poll::Ready(Some(Err(Arc::new(error))));
        }
        if reader.next < written {
            let at = reader.next - dropped;
            reader.next += 1;
            reader.stalls_since = None;
            let chunk = buffer.chunks[at].clone();
            drop(buffer);
            self.flight.progress.notify_one();
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match &buffer.end {
            Some(End::Complete(_)) => Poll::Ready(None),
            Some(End::Failed(error)) => Poll::Ready(Some(Err(Arc::clone(error)))),
            None => self.park(&mut buffer, cx),
        }
    }
}

impl Drop for FlightReader {
    fn drop(&mut self) {
        self.flight.buffer.lock().readers[self.index] = None;
        self.flight.progress.notify_one();
    }
}

#[cfg(test)]
mod tests;
