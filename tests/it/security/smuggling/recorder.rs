//! An upstream that notes every byte of every connection.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::strict_parser::{Read, read};
use crate::support::{eventually, samples::chat_choice};

/// Names the case that a request belongs to.
const CASE: &str = "x-case: ";

/// What came over one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    pub(crate) bytes: Vec<u8>,
    is_over: bool,
}

impl Connection {
    /// The name of its case; empty if the request has none.
    pub(crate) fn case(&self) -> String {
        case(&self.bytes)
    }

    /// The bytes as text, for reports.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

fn case(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    head.split("\r\n").find_map(|line| line.strip_prefix(CASE)).unwrap_or_default().to_owned()
}

/// The upstream, until it is dropped. It answers the first request of each connection with the case's name
/// and `Connection: close`, and closes when the other side does.
pub(crate) struct Recorder {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Connection>>>,
    task: JoinHandle<()>,
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::<Mutex<Vec<Connection>>>::default();
        let recorded = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let number = {
                    let mut all = recorded.lock().unwrap();
                    all.push(Connection::default());
                    all.len() - 1
                };
                let recorded = Arc::clone(&recorded);
                tokio::spawn(async move {
                    record(stream, |bytes| recorded.lock().unwrap()[number].bytes.extend_from_slice(bytes))
                        .await;
                    recorded.lock().unwrap()[number].is_over = true;
                });
            }
        });
        Self { address, connections, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every connection so far, once all of them are over.
    pub(crate) async fn connections(&self) -> Vec<Connection> {
        eventually("every connection's end", async || {
            let all = self.connections.lock().unwrap();
            all.iter().all(|connection| connection.is_over).then(|| all.clone())
        })
        .await
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn record(mut stream: TcpStream, note: impl Fn(&[u8])) {
    let (mut all, mut answered) = (Vec::new(), false);
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        all.extend_from_slice(&buffer[..count]);
        note(&buffer[..count]);
        if !answered && read(&all) != Read::Part {
            answered = true;
            // The client may be gone.
            let _ = stream.write_all(answer(&case(&all)).as_bytes()).await;
        }
    }
}

fn answer(case: &str) -> String {
    let body =
        chat_choice(json!({"role": "assistant", "content": format!("about {case}.")}), "stop").to_string();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
