//! Binds the addresses of the two listeners.
//!
//! An address that another process has is an error, and stays one unless `listen_reuse` says that it may be shared:
//! two processes on one port by accident would each get half of the clients. With it, the next process listens
//! beside the one that it replaces, and waits for the admin listener's address until that one gives it up.

use std::{io, net::SocketAddr, path::Path, time::Duration};

use serde_json::json;
use socket2::{Domain, Socket, Type};
use tokio::time::sleep;

use super::{StartError, lifecycle};
use crate::{
    config::{Config, ListenAddress, LogLevel},
    server::{Listener, PendingFile},
};

/// How often an address is tried that another process still has.
const RETRY: Duration = Duration::from_millis(100);

/// An address to bind.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) address: ListenAddress,
    /// The mode of its file, if it is one.
    pub(super) mode: u32,
    /// The setting that names it.
    pub(super) setting: &'static str,
    /// Whether other processes may listen on it, too.
    pub(super) is_shared: bool,
}

/// A socket that has its address, and to which nobody can connect yet.
#[derive(Debug)]
pub(super) struct BoundSocket {
    socket: Bound,
    bound: Address,
    /// Whether another process listens on it, too.
    has_other: bool,
}

#[derive(Debug)]
enum Bound {
    Tcp(Socket),
    Unix(PendingFile),
}

impl Address {
    pub(super) fn bind(self) -> Result<BoundSocket, StartError> {
        let bound = match &self.address {
            ListenAddress::Tcp(address) => bind_tcp(*address, self.is_shared),
            ListenAddress::Unix(path) => bind_unix(path, self.mode, self.is_shared),
        };
        match bound {
            Ok((socket, has_other)) => Ok(BoundSocket { socket, bound: self, has_other }),
            Err(source) => Err(self.failure(source)),
        }
    }

    fn failure(self, source: io::Error) -> StartError {
        let Self { address, setting, is_shared, .. } = self;
        StartError::Listen { address, setting, is_shared, source }
    }
}

impl BoundSocket {
    /// Lets clients connect.
    pub(super) fn listen(self) -> Result<Listener, StartError> {
        let Self { socket, bound, .. } = self;
        let listener = match socket {
            Bound::Tcp(socket) => Listener::listen_tcp(socket, bound.is_shared),
            Bound::Unix(pending) => Listener::listen_unix(pending),
        };
        listener.map_err(|source| bound.failure(source))
    }
}

/// Binds an address; says, too, whether another process listens there.
fn bind_tcp(address: SocketAddr, is_shared: bool) -> io::Result<(Bound, bool)> {
    // Without sharing, a taken address is an error. If the system chooses the port, it is nobody's.
    let has_other =
        is_shared && address.port() != 0 && tcp_socket(address, false).is_err_and(|error| is_taken(&error));
    Ok((Bound::Tcp(tcp_socket(address, is_shared)?), has_other))
}

fn tcp_socket(address: SocketAddr, is_shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    // Connections inherit this. It finds peers that vanished.
    socket.set_keepalive(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_unix(path: &Path, mode: u32, is_shared: bool) -> io::Result<(Bound, bool)> {
    match PendingFile::bind(path, mode)? {
        (_, true) if !is_shared => Err(io::ErrorKind::AddrInUse.into()),
        (pending, has_other) => Ok((Bound::Unix(pending), has_other)),
    }
}

/// Tells operators that another process listens on the same address: they may not have meant it.
fn tell_of_other(address: &ListenAddress) {
    lifecycle(
        LogLevel::Warning,
        &format!("another process listens on {address}, too: new connections come here from now on"),
        json!({"listen": address.to_string()}),
    );
}

/// A listener's socket before clients may connect, if it is this process that lets them.
#[derive(Debug)]
pub(super) enum Prepared {
    Bound(BoundSocket),
    /// Clients may connect already.
    Inherited(Listener),
}

impl Prepared {
    /// Whether another process listens on the same address, and is replaced.
    pub(super) fn has_other(&self) -> bool {
        matches!(self, Self::Bound(BoundSocket { has_other: true, .. }))
    }

    /// The address that clients reach it by; the setting's, if the system is yet to choose a port.
    fn address(&self) -> Option<ListenAddress> {
        match self {
            Self::Bound(socket) => Some(socket.bound.address.clone()),
            Self::Inherited(listener) => listener.address().ok(),
        }
    }

    pub(super) fn listen(self) -> Result<Listener, StartError> {
        match self {
            Self::Bound(socket) => socket.listen(),
            Self::Inherited(listener) => Ok(listener),
        }
    }
}

/// A listener that may have to wait until the process that is replaced gives its address up.
#[derive(Debug)]
pub(super) enum Turn<T> {
    Now(T),
    Later(Address),
}

impl Turn<Prepared> {
    /// Binds `address`. If this process `replaces` another one, that one may have it still.
    pub(super) fn bind(address: Address, replaces: bool) -> Result<Self, StartError> {
        match address.clone().bind() {
            Ok(socket) => Ok(Self::Now(Prepared::Bound(socket))),
            Err(StartError::Listen { source, .. }) if replaces && is_taken(&source) => {
                Ok(Self::Later(address))
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn listen(self) -> Result<Turn<Listener>, StartError> {
        match self {
            Self::Now(prepared) => prepared.listen().map(Turn::Now),
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
            if let Ok(listener) = address.clone().bind().and_then(BoundSocket::listen) {
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

/// Listeners that another process has made, such as systemd.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    pub(crate) listener: Option<Listener>,
    pub(crate) admin: Option<Listener>,
}

/// Both listeners before anybody may connect.
pub(super) struct Listeners {
    clients: Prepared,
    admin: Option<Turn<Prepared>>,
}

impl Listeners {
    /// Takes what was handed over, and binds the rest. What was handed over counts in place of the settings.
    pub(super) fn prepare(config: &mut Config, inherited: Inherited) -> Result<Self, StartError> {
        let clients = match inherited.listener {
            Some(listener) => Prepared::Inherited(listener),
            None => Prepared::Bound(client_address(config).bind()?),
        };
        let Some(admin) = inherited.admin else {
            let replaces = clients.has_other();
            let admin = admin_address(config).map(|address| Turn::bind(address, replaces)).transpose()?;
            return Ok(Self { clients, admin });
        };
        config.admin.listen = admin.address().ok();
        match config.admin.exposed() {
            Some(address) => Err(StartError::OpenAdmin(address)),
            None => Ok(Self { clients, admin: Some(Turn::Now(Prepared::Inherited(admin))) }),
        }
    }

    /// The addresses, each with its setting.
    pub(super) fn addresses(&self) -> [Option<(ListenAddress, &'static str)>; 2] {
        let admin = match &self.admin {
            Some(Turn::Now(prepared)) => prepared.address(),
            Some(Turn::Later(bound)) => Some(bound.address.clone()),
            None => None,
        };
        let named = |address: Option<_>, setting| address.map(|address| (address, setting));
        [named(self.clients.address(), "listen"), named(admin, "admin.listen")]
    }

    /// Lets everybody connect.
    pub(super) fn open(self, config: &mut Config) -> Result<(Listener, Option<Turn<Listener>>), StartError> {
        let replaces = self.clients.has_other();
        let listener = self.clients.listen()?;
        // Where the system chose the port, the page tells this one.
        if let Ok(address) = listener.address() {
            config.listen = address;
        }
        if replaces {
            listener.take_over();
            tell_of_other(&config.listen);
        }
        Ok((listener, self.admin.map(Turn::listen).transpose()?))
    }
}

fn client_address(config: &Config) -> Address {
    Address {
        address: config.listen.clone(),
        mode: config.listen_mode,
        setting: "--listen (LISTEN)",
        is_shared: config.listen_reuse,
    }
}

fn admin_address(config: &Config) -> Option<Address> {
    Some(Address {
        address: config.admin.listen.clone()?,
        mode: config.admin.listen_mode,
        setting: "--admin-listen (ADMIN_LISTEN, `off` for none)",
        is_shared: false,
    })
}
