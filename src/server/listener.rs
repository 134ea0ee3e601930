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
    net::{IpAddr, Ipv4Addr, TcpListener as StdTcpListener},
    os::unix::net::UnixListener as StdUnixListener,
    time::Duration,
};

use socket2::{SockRef, Socket};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::{
    socket_file::{PendingFile, SocketFile},
    stream::Stream,
};
use crate::config::ListenAddress;

/// How long connections that have begun may take to be complete, where a next process takes over: some round trips.
const COMPLETION: Duration = Duration::from_millis(250);

/// How many connections may wait to be accepted. The system may allow fewer (`net.core.somaxconn`). If the queue is full,
/// the client's system tries again only after a second.
const BACKLOG: i32 = 4096;

/// Who connects over a Unix socket has no address. It is a process of this machine.
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A socket that accepts connections.
#[derive(Debug)]
pub struct Listener {
    socket: ListenSocket,
    /// Whether other processes may listen on its address, too.
    is_shared: bool,
    /// Removed with the listener.
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum ListenSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self { socket: ListenSocket::Tcp(socket), is_shared: false, _file: None }
    }
}

/// A connection that no runtime watches yet.
#[derive(Debug)]
pub(super) struct Accepted {
    stream: AcceptedStream,
    /// The client's address.
    pub(super) peer: IpAddr,
}

#[derive(Debug)]
enum AcceptedStream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Accepted {
    /// Has the runtime that this is called in watch the socket.
    pub(super) fn into_stream(self) -> io::Result<Stream> {
        match self.stream {
            AcceptedStream::Tcp(stream) => {
                // Without this, the system would hold back small writes, such as the events of a stream.
                let _ = stream.set_nodelay(true);
                TcpStream::from_std(stream).map(Stream::Tcp)
            }
            AcceptedStream::Unix(stream) => UnixStream::from_std(stream).map(Stream::Unix),
        }
    }
}

impl Listener {
    /// Lets clients connect to `socket`, which has its address.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn listen_tcp(socket: Socket, is_shared: bool) -> io::Result<Self> {
        socket.listen(BACKLOG)?;
        Ok(Self { is_shared, ..Self::inherited_tcp(socket.into())? })
    }

    /// Lets clients connect to a socket file.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn listen_unix(pending: PendingFile) -> io::Result<Self> {
        let (socket, file) = pending.listen(BACKLOG)?;
        Ok(Self { _file: Some(file), ..Self::inherited_unix(socket.into())? })
    }

    /// A listener that another process has made.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn inherited_tcp(socket: StdTcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket).map(Self::from)
    }

    /// As [`Self::inherited_tcp`].
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn inherited_unix(socket: StdUnixListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = ListenSocket::Unix(UnixListener::from_std(socket)?);
        Ok(Self { socket, is_shared: false, _file: None })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's, if it cannot say.
    pub(crate) fn address(&self) -> io::Result<ListenAddress> {
        match (&self._file, &self.socket) {
            (Some(file), _) => Ok(ListenAddress::Unix(file.path().to_owned())),
            (None, ListenSocket::Tcp(socket)) => socket.local_addr().map(ListenAddress::Tcp),
            (None, ListenSocket::Unix(socket)) => {
                let address = socket.local_addr()?;
                Ok(ListenAddress::Unix(address.as_pathname().map(Into::into).unwrap_or_default()))
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            ListenSocket::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                Ok(Accepted { stream: AcceptedStream::Tcp(stream.into_std()?), peer: peer.ip() })
            }
            ListenSocket::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                Ok(Accepted { stream: AcceptedStream::Unix(stream.into_std()?), peer: LOCAL })
            }
        }
    }

    /// Takes all new connections to its address from the other process that listens there. Where the system cannot
    /// do that, both have their share. (A socket file has been replaced already.)
    pub(crate) fn take_over(&self) {
        if let ListenSocket::Tcp(socket) = &self.socket {
            let _ = steer_here(socket);
        }
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
        let (stream, peer) = match &self.socket {
            ListenSocket::Tcp(socket) => SockRef::from(socket).accept()?,
            ListenSocket::Unix(socket) => SockRef::from(socket).accept()?,
        };
        stream.set_nonblocking(true)?;
        Ok(match peer.as_socket() {
            Some(peer) => Accepted { stream: AcceptedStream::Tcp(stream.into()), peer: peer.ip() },
            None => Accepted { stream: AcceptedStream::Unix(stream.into()), peer: LOCAL },
        })
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
    use std::{
        io::Read,
        net::{SocketAddr, TcpStream},
    };

    use socket2::{Domain, Type};
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn listen(address: SocketAddr, is_shared: bool) -> Listener {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_port(is_shared).expect("an option");
        socket.bind(&address.into()).expect("an address");
        Listener::listen_tcp(socket, is_shared).expect("a listener")
    }

    fn address(listener: &Listener) -> SocketAddr {
        listener.address().expect("an address").tcp().expect("no file")
    }

    #[tokio::test]
    async fn who_is_in_the_queue_is_accepted_before_the_end() {
        let listener = listen(([127, 0, 0, 1], 0).into(), false);
        let mut client = TcpStream::connect(address(&listener)).expect("a connection");
        let accepted = listener.accept_queued().expect("it is in the queue");
        assert_eq!(accepted.peer, Ipv4Addr::LOCALHOST);
        assert_eq!(listener.accept_queued().expect_err("nobody else").kind(), io::ErrorKind::WouldBlock);
        drop(listener);
        let mut stream = accepted.into_stream().expect("a stream");
        stream.write_all(b"served").await.expect("open");
        drop(stream);
        let mut received = String::new();
        client.read_to_string(&mut received).expect("no reset");
        assert_eq!(received, "served");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_next_process_takes_every_new_connection() {
        let old = listen(([127, 0, 0, 1], 0).into(), true);
        let address = address(&old);
        let connect = || TcpStream::connect(address).expect("a connection");
        let _before = connect();
        let next = listen(address, true);
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
