//! The body of a client's request. If it is dropped before its end, the connection learns that: what the
//! client still sends is in the way of the response
//! ([`HalfClose::leave_unread`](crate::request::half_close::HalfClose::leave_unread)).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::request::connection::Connection;

#[derive(Debug)]
pub struct ClientBody {
    body: Incoming,
    connection: Arc<Connection>,
    /// Its request's number on an HTTP/1 connection.
    request: Option<u32>,
    has_ended: bool,
}

impl ClientBody {
    pub(crate) fn new(body: Incoming, connection: Arc<Connection>, request: Option<u32>) -> Self {
        Self { body, connection, request, has_ended: false }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.has_ended |= match &polled {
            Poll::Ready(None) => true,
            // Nothing comes after trailers, and not everybody asks.
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            _ => false,
        };
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if let Some(request) = self.request
            && !self.is_end_stream()
        {
            self.connection.half_close.leave_unread(request);
        }
    }
}
