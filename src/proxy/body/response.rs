//! The bodies of responses: the upstream's, and what clients get.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use super::{BodyError, Timed, buffered::Buffered};
use crate::{
    http::guarded::{BodyGuard, Guarded},
    proxy::{
        body::{filtered::Filtered, paced::Paced},
        coalesce::flight::FlightReader,
        upstream::PooledConnection,
    },
};

/// The body of an upstream's response.
pub(crate) type UpstreamBody = Guarded<Timed<Incoming>, UpstreamGuard>;

/// What an upstream's response occupies until its body was read to the end: the connection that it comes
/// over, and one of the places that bound the requests under way.
#[derive(Debug)]
pub(crate) struct UpstreamGuard {
    connection: Option<PooledConnection>,
    permit: Option<OwnedSemaphorePermit>,
}

impl UpstreamGuard {
    /// Without a `connection` for a response that switched protocols: its connection serves no other request.
    pub(crate) const fn new(connection: Option<PooledConnection>, permit: OwnedSemaphorePermit) -> Self {
        Self { connection, permit: Some(permit) }
    }

    /// Lets the next request begin: the answer has come whole, though more of the body may come.
    pub(crate) fn release_permit(&mut self) {
        self.permit = None;
    }
}

impl BodyGuard for UpstreamGuard {
    fn completed(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.release();
        }
        // Last: the request that gets the place finds the connection.
        self.permit = None;
    }

    fn failed(&mut self) {
        self.connection = None;
        self.permit = None;
    }
}

/// The body of a response to a client.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    Full(Buffered),
    Paced(Box<Paced>),
    /// An answer while it arrives, and its length if that is known.
    Flight(FlightReader, Option<u64>),
    /// An answer while it arrives, with something taken out.
    Filtered(Box<Filtered>),
    /// The upstream's body, passed through.
    Upstream(Box<UpstreamBody>),
}

impl ResponseBody {
    pub(crate) fn empty() -> Self {
        Self::Full(Buffered::default())
    }

    /// The bytes, if there are any and all of them are there.
    pub(crate) const fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Full(body) => body.bytes(),
            Self::Paced(_) | Self::Flight(..) | Self::Filtered(_) | Self::Upstream(_) => None,
        }
    }

    /// The reader of the flight that the body comes from.
    pub(crate) const fn reader(&self) -> Option<&FlightReader> {
        match self {
            Self::Flight(reader, _) => Some(reader),
            Self::Filtered(body) => Some(body.reader()),
            Self::Full(_) | Self::Paced(_) | Self::Upstream(_) => None,
        }
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Self::Full(bytes.into())
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
            Self::Full(body) => Pin::new(body).poll_frame(cx),
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
            Self::Full(body) => body.is_end_stream(),
            Self::Paced(paced) => paced.is_empty(),
            Self::Flight(..) | Self::Filtered(_) => false,
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(body) => body.size_hint(),
            Self::Paced(paced) => SizeHint::with_exact(paced.len() as u64),
            Self::Flight(_, len) => len.map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Filtered(_) => SizeHint::default(),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}
