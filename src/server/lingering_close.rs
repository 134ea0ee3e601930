//! A connection that is closed while its client still sends.
//!
//! If it closed at once, the system would answer the unread bytes with a reset, and the client could lose the
//! response before it has read it (RFC 9112, section 9.6). So the sending half is closed first. What still
//! comes is read and dropped until the client closes too, or takes too long. The limits are nginx's
//! `lingering_timeout` and `lingering_time`.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::request::half_close::HasHalfClose;

/// The longest wait between two reads.
const PAUSE: Duration = Duration::from_secs(5);

/// The longest wait in all.
const LIMIT: Duration = Duration::from_secs(30);

/// The longest wait once the listener stops: a drain does not wait for such connections.
const LIMIT_STOPPING: Duration = Duration::from_secs(1);

/// The most that one read takes, in bytes.
const READ_SIZE: usize = 16 * 1024;

/// A connection that lingers at its end if the client may still send.
#[derive(Debug)]
pub(super) struct LingeringIo<S, H> {
    stream: S,
    /// Says whether the last request is answered, and whether its body was read.
    halves: H,
    /// Whether bytes have come since the last answer was written.
    has_unanswered: bool,
    /// Whether the client has closed its half.
    has_ended: bool,
    closing: Option<Closing>,
}

/// The deadlines once the sending half is closed.
#[derive(Debug)]
struct Closing {
    limit: Instant,
    pause: Pin<Box<Sleep>>,
    is_stopping: bool,
}

impl<S, H> LingeringIo<S, H> {
    pub(super) fn new(stream: S, halves: H) -> Self {
        Self { stream, halves, has_unanswered: false, has_ended: false, closing: None }
    }
}

impl<S: AsyncRead + Unpin, H: HasHalfClose> LingeringIo<S, H> {
    /// Reads and drops what still comes, up to the client's end or the limits.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let closing = self.closing.get_or_insert_with(|| {
            let now = Instant::now();
            Closing { limit: now + LIMIT, pause: Box::pin(sleep_until(now + PAUSE)), is_stopping: false }
        });
        if self.halves.half_close().is_stopping() && !closing.is_stopping {
            closing.is_stopping = true;
            closing.limit = closing.limit.min(Instant::now() + LIMIT_STOPPING);
            let pause = closing.pause.deadline().min(closing.limit);
            closing.pause.as_mut().reset(pause);
        }
        let mut piece = [const { std::mem::MaybeUninit::uninit() }; READ_SIZE];
        loop {
            let mut buffer = ReadBuf::uninit(&mut piece);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let now = Instant::now();
                    if now >= closing.limit {
                        return Poll::Ready(());
                    }
                    closing.pause.as_mut().reset(closing.limit.min(now + PAUSE));
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return closing.pause.as_mut().poll(cx),
            }
        }
    }
}

impl<S: AsyncRead + Unpin, H: HasHalfClose + Unpin> AsyncRead for LingeringIo<S, H> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if polled.is_ready() {
            let has_come = buffer.filled().len() > before;
            self.has_unanswered |= has_come;
            self.has_ended |= !has_come && buffer.remaining() > 0;
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, H: HasHalfClose + Unpin> AsyncWrite for LingeringIo<S, H> {
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

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if polled.is_ready() && self.halves.half_close().is_answered() {
            self.has_unanswered = false;
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            let half_close = self.halves.half_close();
            let may_come = self.has_unanswered || half_close.has_unread_body();
            if self.has_ended || !may_come || !half_close.begin_lingering() {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_discard(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::sleep,
    };

    use super::*;
    use crate::request::half_close::HalfClose;

    /// A client, and the server's end of its connection, at which `request` has been read.
    async fn connection(request: &[u8]) -> (DuplexStream, LingeringIo<DuplexStream, Arc<HalfClose>>) {
        let (mut client, stream) = duplex(1024);
        let halves = Arc::<HalfClose>::default();
        let mut connection = LingeringIo::new(stream, Arc::clone(&halves));
        client.write_all(request).await.expect("room");
        halves.begin();
        let read = connection.read_exact(&mut vec![0; request.len()]).await;
        assert_eq!(read.expect("it has come"), request.len());
        (client, connection)
    }

    /// Answers and closes; returns how long closing took.
    async fn close(connection: &mut LingeringIo<DuplexStream, Arc<HalfClose>>) -> Duration {
        connection.write_all(b"answer").await.expect("open");
        connection.halves.answered();
        connection.flush().await.expect("open");
        let began = Instant::now();
        connection.shutdown().await.expect("open");
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_was_read_whole_closes_at_once() {
        let (_client, mut connection) = connection(b"whole").await;
        assert_eq!(close(&mut connection).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_ended_is_not_waited_for() {
        let (mut client, mut connection) = connection(b"half").await;
        connection.halves.leave_unread(1);
        client.shutdown().await.expect("open");
        assert_eq!(connection.read(&mut [0]).await.expect("open"), 0);
        assert_eq!(close(&mut connection).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_waited_for_one_pause() {
        let (mut client, mut connection) = connection(b"half").await;
        connection.halves.leave_unread(1);
        assert_eq!(close(&mut connection).await, PAUSE);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("open");
        assert_eq!(answer, "answer");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_on_is_read_to_its_end() {
        let (mut client, mut connection) = connection(b"half").await;
        connection.halves.leave_unread(1);
        let sending = tokio::spawn(async move {
            for _ in 0..10 {
                client.write_all(&[0; 4096]).await.expect("it is read");
                sleep(Duration::from_secs(1)).await;
            }
            client.shutdown().await.expect("open");
            client
        });
        assert_eq!(close(&mut connection).await, Duration::from_secs(10));
        sending.await.expect("all was taken");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_on_and_on_is_cut() {
        let (mut client, mut connection) = connection(b"half").await;
        connection.halves.leave_unread(1);
        let sending = tokio::spawn(async move {
            while client.write_all(b"more").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        assert_eq!(close(&mut connection).await, LIMIT);
        drop(connection);
        sending.await.expect("it notices");
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_request_after_the_answer_is_waited_for_too() {
        let (mut client, mut connection) = connection(b"whole").await;
        connection.write_all(b"answer").await.expect("open");
        connection.halves.answered();
        connection.flush().await.expect("open");
        client.write_all(b"GET / HT").await.expect("room");
        connection.read_exact(&mut [0; 8]).await.expect("it has come");
        let began = Instant::now();
        connection.shutdown().await.expect("open");
        assert_eq!(began.elapsed(), PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_stops_waits_a_second() {
        let (_client, mut connection) = connection(b"half").await;
        connection.halves.leave_unread(1);
        connection.halves.stop();
        assert_eq!(close(&mut connection).await, LIMIT_STOPPING);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_http_1_closes_at_once() {
        let (_client, mut connection) = connection(b"half").await;
        connection.halves.leave_unread(1);
        connection.halves.never_linger();
        assert_eq!(close(&mut connection).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_unread_body_of_an_earlier_request_does_not_count() {
        let (_client, mut connection) = connection(b"half").await;
        connection.halves.begin();
        connection.halves.leave_unread(1);
        assert_eq!(close(&mut connection).await, Duration::ZERO);
    }
}
