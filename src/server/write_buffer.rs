//! Writes a head and a short body in one piece.
//!
//! hyper writes both with one `writev`. For small pieces, a copy into one buffer and a `write` cost less:
//! `writev` of two costs the system some 4 % of such a request (commit e04f0e8). Longer writes go as they
//! are. A buffer on the stack was tried first; its 4 KiB were zeroed with each write, so that each thread now
//! keeps one (commit cfe6fbd).

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The largest write that is copied, in bytes: a hit with an answer of usual length.
const MAX_COPIED: usize = 4096;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A connection that joins the pieces of small writes.
#[derive(Debug)]
pub(super) struct WriteBuffer<S>(pub(super) S);

impl<S: AsyncRead + Unpin> AsyncRead for WriteBuffer<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteBuffer<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        if pieces.len() < 2 || len > MAX_COPIED {
            return Pin::new(&mut self.0).poll_write_vectored(cx, pieces);
        }
        BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            pieces.iter().for_each(|piece| buffer.extend_from_slice(piece));
            Pin::new(&mut self.0).poll_write(cx, buffer)
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[tokio::test]
    async fn nothing_is_lost_or_changed_whatever_its_length() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.read_to_end(&mut read).await.expect("all of it");
            read
        });
        let mut connection = WriteBuffer(TcpStream::connect(address).await.expect("a connection"));
        let mut expected = Vec::new();
        for (head, body) in [
            (1, 1),
            (0, 5),
            (100, MAX_COPIED - 100),
            (100, MAX_COPIED - 99),
            (MAX_COPIED + 1, 3),
            (7, 900_000),
        ] {
            let (head, body) = (vec![b'h'; head], vec![b'b'; body]);
            expected.extend([&head[..], &body].concat());
            let mut pieces = bytes::Buf::chain(&head[..], &body[..]);
            connection.write_all_buf(&mut pieces).await.expect("it reads on");
        }
        connection.shutdown().await.expect("an end");
        assert!(reading.await.expect("no panic") == expected);
    }
}
