//! A socket that clients connect to, and how it is left without losing any of them.
//!
//! The system completes connections by itself and keeps them in the listener's queue. Closing the listener resets
//! those, and whoever is just connecting. So before the end the queue is accepted to its last connection. Where a next
//! process listens on the same address (`SO_REUSEPORT`), the system would go on to give this listener its share of the
//! new ones; so the next process takes all of them as it begins, by a program for the group of both sockets. Tried
//! before that: a filter on the old socket that drops the first packet of each connection. It lost nobody either, but
//! clients send that packet again only after a second, and twice as long after each further loss. Linux moves the
//! queue by itself with `net.ipv4.tcp_migrate_req`, which is off by default, so this does not count on it.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use socket2::SockRef;
use tokio::net::TcpListener;

/// How long connections that have begun may take to be complete, where a next process takes over: some round trips.
const COMPLETION: Duration = Duration::from_millis(250);

/// A socket that accepts connections.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    is_shared: bool,
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self { socket, is_shared: false }
    }
}

/// A connection that no runtime watches yet.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
}

impl Listener {
    /// A listener whose address other processes may listen on, too.
    pub fn shared(socket: TcpListener) -> Self {
        Self { socket, is_shared: true }
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The system's, if it cannot say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        let (stream, peer) = self.socket.accept().await?;
        Ok(Accepted { stream: stream.into_std()?, peer })
    }

    /// Takes all new connections to its address from the other process that listens there. Where the system cannot
    /// do that, both have their share.
    pub fn take_over(&self) {
        let _ = steer_here(&self.socket);
    }

    /// How long to go on accepting before the end: connections that have begun must be complete.
    pub(super) fn completion(&self) -> Duration {
        if self.is_shared { COMPLETION } else { Duration::ZERO }
    }

    /// A connection that is in the queue now. The runtime may not know of it yet, so the system itself is asked.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn accept_queued(&self) -> io::Result<Accepted> {
        let (stream, peer) = SockRef::from(&self.socket).accept()?;
        stream.set_nonblocking(true)?;
        let peer = peer.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        Ok(Accepted { stream: stream.into(), peer })
    }
}

/// Has the system give all new connections to the second socket of the group that listens on this address. A group is
/// in the order in which its sockets began to listen: the second one is the process that replaces the first. Once that
/// one is gone there is no second one, and the system goes back to its hash.
#[cfg(target_os = "linux")]
fn steer_here(socket: &TcpListener) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt::AttachReusePortCbpf};

    const RETURN: u16 = 0x06;
    const SECOND: u32 = 1;
    let mut code = [libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: SECOND }];
    let program = libc::sock_fprog { len: 1, filter: code.as_mut_ptr() };
    Ok(setsockopt(socket, AttachReusePortCbpf, &program)?)
}

#[cfg(not(target_os = "linux"))]
fn steer_here(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use tokio::net::TcpSocket;

    use super::*;

    #[tokio::test]
    async fn who_is_in_the_queue_is_accepted_before_the_end() {
        let listener = Listener::from(TcpListener::bind("127.0.0.1:0").await.expect("a port"));
        let mut client = TcpStream::connect(listener.address().expect("an address")).expect("a connection");
        let Accepted { mut stream, peer } = listener.accept_queued().expect("it is in the queue");
        assert_eq!(Ok(peer), client.local_addr().map_err(drop));
        assert_eq!(listener.accept_queued().expect_err("nobody else").kind(), io::ErrorKind::WouldBlock);
        drop(listener);
        stream.write_all(b"served").expect("open");
        drop(stream);
        let mut received = String::new();
        client.read_to_string(&mut received).expect("no reset");
        assert_eq!(received, "served");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_next_process_takes_every_new_connection() {
        let listen = |address: SocketAddr| {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_reuseport(true).expect("an option");
            socket.bind(address).expect("an address that is shared");
            Listener::shared(socket.listen(64).expect("a listener"))
        };
        let old = listen(([127, 0, 0, 1], 0).into());
        let address = old.address().expect("an address");
        let connect = || TcpStream::connect(address).expect("a connection");
        let _before = connect();
        let next = listen(address);
        next.take_over();
        let _after: Vec<_> = (0..40).map(|_| connect()).collect();
        assert!(old.accept_queued().is_ok(), "who came before");
        assert!(old.accept_queued().is_err(), "nobody after that");
        drop(old);
        for _ in 0..40 {
            assert!(next.accept_queued().is_ok());
        }
        let _alone = connect();
        assert!(next.accept_queued().is_ok(), "there is no second one any more");
    }
}
