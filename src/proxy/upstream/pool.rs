//! Idle connections, the one used last first. Each worker has its own: no lock is taken, and no connection is used on a
//! thread other than the one that drives it.
//!
//! A worker without an idle connection makes one, even if another worker has some. To take another worker's would need
//! a lock, and each byte of its exchange would wake that worker. hyper-util's composable pools
//! (`hyper_util::client::pool`) were looked at: their cache is behind a mutex, hands a connection out without a look at
//! its socket, and closes idle ones only when it is asked.

use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Duration,
};

use thread_local::ThreadLocal;
use tokio::time::{Instant, sleep_until};

use super::connection::Connection;

/// An idle connection is closed before common servers close it (uvicorn and Node: 5 s), so that a request is
/// seldom sent into a connection that is just going away.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// For each worker.
const IDLE_CONNECTIONS: usize = 256;

/// The idle connections of each thread.
#[derive(Debug, Default)]
pub(super) struct Pool(ThreadLocal<RefCell<Idle>>);

#[derive(Debug, Default)]
struct Idle {
    /// Each with the time since when it is idle. The one that was used last is at the end.
    connections: VecDeque<(Connection, Instant)>,
    /// Whether a task is there that closes old connections.
    is_watched: bool,
}

impl Pool {
    /// This thread's idle connections.
    fn idle(&self) -> &RefCell<Idle> {
        self.0.get_or_default()
    }

    /// A connection that is open and quiet at this moment. The upstream may close it at any other. Those that it meets
    /// and that are not, or not `is_current`, are closed.
    pub(super) fn take(&self, now: Instant, is_current: impl Fn(&Connection) -> bool) -> Option<Connection> {
        loop {
            let connection = self.idle().borrow_mut().take(now)?;
            if is_current(&connection) && connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// Takes a connection back once its response was read to the end. Its exchange may not be over for a
    /// moment.
    fn put(self: &Arc<Self>, connection: Connection, now: Instant) {
        let mut idle = self.idle().borrow_mut();
        if connection.is_closed() {
            return;
        }
        if idle.connections.len() == IDLE_CONNECTIONS {
            idle.connections.pop_front();
        }
        idle.connections.push_back((connection, now));
        if !std::mem::replace(&mut idle.is_watched, true) {
            tokio::spawn(watch(Arc::downgrade(self), now + IDLE_CONNECTION));
        }
    }

    /// Closes this thread's connections that have been idle for too long. Returns when the next one will have
    /// been.
    fn close_old(&self, now: Instant) -> Option<Instant> {
        let mut idle = self.idle().borrow_mut();
        let old = idle.connections.partition_point(|(_, since)| is_old(*since, now));
        idle.connections.drain(..old);
        let next = idle.connections.front().map(|(_, since)| *since + IDLE_CONNECTION);
        idle.is_watched = next.is_some();
        next
    }
}

impl Idle {
    /// The connection that was used last, of those that can be used.
    fn take(&mut self, now: Instant) -> Option<Connection> {
        for at in (0..self.connections.len()).rev() {
            let (connection, since) = self.connections.get(at)?;
            // All before it are old, too.
            if is_old(*since, now) {
                return None;
            }
            if connection.is_closed() {
                self.connections.remove(at);
            } else if connection.is_ready() {
                return self.connections.remove(at).map(|(connection, _)| connection);
            }
        }
        None
    }
}

fn is_old(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) >= IDLE_CONNECTION
}

/// Closes old connections, until there is none.
async fn watch(pool: Weak<Pool>, mut due: Instant) {
    loop {
        sleep_until(due).await;
        let next = pool.upgrade().and_then(|pool| pool.close_old(Instant::now()));
        let Some(next) = next else { return };
        due = next;
    }
}

/// A connection whose response is being read. It is closed if it is dropped before the response came whole.
#[derive(Debug)]
pub(crate) struct PooledConnection {
    connection: Connection,
    pool: Arc<Pool>,
}

impl PooledConnection {
    pub(super) const fn new(connection: Connection, pool: Arc<Pool>) -> Self {
        Self { connection, pool }
    }

    /// Gives the connection to the pool: its response was read to the end.
    pub(crate) fn release(self) {
        self.pool.put(self.connection, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpStream},
        time::sleep,
    };
    use tokio_util::either::Either;

    use super::*;
    use crate::proxy::upstream::io::{Socket, SocketIo};

    /// A connection that can be used, and its other end.
    async fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let socket =
            Arc::new(Socket::new(Either::Left(TcpStream::connect(address).await.expect("a connection"))));
        let (peer, _) = listener.accept().await.expect("a connection");
        let connection = Connection::handshake(SocketIo(Arc::clone(&socket)), &socket, &Arc::default())
            .await
            .expect("a connection");
        drop(socket);
        until(|| connection.is_ready()).await;
        (connection, peer)
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn idle(pool: &Pool) -> usize {
        pool.idle().borrow().connections.len()
    }

    /// Whether `peer` is the other end of `connection`.
    fn is_to(connection: &Connection, peer: &TcpStream) -> bool {
        connection.local_port() == peer.peer_addr().expect("an address").port()
    }

    #[tokio::test]
    async fn the_last_one_is_taken_first_and_none_that_is_old() {
        let pool = Arc::new(Pool::default());
        let (first, its_peer) = pair().await;
        let (second, other_peer) = pair().await;
        let now = Instant::now();
        pool.put(first, now);
        pool.put(second, now + Duration::from_secs(1));
        let taken = pool.take(now + Duration::from_secs(2), |_| true).expect("a connection");
        assert!(is_to(&taken, &other_peer));
        assert!(pool.take(now + IDLE_CONNECTION, |_| true).is_none());
        assert!(is_to(&pool.take(now + IDLE_CONNECTION / 2, |_| true).expect("a connection"), &its_peer));
        assert!(pool.take(now, |_| true).is_none());
    }

    #[tokio::test]
    async fn what_was_closed_or_says_something_is_not_taken() {
        let pool = Arc::new(Pool::default());
        for spoil in ["closed", "reset", "a word"] {
            let (good, its_peer) = pair().await;
            let (spoilt, mut peer) = pair().await;
            let now = Instant::now();
            pool.put(good, now);
            // hyper does not know yet, as this task has not yielded: only the look at the socket can tell.
            pool.put(spoilt, now);
            match spoil {
                "closed" => drop(peer),
                "reset" => {
                    peer.set_zero_linger().expect("an open socket");
                    drop(peer);
                }
                _ => peer.write_all(b"HTTP/1.1 408 Late\r\n\r\n").await.expect("room"),
            }
            assert!(is_to(&pool.take(now, |_| true).expect("a connection"), &its_peer), "{spoil}");
            assert_eq!(idle(&pool), 0, "{spoil}");
        }
    }

    #[tokio::test]
    async fn there_is_a_bound_and_the_oldest_goes() {
        let pool = Arc::new(Pool::default());
        let now = Instant::now();
        let (first, mut peer) = pair().await;
        pool.put(first, now);
        let mut peers = Vec::new();
        for _ in 0..IDLE_CONNECTIONS {
            let (connection, peer) = pair().await;
            pool.put(connection, now);
            peers.push(peer);
        }
        assert_eq!(idle(&pool), IDLE_CONNECTIONS);
        // Its driver closes it.
        let closed = tokio::io::AsyncReadExt::read(&mut peer, &mut [0; 1]).await;
        assert_eq!(closed.expect("an end"), 0);
    }

    #[tokio::test]
    async fn what_is_old_is_closed_and_the_watch_ends_with_the_last() {
        let pool = Arc::new(Pool::default());
        let (first, _its_peer) = pair().await;
        let (second, _other_peer) = pair().await;
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        pool.put(first, now);
        pool.put(second, later);
        assert_eq!(pool.close_old(now), Some(now + IDLE_CONNECTION));
        assert_eq!((pool.close_old(now + IDLE_CONNECTION), idle(&pool)), (Some(later + IDLE_CONNECTION), 1));
        assert_eq!((pool.close_old(later + IDLE_CONNECTION), idle(&pool)), (None, 0));
        assert!(!pool.idle().borrow().is_watched);
    }
}
