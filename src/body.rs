//! Bodies: bounded reading of requests, and the bodies of responses and of what goes upstream.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::{Instant, Sleep, timeout, timeout_at},
};

use crate::{edited::Edited, error::ProxyError, flight, paced::Paced};

/// Why a body did not come whole.
#[derive(Debug)]
pub enum BodyError {
    /// Nothing came for this long.
    TimedOut(Duration),
    /// The sender broke off.
    Broken(hyper::Error),
    /// It is larger than this, in bytes.
    TooLarge(usize),
    /// The answer that it was part of failed.
    Failed(Arc<ProxyError>),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(limit) => write!(f, "nothing came for {} ms", limit.as_millis()),
            Self::Broken(_) => f.write_str("the sender broke off"),
            Self::TooLarge(limit) => write!(f, "larger than {limit} bytes"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Broken(error) => Some(error),
            Self::Failed(error) => error.source.as_ref().map(|source| &**source as _),
            Self::TimedOut(_) | Self::TooLarge(_) => None,
        }
    }
}

/// How long a sender may take, and how much it may send.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// The largest body, in bytes.
    pub bytes: usize,
    /// Between two reads; ten times that in all.
    pub pause: Duration,
}

/// Reads a whole body.
///
/// # Errors
/// Where it breaks off, is too large, or takes too long.
pub async fn read<B>(mut body: B, limits: ReadLimits) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    let too_large = BodyError::TooLarge(limits.bytes);
    if body.size_hint().lower() > limits.bytes as u64 {
        return Err(too_large);
    }
    let deadline = Instant::now() + limits.pause * 10;
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    loop {
        let next = timeout_at(deadline, timeout(limits.pause, body.frame()));
        let frame = match next.await {
            Ok(Ok(Some(frame))) => frame.map_err(BodyError::Broken)?,
            Ok(Ok(None)) => break,
            Ok(Err(_)) | Err(_) => return Err(BodyError::TimedOut(limits.pause)),
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limits.bytes {
            return Err(too_large);
        }
        // Most bodies come in one piece, which needs no copy.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// A body that fails where nothing comes for too long.
#[derive(Debug)]
pub struct Timed<B> {
    inner: B,
    limit: Duration,
    /// Runs only while the sender is waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> Timed<B> {
    /// `inner`, with at most `limit` between two frames.
    pub const fn new(inner: B, limit: Duration) -> Self {
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

/// Whose turn it is while a request's body goes upstream: the first-byte timeout runs only while the sender
/// is not the one that is waited for.
#[derive(Debug, Default)]
pub struct Turn {
    awaiting_sender: AtomicBool,
    sender_failed: AtomicBool,
    changed: Notify,
}

impl Turn {
    fn set(&self, awaiting_sender: bool) {
        if self.awaiting_sender.swap(awaiting_sender, Ordering::Relaxed) != awaiting_sender {
            self.changed.notify_one();
        }
    }

    /// Whether it was the sender who failed.
    pub fn sender_failed(&self) -> bool {
        self.sender_failed.load(Ordering::Relaxed)
    }

    /// Completes once the upstream alone has been waited for, for `limit` without a break.
    pub async fn upstream_exceeds(&self, limit: Duration) {
        loop {
            if self.awaiting_sender.load(Ordering::Relaxed) {
                self.changed.notified().await;
            } else if timeout(limit, self.changed.notified()).await.is_err() {
                return;
            }
        }
    }
}

/// The body of a request that goes upstream.
#[derive(Debug)]
pub enum RequestBody {
    /// One that was read, or none.
    Full(Option<Bytes>),
    /// The client's, as it comes.
    Client(Timed<hyper::body::Incoming>, Arc<Turn>),
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self::Full((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Client(body, turn) => {
                let polled = Pin::new(body).poll_frame(cx);
                turn.set(polled.is_pending());
                if matches!(polled, Poll::Ready(Some(Err(_)))) {
                    turn.sender_failed.store(true, Ordering::Relaxed);
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Client(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Client(body, _) => body.size_hint(),
        }
    }
}

/// The body of an upstream's response; while it is read, it counts as one of the upstream's requests.
#[derive(Debug)]
pub struct UpstreamBody {
    inner: Timed<hyper::body::Incoming>,
    _permit: OwnedSemaphorePermit,
}

impl UpstreamBody {
    /// `inner` with at most `idle` between two chunks, under `permit`.
    pub const fn new(inner: hyper::body::Incoming, idle: Duration, permit: OwnedSemaphorePermit) -> Self {
        Self { inner: Timed::new(inner, idle), _permit: permit }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a response to a client.
#[derive(Debug)]
pub enum ResponseBody {
    /// Bytes that are there, or none.
    Full(Option<Bytes>),
    /// A stored stream at a pace.
    Paced(Box<Paced>),
    /// An answer while it arrives; its length where that is known.
    Flight(flight::Reader, Option<u64>),
    /// The same, with something taken out.
    Edited(Box<Edited>),
    /// The upstream's, passed through.
    Upstream(Box<UpstreamBody>),
}

impl ResponseBody {
    /// The running answer that it reads.
    pub const fn reader(&self) -> Option<&flight::Reader> {
        match self {
            Self::Flight(reader, _) => Some(reader),
            Self::Edited(edited) => Some(edited.reader()),
            Self::Full(_) | Self::Paced(_) | Self::Upstream(_) => None,
        }
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Self::Full((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Paced(paced) => paced.poll_next(cx).map(|event| event.map(|event| Ok(Frame::data(event)))),
            Self::Flight(reader, _) => Pin::new(reader)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(BodyError::Failed))),
            Self::Edited(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(BodyError::Failed)))
            }
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Paced(paced) => paced.is_empty(),
            Self::Flight(..) | Self::Edited(_) => false,
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Paced(paced) => SizeHint::with_exact(paced.len() as u64),
            Self::Flight(_, len) => len.map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Edited(_) => SizeHint::default(),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}
