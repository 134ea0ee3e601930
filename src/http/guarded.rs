//! A body with a guard beside it: the guard sees the body's end, and is dropped with it.
//!
//! One piece for all bodies that only hold something: a connection that goes back to its pool, a count of
//! what runs.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};

/// Sees how a body ends.
pub(crate) trait BodyGuard {
    /// The last byte was read. May be called again for the same end.
    fn completed(&mut self) {}

    /// Reading failed.
    fn failed(&mut self) {}
}

#[derive(Debug)]
pub(crate) struct Guarded<B, G> {
    body: B,
    guard: G,
}

impl<B: Body, G: BodyGuard> Guarded<B, G> {
    /// `body` beside `guard`. A body without a byte ends here.
    pub(crate) fn new(body: B, mut guard: G) -> Self {
        if body.is_end_stream() {
            guard.completed();
        }
        Self { body, guard }
    }

    pub(crate) const fn guard_mut(&mut self) -> &mut G {
        &mut self.guard
    }
}

impl<B: Body + Unpin, G: BodyGuard + Unpin> Body for Guarded<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.guard.completed(),
            Poll::Ready(Some(Ok(_))) if self.body.is_end_stream() => self.guard.completed(),
            Poll::Ready(Some(Err(_))) => self.guard.failed(),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
