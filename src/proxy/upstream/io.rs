//! The bytes of a connection: a socket that the pool can look at while it is idle, and a count of what came.

use std::{
    io::{self, ErrorKind, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_util::either::Either;

/// The bytes of a connection, over TCP or over a socket file.
pub(super) type Stream = Either<TcpStream, UnixStream>;

/// A socket that the driver of its connection reads and writes, and the pool looks at. The lock is seldom
/// contended: while a connection is idle, its driver sleeps.
#[derive(Debug)]
pub(super) struct Socket(Mutex<Stream>);

impl Socket {
    pub(super) const fn new(stream: Stream) -> Self {
        Self(Mutex::new(stream))
    }

    /// Whether the socket is open and has nothing to read. This asks the system: the runtime learns that the
    /// peer has closed only when it polls the next time.
    pub(super) fn is_quiet(&self) -> bool {
        let stream = self.0.lock();
        let socket = match &*stream {
            Either::Left(tcp) => SockRef::from(tcp),
            Either::Right(unix) => SockRef::from(unix),
        };
        let looked = socket.peek(&mut [MaybeUninit::uninit()]);
        looked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    #[cfg(test)]
    pub(super) fn local_port(&self) -> u16 {
        let Either::Left(tcp) = &*self.0.lock() else { return 0 };
        tcp.local_addr().expect("an address").port()
    }
}

/// The driver's side of a socket.
#[derive(Debug)]
pub(super) struct SocketIo(pub(super) Arc<Socket>);

impl SocketIo {
    fn with<T>(&self, act: impl FnOnce(Pin<&mut Stream>) -> T) -> T {
        act(Pin::new(&mut *self.0.0.lock()))
    }
}

impl AsyncRead for SocketIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for SocketIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.with(|stream| stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }
}

/// A connection's bytes both ways, with a count of the HTTP bytes that came. Those of TLS itself do not
/// count.
#[derive(Debug)]
pub(super) struct CountedIo<T> {
    inner: T,
    received: Arc<AtomicU64>,
}

impl<T> CountedIo<T> {
    /// `inner`; `received` counts the bytes that come.
    pub(super) const fn new(inner: T, received: Arc<AtomicU64>) -> Self {
        Self { inner, received }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for CountedIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let came = buf.filled().len() - before;
        if came > 0 {
            self.received.fetch_add(came as u64, Ordering::Relaxed);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for CountedIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
