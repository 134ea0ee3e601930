//! One connection to the upstream. It carries one request at a time.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::io::{CountedIo, Socket};
use crate::{
    proxy::body::RequestBody,
    telemetry::stats::{Side, Stats, open::OpenGuard},
};

/// The most header lines of an answer. Beyond hyper's usual 100, the parser takes the room for them from the
/// heap. That costs 730 instructions an answer (of 116,000 for a miss), as many for 512 lines as for 1,024.
const MAX_HEADERS: usize = 1024;

/// A connection. Its driver, a task of its own, closes it when the upstream does, or once this is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<RequestBody>,
    /// Owned by the driver and dropped with it: a closed connection holds no file.
    socket: Weak<Socket>,
    received: Arc<AtomicU64>,
    /// The upstream's address, if it may change.
    peer: Option<IpAddr>,
    _is_open: OpenGuard,
}

/// Why a request got no response.
#[derive(Debug)]
pub(super) struct SendError {
    /// The request, if nothing of it was written.
    pub(super) unsent: Option<Request<RequestBody>>,
    /// Whether a byte was received since the request was handed over.
    pub(super) received_any: bool,
    pub(super) error: hyper::Error,
}

impl Connection {
    /// A connection that speaks HTTP/1.1 over `io`, which reads and writes `socket`.
    ///
    /// # Errors
    /// If hyper refuses `io`.
    pub(super) async fn handshake<T>(io: T, socket: &Arc<Socket>, stats: &Arc<Stats>) -> hyper::Result<Self>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let received = Arc::default();
        let io = TokioIo::new(CountedIo::new(io, Arc::clone(&received)));
        let (sender, driver) = http1::Builder::new().max_headers(MAX_HEADERS).handshake(io).await?;
        // The request that a failure concerns gets the error.
        tokio::spawn(driver.with_upgrades());
        let is_open = OpenGuard::new(stats, Side::Upstream);
        Ok(Self { sender, socket: Arc::downgrade(socket), received, peer: None, _is_open: is_open })
    }

    /// The same connection, which leads to `peer`.
    pub(super) fn with_peer(self, peer: Option<SocketAddr>) -> Self {
        Self { peer: peer.map(|peer| peer.ip()), ..self }
    }

    pub(super) const fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether the last exchange is over, and the next request can be sent.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Whether the upstream has neither closed the connection nor sent anything that nobody asked for.
    pub(super) fn is_quiet(&self) -> bool {
        self.socket.upgrade().is_some_and(|socket| socket.is_quiet())
    }

    #[cfg(test)]
    pub(super) fn local_port(&self) -> u16 {
        self.socket.upgrade().expect("an open connection").local_port()
    }

    /// Sends a request, and waits for the response's head.
    ///
    /// # Errors
    /// If the connection ends before it.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Box<SendError>> {
        let before = self.received.load(Ordering::Relaxed);
        self.sender.try_send_request(request).await.map_err(|mut error| {
            let unsent = error.take_message();
            let received_any = self.received.load(Ordering::Relaxed) != before;
            Box::new(SendError { unsent, received_any, error: error.into_error() })
        })
    }
}
