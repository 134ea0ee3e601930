//! One connection: its requests one after the other, and its end.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::time::Instant;

use super::{
    Server,
    half_close::HalfCloseIo,
    idle::{Activity, AnswerGuard, ResponseGuard, Silence},
    lingering_close::LingeringIo,
    stream::Stream,
    write_buffer::WriteBuffer,
};
use crate::{
    http::{forwarded::Peer, guarded::Guarded},
    request::{
        client_body::ClientBody,
        connection::{Connection, ConnectionSlot},
    },
    telemetry::stats::Limit,
};

/// An HTTP/2 peer gets a ping this often, and has this long to answer it.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest request head, in bytes. The HTTP parser answers a larger one with 431.
const MAX_HEAD: usize = 64 * 1024;

impl Server {
    /// Serves one connection to its end.
    pub(super) async fn connection<H, F, B, E>(
        self,
        stream: Stream,
        peer: Peer,
        slot: ConnectionSlot,
        handle: H,
    ) where
        H: Fn(Request<ClientBody>, Arc<Connection>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        // A token of its own: connections that look at one token wait for each other.
        let stop = self.stop.child_token();
        let activity = Arc::new(Activity::default());
        let caller = Arc::new(Connection::new(peer));
        let service = {
            let activity = Arc::clone(&activity);
            let caller = Arc::clone(&caller);
            let is_leaving = Arc::clone(&self.is_leaving);
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
                let closes = active.is_none() && is_leaving.load(Ordering::Relaxed);
                handle(request, Arc::clone(&caller)).map(move |answer| {
                    let guard = ResponseGuard { _active: active, _answered: answered };
                    answer.map(|mut response| {
                        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                            connection.half_close.never_linger();
                        } else if closes {
                            let close = HeaderValue::from_static("close");
                            response.headers_mut().insert(header::CONNECTION, close);
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
        let mut farewell = pin!(tokio::time::sleep(self.farewell));
        let mut is_last_chance = false;
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
                    farewell.as_mut().reset(Instant::now() + self.farewell);
                    is_last_chance = true;
                }
                () = farewell.as_mut(), if is_last_chance => {
                    is_last_chance = false;
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
