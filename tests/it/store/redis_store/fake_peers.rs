//! Fake peers: a forwarder in front of a server, and a scripted server.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// An address that forwards to a server, and can forward elsewhere later. Old connections stay where they
/// are, until [`Self::swallow`]: then they stay open, and nothing passes any more.
pub(super) struct Forwarder {
    port: u16,
    /// 0: nowhere.
    target: Arc<AtomicU16>,
    swallowed: tokio::sync::watch::Sender<u64>,
}

impl Forwarder {
    pub(super) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let target = Arc::new(AtomicU16::new(target));
        let swallowed = tokio::sync::watch::Sender::new(0);
        let (now, signal) = (Arc::clone(&target), swallowed.clone());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let port = now.load(Ordering::Relaxed);
                let mut signal = signal.subscribe();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = forward(&client, port) => {}
                        _ = signal.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { port, target, swallowed }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where new connections lead from now on.
    pub(super) fn lead_to(&self, port: u16) {
        self.target.store(port, Ordering::Relaxed);
    }

    /// Lets nothing pass any more, on old connections and new.
    pub(super) fn swallow(&self) {
        self.target.store(0, Ordering::Relaxed);
        self.swallowed.send_modify(|count| *count += 1);
    }
}

/// Passes bytes both ways until either side closes.
pub(super) async fn forward(client: &TcpStream, port: u16) -> io::Result<()> {
    if port == 0 {
        return std::future::pending().await;
    }
    let server = TcpStream::connect(("127.0.0.1", port)).await?;
    tokio::select! {
        done = pass(client, &server) => done,
        done = pass(&server, client) => done,
    }
}

pub(super) async fn pass(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        from.readable().await?;
        let mut rest = match from.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => &buffer[..count],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        while !rest.is_empty() {
            to.writable().await?;
            match to.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The URL of a server that replies to each command with `reply`.
pub(super) async fn fake(reply: impl Fn(&[String]) -> Vec<u8> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    let reply = Arc::new(reply);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let reply = Arc::clone(&reply);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                while let Ok(command) = read_command(&mut stream).await {
                    if stream.write_all(&reply(&command)).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

pub(super) async fn read_command(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<String>> {
    let mut command = Vec::new();
    for _ in 0..read_length(stream).await? {
        let mut part = vec![0; read_length(stream).await? + 2];
        stream.read_exact(&mut part).await?;
        part.truncate(part.len() - 2);
        command.push(String::from_utf8_lossy(&part).into_owned());
    }
    Ok(command)
}

pub(super) async fn read_length(stream: &mut BufReader<TcpStream>) -> io::Result<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    line.trim_end().get(1..).and_then(|number| number.parse().ok()).ok_or(io::ErrorKind::InvalidData.into())
}
