//! The bodies of responses: the upstream's, and what clients get.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::{BodyError, Timed};
use crate::proxy::{
    body::{filtered::Filtered, paced::Paced},
    coalesce::flight::FlightReader,
    upstream::Held,
};

/// The body of an upstream's response; until it was read to the end, it counts as one of the upstream's requests, and
/// holds the connection that it comes over.
#[derive(Debug)]
pub(crate) struct UpstreamBody {
    inner: Timed<hyper::body::Incoming>,
    held: Option<Held>,
    permit: Option<OwnedSemaphorePermit>,
}

impl UpstreamBody {
    /// `inner` with at most `idle` between two chunks, under `permit`, over the connection in `held`.
    pub(crate) fn new(
        inner: hyper::body::Incoming,
        idle: Duration,
        held: Option<Held>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let mut body = Self { inner: Timed::new(inner, idle), held, permit: Some(permit) };
        if body.is_end_stream() {
            body.release();
        }
        body
    }

    /// Counts it no longer: its answer has come whole, though more of the body may come.
    pub(crate) fn give_place_back(&mut self) {
        self.permit = None;
    }

    fn release(&mut self) {
        if let Some(held) = self.held.take() {
            held.release();
        }
        // Last: whoever gets the place finds the connection.
        self.permit = None;
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.release(),
            Poll::Ready(Some(Ok(_))) if self.inner.is_end_stream() => self.release(),
            // What did not come whole is over, too, and its connection with it.
            Poll::Ready(Some(Err(_))) => {
                self.held = None;
                self.permit = None;
            }
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
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
pub(crate) enum ResponseBody {
    /// Bytes that are there, or none.
    Full(Option<Bytes>),
    /// A stored stream at a pace.
    Paced(Box<Paced>),
    /// An answer while it arrives; its length where that is known.
    Flight(FlightReader, Option<u64>),
    /// The same, with something taken out.
    Filtered(Box<Filtered>),
    /// The upstream's, passed through.
    Upstream(Box<UpstreamBody>),
}

impl ResponseBody {
    /// The running answer that it reads.
    pub(crate) const fn reader(&self) -> Option<&FlightReader> {
        match self {
            Self::Flight(reader, _) => Some(reader),
            Self::Filtered(edited) => Some(edited.reader()),
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
            Self::Filtered(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(BodyError::Failed)))
            }
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Paced(paced) => paced.is_empty(),
            Self::Flight(..) | Self::Filtered(_) => false,
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Paced(paced) => SizeHint::with_exact(paced.len() as u64),
            Self::Flight(_, len) => len.map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Filtered(_) => SizeHint::default(),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}
