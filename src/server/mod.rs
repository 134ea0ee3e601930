//! Accepting connections, and letting them end well.

pub mod half_close;
pub mod heap_trim;
pub mod lingering_close;
pub mod repoll;
pub mod timer;
pub mod write_buffer;

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, Version, header};
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
    http::guarded::{BodyGuard, Guarded},
    request::{
        client_body::ClientBody,
        connection::{Connection, ConnectionSlot},
    },
    server::{
        half_close::Held, heap_trim::HeapTrim, lingering_close::Lingering, repoll::Repoll,
        timer::ServerTimer, write_buffer::WriteBuffer,
    },
    telemetry::stats::{Limit, Stats},
};

/// After a failed accept (out of file descriptors, say), the time until the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often an HTTP/2 peer is asked whether it is still there, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest request head, in bytes; the HTTP parser answers 431 beyond.
const MAX_HEAD: usize = 64 * 1024;

/// How a listener serves.
#[derive(Clone, Debug)]
pub struct Server {
    /// Counts what the limits refuse.
    pub stats: Arc<Stats>,
    /// Connections beyond this many wait to be accepted.
    pub max_connections: usize,
    /// For a request's head to arrive.
    pub header_timeout: Duration,
    /// Stops accepting, and lets each connection end after its request.
    pub stop: CancellationToken,
    /// The connections that run.
    pub tasks: TaskTracker,
}

/// What a connection has been heard of.
#[derive(Debug, Default)]
struct Activity {
    /// Requests that came, and over HTTP/2 answers that went.
    beats: AtomicUsize,
    running: AtomicUsize,
    is_http2: AtomicBool,
}

/// What a while without anything means.
enum Quiet {
    /// There was something.
    Broken,
    /// No request has come since the last answer had gone.
    Idle,
    /// No request has come at all.
    Mute,
}

impl Activity {
    /// One more request; over HTTP/2, it runs until what this gives is dropped.
    fn beat(self: &Arc<Self>, version: Version) -> Option<ActiveRequest> {
        self.beats.fetch_add(1, Ordering::Relaxed);
        (version == Version::HTTP_2).then(|| {
            self.is_http2.store(true, Ordering::Relaxed);
            self.running.fetch_add(1, Ordering::Relaxed);
            ActiveRequest(Arc::clone(self))
        })
    }

    /// Whether its silence is watched here.
    fn is_watched(&self) -> bool {
        self.beats.load(Ordering::Relaxed) == 0 || self.is_http2.load(Ordering::Relaxed)
    }

    /// What a while was in which no more was heard than `heard`.
    fn since(&self, heard: &mut usize) -> Quiet {
        let beats = self.beats.load(Ordering::Relaxed);
        match std::mem::replace(heard, beats) {
            _ if beats == 0 => Quiet::Mute,
            before if before == beats && self.running.load(Ordering::Relaxed) == 0 => Quiet::Idle,
            _ => Quiet::Broken,
        }
    }
}

/// A request that runs, to the end of its answer.
#[derive(Debug)]
struct ActiveRequest(Arc<Activity>);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.beats.fetch_add(1, Ordering::Relaxed);
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells, once dropped, that an answer has been made.
#[derive(Debug)]
struct Answered(Arc<Connection>);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.half_close.answered();
    }
}

/// What lasts as long as the body of an answer.
#[derive(Debug)]
struct AnswerGuard {
    _beat: Option<ActiveRequest>,
    _answered: Option<Answered>,
}

impl BodyGuard for AnswerGuard {}

impl Server {
    /// Serves `listener` with `handle` until it is stopped.
    pub async fn run<H, F, B, E>(self, listener: TcpListener, handle: H)
    where
        H: Fn(Request<ClientBody>, Arc<Connection>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let permits = Arc::new(Semaphore::new(self.max_connections));
        let crowd = Arc::new(HeapTrim::default());
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = self.accept(&listener, &permits) => accepted,
            };
            match accepted {
                Ok((stream, peer, permit)) => {
                    let connection = self.clone().connection(stream, peer, permit, handle.clone());
                    let member = crowd.join();
                    self.tasks.spawn(async move {
                        let _member = member;
                        connection.await;
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    async fn accept(
        &self,
        listener: &TcpListener,
        permits: &Arc<Semaphore>,
    ) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        if permits.available_permits() == 0 {
            self.stats.limited(Limit::MaxConnections);
        }
        let permit = Arc::clone(permits).acquire_owned().await.map_err(std::io::Error::other)?;
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer, permit))
    }

    async fn connection<H, F, B, E>(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
        handle: H,
    ) where
        H: Fn(Request<ClientBody>, Arc<Connection>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        // Small writes, such as the events of a stream, must not wait for each other.
        let _ = stream.set_nodelay(true);
        // Its own, so that connections do not wait for each other to look at it.
        let stop = self.stop.child_token();
        let (pulse, place) = (Arc::new(Activity::default()), ConnectionSlot(Arc::new(permit)));
        let caller = Arc::new(Connection::new(peer.ip()));
        let service = {
            let (pulse, place, caller) = (Arc::clone(&pulse), place.clone(), Arc::clone(&caller));
            service_fn(move |mut request: Request<Incoming>| {
                let beat = pulse.beat(request.version());
                // An upgraded connection goes on when this one has ended.
                if request.headers().contains_key(header::UPGRADE) {
                    request.extensions_mut().insert(place.clone());
                }
                // Over HTTP/2 each request has an end of its own.
                let answered = beat.is_none().then(|| Answered(Arc::clone(&caller)));
                if answered.is_some() {
                    caller.half_close.begin();
                }
                let request = request.map(|body| ClientBody::new(body, Arc::clone(&caller)));
                handle(request, Arc::clone(&caller)).map(|answer| {
                    let guard = AnswerGuard { _beat: beat, _answered: answered };
                    answer.map(|response| response.map(|body| Guarded::new(body, guard)))
                })
            })
        };
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(ServerTimer::default())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(MAX_HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEAD as u32)
            // A peer that is gone without a word holds its place no longer than this.
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        let stream = Lingering::new(WriteBuffer(stream), Arc::clone(&caller));
        let io = TokioIo::new(Held { stream, of: caller });
        let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
        // The parser's own timeout begins once it knows the protocol, and is HTTP/1's alone; else this one runs.
        let mut silence = pin!(tokio::time::sleep(self.header_timeout));
        let promptly = Repoll::default();
        let mut stopping = false;
        let mut heard = 0;
        loop {
            tokio::select! {
                biased;
                ended = poll_fn(|cx| promptly.poll(connection.as_mut(), cx)) => {
                    // Over HTTP/2, it is a peer that did not answer a ping.
                    let is_http1 = !pulse.is_http2.load(Ordering::Relaxed);
                    if is_http1 && ended.is_err_and(|error| is_timeout(&*error)) {
                        self.stats.limited(Limit::HeaderTimeout);
                    }
                    return;
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = silence.as_mut(), if pulse.is_watched() => {
                    silence.as_mut().reset(Instant::now() + self.header_timeout);
                    match pulse.since(&mut heard) {
                        Quiet::Broken => {}
                        Quiet::Idle if stopping => {}
                        // What still goes to the client goes on to its end.
                        Quiet::Idle => {
                            stopping = true;
                            connection.as_mut().graceful_shutdown();
                        }
                        Quiet::Mute => {
                            self.stats.limited(Limit::HeaderTimeout);
                            return;
                        }
                    }
                }
            }
        }
    }
}

fn is_timeout(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout)
}
