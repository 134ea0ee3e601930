//! A scripted upstream: its own small HTTP/1.1 over a socket, so that it can misbehave.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::script::{Gate, Script, Step};

/// A request as it came over the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case, in their order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The values of a header, all lines.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a header that may be there once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} is there more than once: {values:?}");
        values.first().copied()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// An upstream on a port of its own, until it is dropped.
pub(crate) struct Upstream {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Upstream {
    /// An upstream that answers each request with a script.
    pub(crate) async fn start(answer: impl Fn(&Received) -> Script + Send + Sync + 'static) -> Self {
        Self::answering(true, answer).await
    }

    /// Like [`Self::start`], but requests with `slow` in their bodies are answered once the gate is open.
    pub(crate) async fn slow(
        gate: &Gate,
        answer: impl Fn(&Received) -> Script + Send + Sync + 'static,
    ) -> Self {
        let gate = gate.clone();
        Self::start(move |request| {
            let is_slow = String::from_utf8_lossy(&request.body).contains("slow");
            let mut script = if is_slow { Script::raw().wait(&gate) } else { Script::raw() };
            script.steps.extend(answer(request).steps);
            script
        })
        .await
    }

    /// Like [`Self::start`], but without recording the requests: for tests with very many.
    pub(crate) async fn forgetful(answer: impl Fn(&Received) -> Script + Send + Sync + 'static) -> Self {
        Self::answering(false, answer).await
    }

    async fn answering(records: bool, answer: impl Fn(&Received) -> Script + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::serve(move |mut conn| {
            let answer = Arc::clone(&answer);
            async move {
                while let Some(request) = conn.request().await {
                    if records {
                        conn.record(&request);
                    }
                    if !conn.play(answer(&request)).await {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// An upstream that answers every request with the same script.
    pub(crate) async fn always(script: Script) -> Self {
        Self::start(move |_| script.clone()).await
    }

    /// Like [`Self::always`], at this address.
    pub(crate) async fn always_at(address: SocketAddr, script: Script) -> Self {
        let script = Arc::new(script);
        Self::serve_at(address, move |mut conn| {
            let script = Arc::clone(&script);
            async move {
                while let Some(request) = conn.request().await {
                    conn.record(&request);
                    if !conn.play(Script::clone(&script)).await {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// An upstream that answers the first request with the first script, and so on, and the rest with the
    /// last.
    pub(crate) async fn in_turn(scripts: Vec<Script>) -> Self {
        let turn = Mutex::new(0);
        Self::start(move |_| {
            let mut turn = turn.lock().unwrap();
            let script = scripts[(*turn).min(scripts.len() - 1)].clone();
            *turn += 1;
            script
        })
        .await
    }

    /// An upstream that handles each connection with `handle`.
    pub(crate) async fn serve<F>(handle: impl Fn(Conn) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::serve_at(SocketAddr::from(([127, 0, 0, 1], 0)), handle).await
    }

    /// Like [`Self::serve`], at this address.
    async fn serve_at<F>(address: SocketAddr, handle: impl Fn(Conn) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("an open socket");
                let conn = Conn { stream, buffer: Vec::new(), requests: Arc::clone(&recorded) };
                tokio::spawn(handle(conn));
            }
        });
        Self { address, requests, task }
    }

    /// An upstream that gives each connection to `handle`, which returns it once it has nothing more to send. The gate
    /// opens when the other side closes such a connection without a further byte.
    pub(crate) async fn until_closed<F>(handle: impl Fn(Conn) -> F + Send + Sync + 'static) -> (Self, Gate)
    where
        F: Future<Output = Option<Conn>> + Send + 'static,
    {
        let gate = Gate::new();
        let closed = gate.clone();
        let upstream = Self::serve(move |conn| {
            let (handled, closed) = (handle(conn), closed.clone());
            async move {
                let Some(mut conn) = handled.await else { return };
                if conn.some().await.is_empty() {
                    closed.open();
                }
            }
        });
        (upstream.await, gate)
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.requests.lock().unwrap().clone()
    }

    /// How many there were.
    pub(crate) fn calls(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// The last of them.
    pub(crate) fn last(&self) -> Received {
        self.requests().pop().expect("a request")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection to the upstream.
pub(crate) struct Conn {
    stream: TcpStream,
    /// What was read and not used yet.
    buffer: Vec<u8>,
    requests: Arc<Mutex<Vec<Received>>>,
}

impl Conn {
    /// Reads a request with its body; none if the connection ends before.
    pub(crate) async fn request(&mut self) -> Option<Received> {
        let mut request = self.head().await?;
        request.body = self.body(&request).await;
        Some(request)
    }

    /// Reads a request's head; none if the connection ends before.
    pub(crate) async fn head(&mut self) -> Option<Received> {
        let head = self.until(b"\r\n\r\n").await?;
        let text = String::from_utf8_lossy(&head);
        let mut lines = text.trim_end().split("\r\n");
        let mut first = lines.next()?.split(' ');
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Received {
            method: first.next()?.to_owned(),
            target: first.next()?.to_owned(),
            headers,
            body: Vec::new(),
        })
    }

    /// Reads the body that `head` announces, as far as it comes.
    pub(crate) async fn body(&mut self, head: &Received) -> Vec<u8> {
        if head.header("transfer-encoding").is_some() {
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk().await.filter(|chunk| !chunk.is_empty()) {
                body.extend_from_slice(&chunk);
            }
            return body;
        }
        let length = head.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        while self.buffer.len() < length && self.fill().await {}
        self.take(length)
    }

    /// Reads one chunk of a chunked body; the last one is empty.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.until(b"\r\n").await?;
        let length = usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim(), 16).ok()?;
        while self.buffer.len() < length + 2 {
            if !self.fill().await {
                return None;
            }
        }
        let chunk = self.take(length);
        self.take(2);
        Some(chunk)
    }

    /// Reads whatever comes next; nothing where the connection ends.
    pub(crate) async fn some(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            self.fill().await;
        }
        std::mem::take(&mut self.buffer)
    }

    /// Reads and discards everything until the other side closes.
    pub(crate) async fn drain(&mut self) {
        while !self.some().await.is_empty() {}
    }

    /// Writes exactly these bytes; false if the connection is closed.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Closes this half of the connection.
    pub(crate) async fn close_half(&mut self) {
        // Its peer may be gone.
        let _ = self.stream.shutdown().await;
    }

    /// Records a request for the test.
    pub(crate) fn record(&self, request: &Received) {
        self.requests.lock().unwrap().push(request.clone());
    }

    /// Carries out a script; false where the connection is over.
    pub(crate) async fn play(&mut self, script: Script) -> bool {
        for step in script.steps {
            match step {
                Step::Send(bytes) if self.send(&bytes).await => {}
                Step::Wait(gate) => gate.passed().await,
                Step::Open(gate) => gate.open(),
                Step::Hang => std::future::pending().await,
                Step::Reset => {
                    self.stream.set_zero_linger().expect("an open socket");
                    return false;
                }
                Step::Send(_) | Step::Close => return false,
            }
        }
        true
    }

    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Some(self.take(at + end.len()));
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(length.min(self.buffer.len()));
        std::mem::replace(&mut self.buffer, rest)
    }

    async fn fill(&mut self) -> bool {
        self.stream.read_buf(&mut self.buffer).await.is_ok_and(|count| count > 0)
    }
}
