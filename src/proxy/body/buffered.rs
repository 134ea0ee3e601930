//! A body that is there whole, or has no byte.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::BodyError;

/// Unlike `http_body_util::Full`, it shows its bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffered(Option<Bytes>);

impl Buffered {
    /// The bytes, if there are any and they have not been read.
    pub(crate) const fn bytes(&self) -> Option<&Bytes> {
        self.0.as_ref()
    }
}

impl From<Bytes> for Buffered {
    fn from(bytes: Bytes) -> Self {
        Self((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for Buffered {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
