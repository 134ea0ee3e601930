//! The body of a client's request. If it is dropped before its end, the connection learns that: what the
//! client still sends is in the way of the response
//! ([`HalfClose::abandon`](crate::request::half_close::HalfClose::abandon)).

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
    has_ended: bool,
}

impl ClientBody {
    pub(crate) fn new(body: Incoming, connection: Arc<Connection>) -> Self {
        Self { body, connection, has_ended: false }
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
        self.has_ended |= matches!(polled, Poll::Ready(None));
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
        if !self.is_end_stream() {
            self.connection.half_close.abandon();
        }
    }
}
