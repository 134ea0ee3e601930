//! A connection whose client may have closed its own half: the end of what it sends is held back while its request is
//! answered from here ([`crate::request::half_close`]).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::request::half_close::HasHalfClose;

/// A connection whose end is held back while `of` says so.
#[derive(Debug)]
pub struct Held<S, H> {
    /// The connection.
    pub stream: S,
    /// Who tells.
    pub of: H,
}

impl<S: AsyncRead + Unpin, H: HasHalfClose + Unpin> AsyncRead for Held<S, H> {
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
        if is_end && self.of.half_close().holds_back(cx) { Poll::Pending } else { polled }
    }
}

impl<S: AsyncWrite + Unpin, H: HasHalfClose + Unpin> AsyncWrite for Held<S, H> {
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

    /// The server asks for this once its own buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.of.half_close().flushed();
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

    /// What one read gives: the bytes, or nothing where it waits.
    async fn read(held: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
        let mut bytes = [0; 16];
        let mut buffer = ReadBuf::new(&mut bytes);
        let polled = poll_fn(|cx| Poll::Ready(pin!(&mut *held).poll_read(cx, &mut buffer))).await;
        polled.is_ready().then(|| buffer.filled().to_vec())
    }

    /// A client that has sent `text` and the end, and the connection at which that comes.
    async fn ended(text: &str) -> (tokio::io::DuplexStream, Held<tokio::io::DuplexStream, Arc<HalfClose>>) {
        let (mut client, stream) = tokio::io::duplex(64);
        client.write_all(text.as_bytes()).await.expect("room");
        client.shutdown().await.expect("open");
        (client, Held { stream, of: Arc::default() })
    }

    #[tokio::test]
    async fn between_requests_the_end_is_the_end() {
        let (_client, mut held) = ended("a").await;
        assert_eq!(read(&mut held).await, Some(b"a".to_vec()));
        assert_eq!(read(&mut held).await, Some(Vec::new()));
    }

    #[tokio::test]
    async fn it_is_held_back_until_the_answer_is_written() {
        let (mut client, mut held) = ended("a").await;
        let of = Arc::clone(&held.of);
        of.begin();
        assert_eq!(read(&mut held).await, Some(b"a".to_vec()), "what was sent comes");
        assert_eq!(read(&mut held).await, None);
        held.flush().await.expect("open");
        assert_eq!(read(&mut held).await, None, "nothing is answered yet");
        of.answered();
        assert_eq!(read(&mut held).await, None, "nothing is written yet");
        let closed = tokio::spawn(async move {
            held.write_all(b"answer").await.expect("open");
            held.flush().await.expect("open");
            held.read(&mut [0]).await
        });
        let mut answer = [0; 6];
        client.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(closed.await.expect("no panic").expect("no error"), 0);
    }

    #[tokio::test]
    async fn who_leaves_while_the_upstream_is_asked_is_let_go() {
        let (_client, mut held) = ended("").await;
        held.of.begin();
        assert_eq!(read(&mut held).await, None);
        let of = Arc::clone(&held.of);
        let reading = tokio::spawn(async move { held.read(&mut [0]).await });
        tokio::task::yield_now().await;
        of.waits_elsewhere();
        assert_eq!(reading.await.expect("it is woken").expect("no error"), 0);
    }

    #[tokio::test]
    async fn a_body_that_needs_more_ends_with_the_end_alone() {
        let (_client, mut held) = ended("a").await;
        let of = Arc::clone(&held.of);
        of.begin();
        of.needs_more();
        assert_eq!(read(&mut held).await, Some(b"a".to_vec()));
        assert_eq!(read(&mut held).await, None, "it was asked for before the end had come");
        of.needs_more();
        assert_eq!(read(&mut held).await, Some(Vec::new()));
        // The next request's end is its own.
        of.begin();
        assert_eq!(read(&mut held).await, None);
    }
}
