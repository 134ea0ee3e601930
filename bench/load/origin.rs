//! The service, and a bare hyper server, each as a process of its own: this program with another argument.

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    process::Command,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Handle},
};

use support::{client::Client, http::get, process::Listening};

use crate::numbered_request;

/// Stands before the port in the command line of such a process.
const SERVICE: &str = "--service";
const HELLO: &str = "--hello";
const SAME: &str = "--same";

/// Where the service tells how often it was asked.
const CALLS: &str = "/calls";

/// How long an answer's JSON is.
pub(crate) const ANSWER_LEN: usize = 1024;

/// A stream's events.
const EVENTS: usize = 20;

/// The service behind: it answers each question at once, with what names it.
#[derive(Debug)]
pub(crate) struct Service(Listening);

impl Service {
    /// Starts it.
    pub(crate) fn start() -> Self {
        Self(this_program(SERVICE))
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.0.port
    }

    /// How many questions it has answered.
    pub(crate) fn calls(&self) -> u64 {
        let (response, _) = Client::connect(self.0.port).ask(&get(CALLS));
        String::from_utf8_lossy(&response.body).parse().expect("a number of calls")
    }
}

/// Starts a bare hyper server, which reads what it is sent and says hello.
pub(crate) fn hello() -> Listening {
    this_program(HELLO)
}

/// Starts a bare hyper server whose answer is as long as a hit's and has as many headers.
pub(crate) fn same_answer() -> Listening {
    this_program(SAME)
}

fn this_program(role: &str) -> Listening {
    Listening::start(role, |port| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args([role, &port.to_string()]);
        command
    })
}

/// Is the process that [`Service::start`] or [`hello`] started; returns where this is none.
pub(crate) fn run_if_asked() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, role, port] = &arguments[..] else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let port = || port.parse().expect("a port");
    match role.as_str() {
        SERVICE => runtime.block_on(serve(port())),
        HELLO => runtime.block_on(serve_on_each_core(port(), greeting)),
        SAME => runtime.block_on(serve_on_each_core(port(), like_a_hit)),
        _ => {}
    }
}

/// Serves until it is killed.
async fn serve(port: u16) {
    let calls = Arc::new(AtomicU64::new(0));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("a free port");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let calls = Arc::clone(&calls);
        let service = service_fn(move |request| {
            let answer = answer(Arc::clone(&calls), request);
            async { Ok::<_, Infallible>(answer.await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// Serves as sidecache does: one listener accepts, and a runtime on each core serves the connections that it gets.
async fn serve_on_each_core(port: u16, respond: fn() -> Response<Full<Bytes>>) {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let runtimes: Vec<Handle> = (0..workers)
        .map(|_| {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            let handle = runtime.handle().clone();
            thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
            handle
        })
        .collect();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("a free port");
    for worker in (0..workers).cycle() {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let Ok(stream) = stream.into_std() else { continue };
        runtimes[worker].spawn(async move {
            let stream = TcpStream::from_std(stream).expect("a socket");
            let service = service_fn(move |request| async move {
                read(request).await;
                Ok::<_, Infallible>(respond())
            });
            // A limit on the time of a head, as sidecache has.
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn read(request: Request<Incoming>) {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
}

fn greeting() -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from_static(b"hello")))
}

fn like_a_hit() -> Response<Full<Bytes>> {
    static BODY: LazyLock<Bytes> = LazyLock::new(|| json("1").into());
    let mut response = Response::new(Full::new(BODY.clone()));
    let values =
        ["application/json", "HIT", "query", "sidecache; hit; ttl=1800", "7", "1800", "0.0001", "4f1c2d3e"];
    let names =
        ["content-type", "x-a", "x-b", "cache-status", "age", "x-c", "x-process-time", "x-request-id"];
    for (name, value) in names.into_iter().zip(values) {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn answer(
    calls: Arc<AtomicU64>,
    request: Request<Incoming>,
) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if path == CALLS {
        return Response::new(Full::from(calls.load(Ordering::Relaxed).to_string()).boxed_unsync());
    }
    calls.fetch_add(1, Ordering::Relaxed);
    let mark =
        numbered_request::mark(&body).or_else(|| numbered_request::mark(path.as_bytes())).unwrap_or_default();
    let mark = String::from_utf8_lossy(mark);
    let is_stream = memchr::memmem::find(&body[..body.len().min(100)], br#""stream":true"#).is_some();
    let (media, body) = if is_stream {
        ("text/event-stream", StreamBody::new(events(&mark)).boxed_unsync())
    } else {
        ("application/json", Full::from(json(&mark)).boxed_unsync())
    };
    Response::builder().header("content-type", media).body(body).expect("a response")
}

fn json(mark: &str) -> String {
    let begin = format!(
        r#"{{"id":"chatcmpl-{mark}","object":"chat.completion","created":1738406400,"model":"bench","choices":[{{"index":0,"message":{{"role":"assistant","content":""#
    );
    let end = r#""},"finish_reason":"stop"}],"usage":{"prompt_tokens":64,"completion_tokens":176,"total_tokens":240}}"#;
    let room = ANSWER_LEN - begin.len() - end.len();
    let content = "An answer is kept until its time is up. ".repeat(room / 40 + 1);
    format!("{begin}{}{end}", &content[..room])
}

fn events(mark: &str) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + use<> {
    let event = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-{mark}\",\"object\":\"chat.completion.chunk\",\"created\":1738406400,\"model\":\"bench\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let mut events = vec![event(r#"{"content":"Kept. "}"#, "null"); EVENTS];
    events.push(event("{}", r#""stop""#) + "data: [DONE]\n\n");
    futures_util::stream::iter(events.into_iter().map(|event| Ok(Frame::data(Bytes::from(event)))))
}
