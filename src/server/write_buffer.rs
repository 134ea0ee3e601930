//! Small writes in one piece: to copy a head and a short body together is less work than two are for the system. What is
//! longer goes as it is.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// What is written in one piece, in bytes: a hit with an answer of usual length.
const SMALL: usize = 4096;

thread_local! {
    /// Where a thread's small writes are gathered. One for each of them would have to be made, or kept, each time.
    static WHOLE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A connection that gathers small writes.
#[derive(Debug)]
pub struct WriteBuffer(pub TcpStream);

impl AsyncRead for WriteBuffer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for WriteBuffer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        if pieces.len() < 2 || len > SMALL {
            return Pin::new(&mut self.0).poll_write_vectored(cx, pieces);
        }
        WHOLE.with_borrow_mut(|whole| {
            whole.clear();
            pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
            Pin::new(&mut self.0).poll_write(cx, whole)
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
        net::TcpListener,
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
        for (head, body) in
            [(1, 1), (0, 5), (100, SMALL - 100), (100, SMALL - 99), (SMALL + 1, 3), (7, 900_000)]
        {
            let (head, body) = (vec![b'h'; head], vec![b'b'; body]);
            expected.extend([&head[..], &body].concat());
            let mut pieces = bytes::Buf::chain(&head[..], &body[..]);
            connection.write_all_buf(&mut pieces).await.expect("it reads on");
        }
        connection.shutdown().await.expect("an end");
        assert!(reading.await.expect("no panic") == expected);
    }
}
