//! A connection whose client may have closed its own half.
//!
//! hyper takes the end of the client's bytes for the client's leaving, and drops the request. While the
//! request is answered from the store, this wrapper holds that end back. `request/half_close.rs` has
//! the rules.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::request::half_close::HasHalfClose;

/// A connection that hides the client's end from hyper while `halves` says so.
#[derive(Debug)]
pub(super) struct HalfCloseIo<S, H> {
    pub(super) stream: S,
    pub(super) halves: H,
}

impl<S: AsyncRead + Unpin, H: HasHalfClose + Unpin> AsyncRead for HalfCloseIo<S, H> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let is_end = matches!(polled, Poll::Ready(Ok(())))
            && buffer.filled().len() == before
            && buffer.remaining() > 0;
        if is_end && self.halves.half_close().holds_back(cx) { Poll::Pending } else { polled }
    }
}

impl<S: AsyncWrite + Unpin, H: HasHalfClose + Unpin> AsyncWrite for HalfCloseIo<S, H> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes only when its own buffer is empty, so that the whole response is written then.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.halves.half_close().flushed();
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin, sync::Arc};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::request::half_close::HalfClose;

    impl HasHalfClose for Arc<HalfClose> {
        fn half_close(&self) -> &HalfClose {
            self
        }
    }

    /// The bytes of one read; `None` where the read would wait.
    async fn read(io: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
        let mut bytes = [0; 16];
        let mut buffer = ReadBuf::new(&mut bytes);
        let polled = poll_fn(|cx| Poll::Ready(pin!(&mut *io).poll_read(cx, &mut buffer))).await;
        polled.is_ready().then(|| buffer.filled().to_vec())
    }

    type TestIo = HalfCloseIo<tokio::io::DuplexStream, Arc<HalfClose>>;

    /// A client that has sent `text` and closed its half, and the server's end of that connection.
    async fn half_closed(text: &str) -> (tokio::io::DuplexStream, TestIo) {
        let (mut client, stream) = tokio::io::duplex(64);
        client.write_all(text.as_bytes()).await.expect("room");
        client.shutdown().await.expect("open");
        (client, HalfCloseIo { stream, halves: Arc::default() })
    }

    #[tokio::test]
    async fn between_requests_the_end_is_the_end() {
        let (_client, mut io) = half_closed("a").await;
        assert_eq!(read(&mut io).await, Some(b"a".to_vec()));
        assert_eq!(read(&mut io).await, Some(Vec::new()));
    }

    #[tokio::test]
    async fn the_end_is_hidden_until_the_answer_is_written() {
        let (mut client, mut io) = half_closed("a").await;
        let halves = Arc::clone(&io.halves);
        halves.begin();
        assert_eq!(read(&mut io).await, Some(b"a".to_vec()), "what was sent before the end");
        assert_eq!(read(&mut io).await, None);
        io.flush().await.expect("open");
        assert_eq!(read(&mut io).await, None, "nothing is answered yet");
        halves.answered();
        assert_eq!(read(&mut io).await, None, "nothing is written yet");
        let closed = tokio::spawn(async move {
            io.write_all(b"answer").await.expect("open");
            io.flush().await.expect("open");
            io.read(&mut [0]).await
        });
        let mut answer = [0; 6];
        client.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(closed.await.expect("no panic").expect("no error"), 0);
    }

    #[tokio::test]
    async fn the_end_is_seen_while_the_upstream_is_asked() {
        let (_client, mut io) = half_closed("").await;
        io.halves.begin();
        assert_eq!(read(&mut io).await, None);
        let halves = Arc::clone(&io.halves);
        let reading = tokio::spawn(async move { io.read(&mut [0]).await });
        tokio::task::yield_now().await;
        halves.waits_elsewhere();
        assert_eq!(reading.await.expect("it is woken").expect("no error"), 0);
    }

    #[tokio::test]
    async fn a_body_that_needs_more_sees_the_end() {
        let (_client, mut io) = half_closed("a").await;
        let halves = Arc::clone(&io.halves);
        halves.begin();
        halves.needs_more();
        assert_eq!(read(&mut io).await, Some(b"a".to_vec()));
        assert_eq!(read(&mut io).await, None, "more was needed before the end had come");
        halves.needs_more();
        assert_eq!(read(&mut io).await, Some(Vec::new()));
        // The next request's end is its own.
        halves.begin();
        assert_eq!(read(&mut io).await, None);
    }
}
