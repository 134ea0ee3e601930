//! How a body is read, up to a limit and in time; in `request`, the bodies that go upstream. The bodies of responses are
//! with what makes them: [`upstream::body`](crate::proxy::upstream::body), [`response::body`](crate::proxy::response::body).

pub(crate) mod buffered;
mod request;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use thiserror::Error;
use tokio::time::{Instant, Sleep, timeout_at};

pub(crate) use self::request::{RequestBody, UploadProgress};
use crate::proxy::error::ProxyError;

/// Why a body did not come whole.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    /// Nothing came for this time.
    #[error("nothing came for {} ms", .0.as_millis())]
    TimedOut(Duration),
    #[error("the sender broke off")]
    Broken(#[source] hyper::Error),
    /// The body is larger than this, in bytes.
    #[error("larger than {0} bytes")]
    TooLarge(usize),
    /// The answer that the body is a part of failed.
    #[error(transparent)]
    Failed(Arc<ProxyError>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadLimits {
    /// The largest body, in bytes.
    pub(crate) bytes: usize,
    /// The longest wait between two reads; ten times that is the longest wait in all.
    pub(crate) pause: Duration,
}

/// Reads a client's whole body. `waits` is called each time that more of it must be waited for.
///
/// # Errors
/// If the body breaks off, is too large, or takes too long.
pub(crate) async fn read<B>(mut body: B, limits: ReadLimits, waits: impl Fn()) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    if body.size_hint().lower() > limits.bytes as u64 {
        return Err(BodyError::TooLarge(limits.bytes));
    }
    let mut collector = Collector::new(limits.bytes);
    let mut deadline = None;
    // The last chunk may already be known to be the last.
    while !body.is_end_stream() {
        let next = match at_once(body.frame()).await {
            Ok(frame) => Ok(frame),
            Err(mut frame) => {
                let frame = poll_fn(|cx| {
                    let polled = Pin::new(&mut frame).poll(cx);
                    if polled.is_pending() {
                        waits();
                    }
                    polled
                });
                let now = Instant::now();
                let deadline = *deadline.get_or_insert(now + limits.pause * 10);
                timeout_at(deadline.min(now + limits.pause), frame).await
            }
        };
        match next {
            Ok(Some(frame)) => collector.add(frame.map_err(BodyError::Broken)?)?,
            Ok(None) => break,
            Err(_) => return Err(BodyError::TimedOut(limits.pause)),
        }
    }
    Ok(collector.into_bytes())
}

/// Reads a whole body of at most `limit` bytes, for as long as it takes.
///
/// # Errors
/// If the body breaks off or is too large.
pub(crate) async fn read_up_to<B>(mut body: B, limit: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    let mut collector = Collector::new(limit);
    while let Some(frame) = body.frame().await {
        collector.add(frame?)?;
    }
    Ok(collector.into_bytes())
}

/// The chunks of a body, up to a limit.
struct Collector {
    limit: usize,
    /// Most bodies come in one chunk, which needs no copy.
    first: Bytes,
    rest: BytesMut,
}

impl Collector {
    fn new(limit: usize) -> Self {
        Self { limit, first: Bytes::new(), rest: BytesMut::new() }
    }

    fn add(&mut self, frame: Frame<Bytes>) -> Result<(), BodyError> {
        let Ok(chunk) = frame.into_data() else { return Ok(()) };
        if self.first.len() + self.rest.len() + chunk.len() > self.limit {
            return Err(BodyError::TooLarge(self.limit));
        }
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = chunk;
        } else {
            if self.rest.is_empty() {
                self.rest.extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.rest.extend_from_slice(&chunk);
        }
        Ok(())
    }

    fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

/// Polls `future` at most twice; gives it back if it is still pending. hyper hands a body over only to a task
/// that waits for it, but then at once: such a wait needs no timer.
async fn at_once<F: Future + Unpin>(mut future: F) -> Result<F::Output, F> {
    let mut is_second = false;
    let polled = poll_fn(|cx| match Pin::new(&mut future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if std::mem::replace(&mut is_second, true) => Poll::Ready(None),
        Poll::Pending => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    });
    polled.await.ok_or(future)
}

/// The chunks of a body in one piece. They have `len` bytes in all.
pub(crate) fn joined(mut chunks: Vec<Bytes>, len: usize) -> Bytes {
    // Most bodies come in one chunk, which needs no copy.
    if chunks.len() == 1 {
        return chunks.swap_remove(0);
    }
    let mut whole = BytesMut::with_capacity(len);
    for chunk in chunks {
        whole.extend_from_slice(&chunk);
    }
    whole.freeze()
}

/// A body that fails if nothing comes for too long.
#[derive(Debug)]
pub(crate) struct Timed<B> {
    inner: B,
    limit: Duration,
    /// Runs only while the body waits for its sender.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> Timed<B> {
    /// `inner`, with at most `limit` between two frames.
    pub(crate) const fn new(inner: B, limit: Duration) -> Self {
        Self { inner, limit, timer: None }
    }
}

impl<B> Body for Timed<B>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broken)));
        }
        let limit = this.limit;
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(BodyError::TimedOut(limit)))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
