//! The bodies of responses to clients.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{filtered::Filtered, paced::Paced};
use crate::{
    proxy::{
        body::{BodyError, buffered::Buffered},
        coalesce::flight::FlightReader,
        upstream::body::UpstreamBody,
    },
    telemetry::watch,
};

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
    /// Requests as they end.
    Watch(Box<watch::Reader>),
}

impl ResponseBody {
    pub(crate) fn empty() -> Self {
        Self::Full(Buffered::default())
    }

    /// The bytes, if there are any and all of them are there.
    pub(crate) const fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Full(body) => body.bytes(),
            Self::Paced(_) | Self::Flight(..) | Self::Filtered(_) | Self::Upstream(_) | Self::Watch(_) => {
                None
            }
        }
    }

    /// The reader of the flight that the body comes from.
    pub(crate) const fn reader(&self) -> Option<&FlightReader> {
        match self {
            Self::Flight(reader, _) => Some(reader),
            Self::Filtered(body) => Some(body.reader()),
            Self::Full(_) | Self::Paced(_) | Self::Upstream(_) | Self::Watch(_) => None,
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
            Self::Watch(reader) => {
                reader.poll_next(cx).map(|events| events.map(|events| Ok(Frame::data(events))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(body) => body.is_end_stream(),
            Self::Paced(paced) => paced.is_empty(),
            Self::Flight(..) | Self::Filtered(_) | Self::Watch(_) => false,
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(body) => body.size_hint(),
            Self::Paced(paced) => SizeHint::with_exact(paced.len() as u64),
            Self::Flight(_, len) => len.map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Filtered(_) | Self::Watch(_) => SizeHint::default(),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}
