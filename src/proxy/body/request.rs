//! The bodies of requests on their way upstream.

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

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};
use xxhash_rust::xxh3::Xxh3;

use super::{BodyError, Timed, buffered::Buffered};
use crate::request::client_body::ClientBody;

/// Who delays a request while its body goes upstream. The first-byte timeout runs only while that is the
/// upstream, not the client that sends the body.
#[derive(Default)]
pub(crate) struct UploadProgress {
    awaiting_sender: AtomicBool,
    sender_failed: AtomicBool,
    changed: Notify,
    /// The hash of what has been sent, if that is wanted.
    hash: Option<Mutex<Box<Xxh3>>>,
}

impl fmt::Debug for UploadProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadProgress").field("sender_failed", &self.sender_failed).finish_non_exhaustive()
    }
}

impl UploadProgress {
    /// Of a body that is hashed as it goes upstream.
    pub(crate) fn hashing() -> Self {
        Self { hash: Some(Mutex::default()), ..Self::default() }
    }

    /// The hash of what has been sent so far; `None` if it is not wanted.
    pub(crate) fn hash(&self) -> Option<u64> {
        self.hash.as_ref().map(|hash| hash.lock().digest())
    }

    fn sent(&self, frame: &Frame<Bytes>) {
        if let (Some(hash), Some(data)) = (&self.hash, frame.data_ref()) {
            hash.lock().update(data);
        }
    }

    fn set(&self, awaiting_sender: bool) {
        if self.awaiting_sender.swap(awaiting_sender, Ordering::Relaxed) != awaiting_sender {
            self.changed.notify_one();
        }
    }

    pub(crate) fn sender_failed(&self) -> bool {
        self.sender_failed.load(Ordering::Relaxed)
    }

    /// Completes once the upstream has delayed the request for `limit` without a break.
    pub(crate) async fn upstream_exceeds(&self, limit: Duration) {
        loop {
            if self.awaiting_sender.load(Ordering::Relaxed) {
                self.changed.notified().await;
            } else if timeout(limit, self.changed.notified()).await.is_err() {
                return;
            }
        }
    }
}

#[derive(Debug)]
pub(crate) enum RequestBody {
    Full(Buffered),
    /// The client's, as it comes.
    Client(Timed<ClientBody>, Arc<UploadProgress>),
}

impl RequestBody {
    pub(crate) fn empty() -> Self {
        Self::Full(Buffered::default())
    }

    /// The bytes, if there are any and all of them are there.
    pub(crate) const fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Full(body) => body.bytes(),
            Self::Client(..) => None,
        }
    }

    /// A copy; `None` if the body still comes from the client.
    pub(crate) fn copy(&self) -> Option<Self> {
        match self {
            Self::Full(body) => Some(Self::Full(body.clone())),
            Self::Client(..) => None,
        }
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self::Full(bytes.into())
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
            Self::Full(body) => Pin::new(body).poll_frame(cx),
            Self::Client(body, progress) => {
                let polled = Pin::new(body).poll_frame(cx);
                progress.set(polled.is_pending());
                match &polled {
                    Poll::Ready(Some(Ok(frame))) => progress.sent(frame),
                    Poll::Ready(Some(Err(_))) => progress.sender_failed.store(true, Ordering::Relaxed),
                    _ => {}
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(body) => body.is_end_stream(),
            Self::Client(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(body) => body.size_hint(),
            Self::Client(body, _) => body.size_hint(),
        }
    }
}
