//! A server of vectors that does what a test says.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::super::identity::{CONTRAST, PROBE};

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// A 200 with the vector that [`vector_of`] makes of the text, in so many dimensions.
    Vector(usize),
    /// A vector for each text, of another model.
    Other(usize),
    /// The same vector for every text.
    Same(usize),
    /// A 200 with this body.
    Body(&'static str),
    /// This response as it is; `TEXT` becomes the question.
    Raw(&'static str),
    /// Nothing, as long as the client stays.
    Hang,
    /// A head, and then a byte now and then.
    Drip,
    /// A body that does not end.
    Endless,
    /// The connection ends.
    Close,
    /// What comes once the test has passed on the gate.
    Wait,
}

#[derive(Debug)]
struct Shared {
    reply: Mutex<Reply>,
    /// The heads of all requests but the probe's.
    heads: Mutex<Vec<String>>,
    connections: AtomicUsize,
    sent: AtomicUsize,
    gate: tokio::sync::Semaphore,
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            reply: Mutex::new(reply),
            heads: Mutex::default(),
            connections: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            gate: tokio::sync::Semaphore::new(0),
        });
        let task = {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    shared.connections.fetch_add(1, Ordering::Relaxed);
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move { shared.serve(stream).await });
                }
            })
        };
        Self { address, shared, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/v1/embeddings?key=sesame", self.address)
    }

    pub(super) fn replies(&self, reply: Reply) {
        *self.shared.reply.lock() = reply;
    }

    /// How many texts were asked for, besides the probe.
    pub(super) fn asked(&self) -> usize {
        self.shared.heads.lock().len()
    }

    pub(super) fn last_head(&self) -> String {
        self.shared.heads.lock().last().cloned().unwrap_or_default()
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// The bytes of endless bodies that were taken.
    pub(super) fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Lets so many of those go on that wait.
    pub(super) fn open_gate(&self, count: usize) {
        self.shared.gate.add_permits(count);
    }
}

impl Shared {
    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut received = Vec::new();
        loop {
            let (head, text) = self.request(&mut stream, &mut received).await?;
            if ![PROBE, CONTRAST].contains(&&*text) {
                self.heads.lock().push(head);
            }
            let reply = self.reply.lock().clone();
            match reply {
                Reply::Vector(dimension) => answer(&mut stream, &vector_of(&text, dimension)).await?,
                Reply::Other(dimension) => answer(&mut stream, &vector_of(&other(&text), dimension)).await?,
                Reply::Same(dimension) => answer(&mut stream, &vector_of("", dimension)).await?,
                Reply::Body(body) => {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(head.as_bytes()).await.ok()?;
                }
                Reply::Raw(response) => {
                    stream.write_all(response.replace("TEXT", &text).as_bytes()).await.ok()?;
                    return None;
                }
                Reply::Hang => {
                    let _ = stream.read(&mut [0; 1]).await;
                    return None;
                }
                Reply::Drip => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{").await.ok()?;
                    loop {
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                        stream.write_all(b" ").await.ok()?;
                    }
                }
                Reply::Endless => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 500000000\r\n\r\n").await.ok()?;
                    for _ in 0..500_000_000 / 10_000 {
                        stream.write_all(&[b' '; 10_000]).await.ok()?;
                        self.sent.fetch_add(10_000, Ordering::Relaxed);
                    }
                }
                Reply::Close => return None,
                Reply::Wait => {
                    self.gate.acquire().await.ok()?.forget();
                    answer(&mut stream, &vector_of(&text, 8)).await?;
                }
            }
        }
    }

    /// The head of the next request, and its text.
    async fn request(&self, stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<(String, String)> {
        loop {
            let text = String::from_utf8_lossy(received).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
                })?;
                if body.len() >= length {
                    let sent: Value = serde_json::from_str(&body[..length]).ok()?;
                    assert_eq!(sent["model"], "m");
                    received.drain(..head.len() + 4 + length);
                    return Some((head.to_owned(), sent["input"][0].as_str()?.to_owned()));
                }
            }
            if stream.read_buf(received).await.ok()? == 0 {
                return None;
            }
        }
    }
}

async fn answer(stream: &mut TcpStream, vector: &[f32]) -> Option<()> {
    let body = json!({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": vector}]})
        .to_string();
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(response.as_bytes()).await.ok()
}

/// What has the vector that another model gives this text.
pub(super) fn other(text: &str) -> String {
    format!("{text}, of another model")
}

/// A vector that only this text has.
pub(super) fn vector_of(text: &str, dimension: usize) -> Vec<f32> {
    let mut bytes = vec![0; dimension];
    blake3::Hasher::new().update(text.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into_iter().map(|byte| f32::from(byte) - 127.5).collect()
}
