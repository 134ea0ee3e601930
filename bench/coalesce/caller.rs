//! One of many clients.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use support::{http::Response, upstream::now};

/// A client that waits longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a client got.
#[derive(Debug, Default)]
pub(crate) struct Got {
    /// When it sent its request, on the clock of the upstream's stamps; 0 where it could not.
    pub(crate) asked: u64,
    /// When the first byte of the body came.
    pub(crate) first: Option<u64>,
    /// What came.
    pub(crate) response: Response,
    /// Whether it waited until its patience ended.
    pub(crate) hung: bool,
}

impl Got {
    /// From the request to the first byte of the body.
    pub(crate) fn waited(&self) -> Option<Duration> {
        self.first.map(|first| Duration::from_nanos(first.saturating_sub(self.asked)))
    }

    /// Whether all of a good answer came.
    pub(crate) fn whole(&self) -> bool {
        self.response.whole && self.response.status() == 200
    }
}

/// Connects to `port`, and tries again for a while where the system has no room.
pub(crate) async fn connect(port: u16) -> TcpStream {
    for _ in 0..200 {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await {
            let _ = stream.set_nodelay(true);
            return stream;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no connection to port {port}");
}

/// Asks on a connection of its own.
pub(crate) async fn call(port: u16, request: Vec<u8>) -> Got {
    ask(connect(port).await, &request, PATIENCE).await
}

/// Asks on `stream`, and leaves after `patience`.
pub(crate) async fn ask(mut stream: TcpStream, request: &[u8], patience: Duration) -> Got {
    let deadline = Instant::now() + patience;
    let mut got = Got { asked: now(), ..Got::default() };
    if stream.write_all(request).await.is_err() {
        return Got::default();
    }
    let mut buffer = [0; 4096];
    while !got.response.whole {
        match timeout_at(deadline, stream.read(&mut buffer)).await {
            Ok(Ok(len)) if len > 0 => got.response.feed(&buffer[..len]),
            Ok(_) => return got,
            Err(_) => {
                got.hung = true;
                return got;
            }
        }
        if got.first.is_none() && !got.response.body.is_empty() {
            got.first = Some(now());
        }
    }
    got
}
