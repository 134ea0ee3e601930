//! The upstream: answers as each request asks it to, at once or paced, and records its calls.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    task::{Context, Poll, ready},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, time::Sleep};

/// Where the clock of all stamps begins; it never goes back, and all threads share it.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds on the clock of all stamps.
pub fn now() -> u64 {
    u64::try_from(EPOCH.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// What an answer is to be like; members of the question's body, so that they are in its key.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Plan {
    /// The name under which its calls are remembered; none, and they are not.
    pub mark: String,
    /// Events instead of one JSON text.
    pub stream: bool,
    /// How many.
    pub events: u32,
    /// The time between two of them; the first comes with the head.
    pub gap_ms: u64,
    /// The time before the head.
    pub delay_ms: u64,
    /// `Cache-Control: no-store`.
    pub no_store: bool,
}

impl Plan {
    /// A question that asks for this answer; `text` tells it from others.
    pub fn question(&self, text: &str) -> String {
        let plan = serde_json::to_string(self).expect("a plan is JSON");
        let members = plan.trim_start_matches('{');
        format!(r#"{{"model":"bench","messages":[{{"role":"user","content":"{text}"}}],{members}"#)
    }

    /// The path of a `GET` for this answer.
    pub fn path(&self) -> String {
        let plan = serde_json::to_vec(self).expect("a plan is JSON");
        plan.iter().fold("/plan/".to_owned(), |path, byte| path + &format!("{byte:02x}"))
    }

    fn of_path(path: &str) -> Option<Self> {
        let hex = path.strip_prefix("/plan/")?;
        let byte = |at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
        let json: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
        serde_json::from_slice(&json?).ok()
    }
}

/// A call, on the clock of [`now`].
#[derive(Clone, Debug)]
pub struct Call {
    mark: String,
    /// When its question had been read.
    pub asked: u64,
    /// When its answer's head was made; 0 before.
    pub answered: u64,
}

/// The running service; its thread ends with the process.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its port, on 127.0.0.1.
    pub port: u16,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Upstream {
    /// Starts one, on a thread of its own.
    pub fn start() -> Self {
        LazyLock::force(&EPOCH);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let port = listener.local_addr().expect("its address").port();
        let upstream = Self { port, calls: Arc::default() };
        let service = upstream.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(service.serve(listener));
        });
        upstream
    }

    async fn serve(self, listener: std::net::TcpListener) {
        let listener = TcpListener::from_std(listener).expect("a listener");
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            let this = self.clone();
            let service = service_fn(move |request| this.clone().answer(request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    }

    /// The calls under `mark`, in the order in which they came.
    pub fn calls(&self, mark: &str) -> Vec<Call> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter(|call| call.mark == mark).cloned().collect()
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
        let by_path = Plan::of_path(request.uri().path());
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let plan = by_path.or_else(|| serde_json::from_slice(&body).ok()).unwrap_or_default();
        let place = self.note(&plan);
        if plan.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(plan.delay_ms)).await;
        }
        if let Some(place) = place {
            self.calls.lock().unwrap_or_else(PoisonError::into_inner)[place].answered = now();
        }
        let media = if plan.stream { "text/event-stream" } else { "application/json" };
        let mut response = Response::builder().header("content-type", media);
        if plan.no_store {
            response = response.header("cache-control", "no-store");
        }
        let body = if plan.stream { Answer::Events(Events::new(&plan)) } else { Answer::Text(Some(text())) };
        Ok(response.body(body).expect("a response"))
    }

    fn note(&self, plan: &Plan) -> Option<usize> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        (!plan.mark.is_empty()).then(|| {
            calls.push(Call { mark: plan.mark.clone(), asked: now(), answered: 0 });
            calls.len() - 1
        })
    }
}

/// A chat completion of about 1 KiB.
fn text() -> Bytes {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| {
        let content = "The store keeps an answer until its time is up. ".repeat(16);
        let message = format!(r#"{{"role":"assistant","content":"{content}"}}"#);
        let usage = r#"{"prompt_tokens":64,"completion_tokens":176,"total_tokens":240}"#;
        Bytes::from(format!(
            r#"{{"id":"chatcmpl-bench","object":"chat.completion","created":1738406400,"model":"bench","choices":[{{"index":0,"message":{message},"finish_reason":"stop"}}],"usage":{usage}}}"#
        ))
    });
    TEXT.clone()
}

/// The stamps of the events in `body`: when each was sent, on the clock of [`now`].
pub fn stamps(body: &[u8]) -> impl Iterator<Item = u64> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let stamps = text.split(r#""content":"#).skip(1).filter_map(|rest| rest.get(1..21));
    stamps.filter_map(|stamp| stamp.parse().ok())
}

/// The body of an answer.
enum Answer {
    Text(Option<Bytes>),
    Events(Events),
}

/// Events at their times, the end with the last of them.
struct Events {
    begun: tokio::time::Instant,
    gap: Duration,
    sent: u32,
    count: u32,
    wait: Pin<Box<Sleep>>,
}

impl Events {
    fn new(plan: &Plan) -> Self {
        let begun = tokio::time::Instant::now();
        let gap = Duration::from_millis(plan.gap_ms);
        Self { begun, gap, sent: 0, count: plan.events, wait: Box::pin(tokio::time::sleep(Duration::ZERO)) }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.sent == self.count {
            return Poll::Ready(None);
        }
        if self.sent > 0 && !self.gap.is_zero() {
            ready!(self.wait.as_mut().poll(cx));
        }
        self.sent += 1;
        self.wait.as_mut().reset(self.begun + self.gap * self.sent);
        let mut event = chunk(&format!(r#"{{"content":"{:020} "}}"#, now()), "null");
        if self.sent == self.count {
            event = event + &chunk("{}", r#""stop""#) + "data: [DONE]\n\n";
        }
        Poll::Ready(Some(event.into()))
    }
}

fn chunk(delta: &str, finish: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1738406400,\"model\":\"bench\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let polled = match &mut *self {
            Self::Text(text) => Poll::Ready(text.take()),
            Self::Events(events) => events.poll(cx),
        };
        polled.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
