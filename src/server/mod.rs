//! Sockets: accepts connections, bounds their number, and closes them in order.
//!
//! One task serves one connection, on one of the threads of `workers`. hyper reads and writes HTTP; this room decides
//! when a connection has been silent for too long (`idle`) and what its end means (`half_close`, `lingering_close`).
//! `write_buffer` puts small writes together, `open_files` makes room at the start, and `heap_trim` returns memory after many connections at once.
//!
//! Two pieces went when each core got a runtime of its own: a poll of a connection that woke itself, without the
//! runtime, and one timer a connection for all its heads. They saved other threads wake-ups and locks; now they saved
//! 2 and 1 % of a hit's instructions, and nothing that its rate showed.

mod half_close;
mod heap_trim;
mod idle;
mod lingering_close;
pub(crate) mod open_files;
mod workers;
mod write_buffer;

pub use self::workers::Workers;

use std::{future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, StatusCode, header};
use http_body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    http::guarded::Guarded,
    request::{
        client_body::ClientBody,
        connection::{Connection, ConnectionSlot},
    },
    server::{
        half_close::HalfCloseIo,
        heap_trim::HeapTrim,
        idle::{Activity, AnswerGuard, ResponseGuard, Silence},
        lingering_close::LingeringIo,
        write_buffer::WriteBuffer,
    },
    telemetry::stats::{Limit, Side, Stats, open::OpenGuard},
};

/// The pause after a failed accept, for example without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An HTTP/2 peer gets a ping this often, and has this long to answer it.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest request head, in bytes. The HTTP parser answers a larger one with 431.
const MAX_HEAD: usize = 64 * 1024;

/// How a listener serves.
#[derive(Clone, Debug)]
pub struct Server {
    /// Counts what the limits refuse.
    pub stats: Arc<Stats>,
    /// The most open connections; more wait in the backlog.
    pub max_connections: usize,
    /// How long a request's head may take to arrive.
    pub header_timeout: Duration,
    /// Once cancelled, nothing more is accepted, and each connection closes after its current request.
    pub stop: CancellationToken,
    /// The tasks of the open connections.
    pub tasks: TaskTracker,
}

impl Server {
    /// Serves `listener` with `handle`, on `workers`, until [`Server::stop`] is cancelled.
    pub async fn run<H, F, B, E>(self, listener: TcpListener, workers: Arc<Workers>, handle: H)
    where
        H: Fn(Request<ClientBody>, Arc<Connection>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let permits = Arc::new(Semaphore::new(self.max_connections));
        let open = Arc::new(HeapTrim::default());
        let mut last_worker = 0;
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = self.accept(&listener, &permits) => accepted,
            };
            match accepted {
                Ok((stream, peer, permit)) => {
                    let assignment = workers.assign(&mut last_worker);
                    let runtime = assignment.runtime.clone();
                    let slot = ConnectionSlot(Arc::new((permit, assignment)));
                    let (server, handle) = (self.clone(), handle.clone());
                    let counted = open.count();
                    let is_open = OpenGuard::new(&self.stats, Side::Client);
                    let serving = async move {
                        let _counted = (counted, is_open);
                        // From here on, the worker's runtime watches the socket.
                        if let Ok(stream) = TcpStream::from_std(stream) {
                            server.connection(stream, peer, slot, handle).await;
                        }
                    };
                    self.tasks.spawn_on(serving, &runtime);
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    async fn accept(
        &self,
        listener: &TcpListener,
        permits: &Arc<Semaphore>,
    ) -> std::io::Result<(std::net::TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        if permits.available_permits() == 0 {
            self.stats.limited(Limit::MaxConnections);
        }
        let permit = Arc::clone(permits).acquire_owned().await.map_err(std::io::Error::other)?;
        let (stream, peer) = listener.accept().await?;
        Ok((stream.into_std()?, peer, permit))
    }

    async fn connection<H, F, B, E>(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        slot: ConnectionSlot,
        handle: H,
    ) where
        H: Fn(Request<ClientBody>, Arc<Connection>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        // Without this, the system would hold back small writes, such as the events of a stream.
        let _ = stream.set_nodelay(true);
        // A token of its own: connections that look at one token wait for each other.
        let stop = self.stop.child_token();
        let activity = Arc::new(Activity::default());
        let caller = Arc::new(Connection::new(peer.ip()));
        let service = {
            let activity = Arc::clone(&activity);
            let caller = Arc::clone(&caller);
            service_fn(move |mut request: Request<Incoming>| {
                let active = activity.begin_request(request.version());
                // An upgraded connection outlives this task, and takes its slot along.
                if request.headers().contains_key(header::UPGRADE) {
                    request.extensions_mut().insert(slot.clone());
                }
                // Over HTTP/2 each request has its own end, so only HTTP/1 looks at the connection's.
                let answered = active.is_none().then(|| AnswerGuard(Arc::clone(&caller)));
                let number = match answered {
                    Some(_) => Some(caller.half_close.begin()),
                    None => {
                        caller.half_close.never_linger();
                        None
                    }
                };
                let request = request.map(|body| ClientBody::new(body, Arc::clone(&caller), number));
                let connection = Arc::clone(&caller);
                handle(request, Arc::clone(&caller)).map(move |answer| {
                    let guard = ResponseGuard { _active: active, _answered: answered };
                    answer.map(|response| {
                        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                            connection.half_close.never_linger();
                        }
                        response.map(|body| Guarded::new(body, guard))
                    })
                })
            })
        };
        let stream = LingeringIo::new(WriteBuffer(stream), Arc::clone(&caller));
        let io = TokioIo::new(HalfCloseIo { stream, halves: Arc::clone(&caller) });
        let builder = self.http_builder();
        let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
        // hyper's own head timeout begins once it knows the protocol, and is for HTTP/1 alone. This one does
        // the rest.
        let mut idle_timer = pin!(tokio::time::sleep(self.header_timeout));
        let mut stopping = false;
        let mut seen = 0;
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    // Over HTTP/2, a timeout is a peer that did not answer a ping.
                    let is_http1 = !activity.is_http2();
                    if is_http1 && ended.is_err_and(|error| is_timeout(&*error)) {
                        self.stats.limited(Limit::HeaderTimeout);
                    }
                    return;
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    caller.half_close.stop();
                    connection.as_mut().graceful_shutdown();
                }
                () = idle_timer.as_mut(), if activity.is_watched() => {
                    idle_timer.as_mut().reset(Instant::now() + self.header_timeout);
                    // It is answered; its own limits end it.
                    if caller.half_close.is_lingering() {
                        continue;
                    }
                    match activity.silence_since(&mut seen) {
                        Silence::None => {}
                        Silence::BetweenRequests if stopping => {}
                        // Responses that are still being written go on to their end.
                        Silence::BetweenRequests => {
                            stopping = true;
                            connection.as_mut().graceful_shutdown();
                        }
                        Silence::NoRequest => {
                            self.stats.limited(Limit::HeaderTimeout);
                            return;
                        }
                    }
                }
            }
        }
    }

    fn http_builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(MAX_HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEAD as u32)
            // A peer that vanished frees its slot after these two.
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        builder
    }
}

fn is_timeout(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout)
}
