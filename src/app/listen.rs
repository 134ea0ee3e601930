//! Binds the addresses of the two listeners.
//!
//! An address that another process has is an error, and stays one unless `listen_reuse` says that it may be shared:
//! two processes on one port by accident would each get half of the clients. With it, the next process listens
//! beside the one that it replaces, and waits for the admin listener's address until that one gives it up.

use std::{io, net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::{net::TcpSocket, time::sleep};

use super::{StartError, lifecycle};
use crate::{config::LogLevel, server::Listener};

/// How many connections may wait to be accepted. The system may allow fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// How often an address is tried that another process still has.
const RETRY: Duration = Duration::from_millis(100);

/// An address to bind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address {
    pub(super) address: SocketAddr,
    /// The setting that names it.
    pub(super) setting: &'static str,
    /// Whether other processes may listen on it, too.
    pub(super) is_shared: bool,
}

/// A socket that has its address, and to which nobody can connect yet.
#[derive(Debug)]
pub(super) struct BoundSocket {
    socket: TcpSocket,
    bound: Address,
    /// Whether another process listens on it, too.
    pub(super) has_other: bool,
}

impl Address {
    pub(super) fn bind(self) -> Result<BoundSocket, StartError> {
        // Without sharing, a taken address is an error. If the system chooses the port, it is nobody's.
        let has_other = self.is_shared
            && self.address.port() != 0
            && bind(self.address, false).is_err_and(|error| is_taken(&error));
        let socket = bind(self.address, self.is_shared).map_err(|source| self.failure(source))?;
        Ok(BoundSocket { socket, bound: self, has_other })
    }

    fn failure(self, source: io::Error) -> StartError {
        let Self { address, setting, is_shared } = self;
        StartError::Listen { address, setting, is_shared, source }
    }
}

impl BoundSocket {
    /// Lets clients connect, with room for many at once: if the queue is full, the client's system tries
    /// again only after a second.
    pub(super) fn listen(self) -> Result<Listener, StartError> {
        let Self { socket, bound, .. } = self;
        let listener = socket.listen(BACKLOG).map_err(|source| bound.failure(source))?;
        Ok(if bound.is_shared { Listener::shared(listener) } else { listener.into() })
    }
}

fn bind(address: SocketAddr, is_shared: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(is_shared)?;
    // Connections inherit this. It finds peers that vanished.
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Tells operators that another process listens on the same address: they may not have meant it.
pub(super) fn tell_of_other(address: SocketAddr) {
    lifecycle(
        LogLevel::Warning,
        &format!("another process listens on {address}, too: new connections come here from now on"),
        json!({"listen": address.to_string()}),
    );
}

/// A listener that may have to wait until the process that is replaced gives its address up.
#[derive(Debug)]
pub(super) enum Turn<T> {
    Now(T),
    Later(Address),
}

impl Turn<BoundSocket> {
    /// Binds `address`. If this process `replaces` another one, that one may have it still.
    pub(super) fn bind(address: Address, replaces: bool) -> Result<Self, StartError> {
        match address.bind() {
            Ok(socket) => Ok(Self::Now(socket)),
            Err(StartError::Listen { source, .. }) if replaces && is_taken(&source) => {
                Ok(Self::Later(address))
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn listen(self) -> Result<Turn<Listener>, StartError> {
        match self {
            Self::Now(socket) => socket.listen().map(Turn::Now),
            Self::Later(address) => Ok(Turn::Later(address)),
        }
    }
}

impl Turn<Listener> {
    /// Waits until the address is free.
    pub(super) async fn wait(self) -> Listener {
        let address = match self {
            Self::Now(listener) => return listener,
            Self::Later(address) => address,
        };
        loop {
            sleep(RETRY).await;
            if let Ok(listener) = address.bind().and_then(BoundSocket::listen) {
                let members = json!({"admin": address.address.to_string()});
                lifecycle(LogLevel::Info, "the admin listener is taken over", members);
                return listener;
            }
        }
    }
}

fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}
