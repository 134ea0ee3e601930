//! A running answer for a reader that may not have all of it: an edit takes something out of its events on
//! the way.
//!
//! The flight has the answer as it came, since its readers get different edits. An event is edited once it is
//! whole; one that is larger than the flight's buffer fails the body.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};

use crate::{
    dialect::Edit,
    http::sse::Framing,
    proxy::{coalesce::flight::FlightReader, error::ProxyError},
};

/// What a flight's reader reads, through an edit.
pub(crate) struct Filtered {
    reader: FlightReader,
    framing: Framing,
    edit: Edit,
    pending: BytesMut,
    ended: bool,
}

impl fmt::Debug for Filtered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filtered")
            .field("reader", &self.reader)
            .field("pending", &self.pending.len())
            .finish()
    }
}

impl Filtered {
    pub(crate) fn new(reader: FlightReader, framing: Framing, edit: Edit) -> Self {
        Self { reader, framing, edit, pending: BytesMut::new(), ended: false }
    }

    pub(crate) const fn reader(&self) -> &FlightReader {
        &self.reader
    }

    /// The events that are whole, or all that is left once the answer has ended.
    fn take_whole_events(&mut self) -> Bytes {
        let framing = self.edit.framing(self.framing);
        let end = if self.ended { self.pending.len() } else { framing.events_end(&self.pending) };
        self.pending.split_to(end).freeze()
    }
}

impl Body for Filtered {
    type Data = Bytes;
    type Error = Arc<ProxyError>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        loop {
            let events = this.take_whole_events();
            if !events.is_empty() {
                let edited = this.edit.apply(this.framing, events).map_err(|reason| {
                    Arc::new(ProxyError::internal(format!(
                        "the answer cannot be shared: {}",
                        reason.as_str()
                    )))
                });
                return Poll::Ready(Some(edited.map(Frame::data)));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            match std::task::ready!(Pin::new(&mut this.reader).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(chunk) = frame.into_data() else { continue };
                    if this.pending.len() + chunk.len() > this.reader.meta().bound {
                        let error = ProxyError::internal("an event of the answer is too large to be shared");
                        return Poll::Ready(Some(Err(Arc::new(error))));
                    }
                    this.pending.extend_from_slice(&chunk);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => this.ended = true,
            }
        }
    }
}
