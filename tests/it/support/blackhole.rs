//! A port at which connections are neither accepted nor refused, as behind a firewall that drops packets.

use std::time::Duration;

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

/// Longer than any connection on this machine takes.
const MADE: Duration = Duration::from_millis(300);

/// A listener with a full queue that accepts nothing: the system drops further connections.
#[derive(Debug)]
pub(crate) struct Blackhole {
    listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Blackhole {
    /// One on a port of its own.
    pub(crate) async fn open() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let listener = socket.listen(1).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let mut queued = Vec::new();
        // The first one that takes this long found no room.
        while let Ok(made) = timeout(MADE, TcpStream::connect(address)).await {
            queued.push(made.expect("a place in the queue"));
        }
        Self { listener, _queued: queued }
    }

    /// The URL of a Redis there.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.listener.local_addr().expect("an address"))
    }
}
