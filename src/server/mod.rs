//! Sockets: accepts connections, bounds their number, and closes them in order.
//!
//! One task serves one connection, on one of the threads of `workers`. hyper reads and writes HTTP; this room decides
//! when a connection has been silent for too long (`idle`) and what its end means (`half_close`, `lingering_close`).
//! `write_buffer` puts small writes together, `open_files` makes room at the start, and `heap_trim` returns memory after many connections at once.
//!
//! Two pieces went when each core got a runtime of its own: a poll of a connection that woke itself, without the
//! runtime, and one timer a connection for all its heads. They saved other threads wake-ups and locks; now they saved
//! 2 and 1 % of a hit's instructions, and nothing that its rate showed.

mod certificate;
mod connection;
mod half_close;
mod heap_trim;
mod idle;
mod lingering_close;
mod listener;
pub(crate) mod open_files;
mod preface;
mod proxy_protocol;
mod socket_file;
mod stream;
mod workers;
mod write_buffer;

pub(crate) use self::{certificate::Certificate, proxy_protocol::Proxies, socket_file::PendingFile};
pub use self::{listener::Listener, preface::Preface, workers::Workers};

use std::{
    future::Future,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    request::{
        client_body::ClientBody,
        connection::{Connection, ConnectionSlot},
    },
    server::{heap_trim::HeapTrim, listener::Accepted},
    telemetry::stats::{Limit, Side, Stats, open::OpenGuard},
};

/// The pause after a failed accept, for example without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a listener serves.
#[derive(Clone, Debug)]
pub struct Server {
    /// Counts what the limits refuse.
    pub stats: Arc<Stats>,
    /// Whether operators connect, who are counted apart from clients.
    pub is_for_operators: bool,
    /// The most open connections; more wait in the backlog.
    pub max_connections: usize,
    /// How long a request's head may take to arrive.
    pub header_timeout: Duration,
    /// What comes before HTTP.
    pub preface: Preface,
    /// Once set, each answer over HTTP/1 closes its connection: the client's next request goes elsewhere.
    pub is_leaving: Arc<AtomicBool>,
    /// Once cancelled, nothing more is accepted, and each connection closes after its current request.
    pub stop: CancellationToken,
    /// How long a connection without a request stays open after that: a request may be on its way.
    pub farewell: Duration,
    /// The tasks of the open connections.
    pub tasks: TaskTracker,
}

impl Server {
    /// Serves `listener` with `handle`, on `workers`, until [`Server::stop`] is cancelled.
    pub async fn run<H, F, B, E>(self, listener: impl Into<Listener>, workers: Arc<Workers>, handle: H)
    where
        H: Fn(Request<ClientBody>, Arc<Connection>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let listener = listener.into();
        let permits = Arc::new(Semaphore::new(self.max_connections));
        let open = Arc::new(HeapTrim::default());
        let mut last_worker = 0;
        let mut serve = |accepted: Accepted, permit| {
            let assignment = workers.assign(&mut last_worker);
            let runtime = assignment.runtime.clone();
            let slot = ConnectionSlot(Arc::new((permit, assignment)));
            let (server, handle) = (self.clone(), handle.clone());
            let counted = open.count();
            let side = if self.is_for_operators { Side::Operator } else { Side::Client };
            let is_open = OpenGuard::new(&self.stats, side);
            let serving = async move {
                let _counted = (counted, is_open);
                // From here on, the worker's runtime watches the socket.
                let peer = accepted.peer;
                let Ok(stream) = accepted.into_stream() else { return };
                if let Some((stream, peer)) = server.open(stream, peer).await {
                    server.connection(stream, peer, slot, handle).await;
                }
            };
            self.tasks.spawn_on(serving, &runtime);
        };
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = self.accept(&listener, &permits) => accepted,
            };
            match accepted {
                Ok((accepted, permit)) => serve(accepted, permit),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
        // Closing the listener resets whoever is in its queue.
        let closing = Instant::now() + listener.completion();
        while let Ok(accepted) = timeout_at(closing, self.accept(&listener, &permits)).await {
            match accepted {
                Ok((accepted, permit)) => serve(accepted, permit),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
        while let Ok(permit) = Arc::clone(&permits).try_acquire_owned()
            && let Ok(accepted) = listener.accept_queued()
        {
            serve(accepted, permit);
        }
    }

    async fn accept(
        &self,
        listener: &Listener,
        permits: &Arc<Semaphore>,
    ) -> std::io::Result<(Accepted, OwnedSemaphorePermit)> {
        // The bound of operators' connections is no setting.
        if permits.available_permits() == 0 && !self.is_for_operators {
            self.stats.limited(Limit::MaxConnections);
        }
        let permit = Arc::clone(permits).acquire_owned().await.map_err(std::io::Error::other)?;
        Ok((listener.accept().await?, permit))
    }
}
