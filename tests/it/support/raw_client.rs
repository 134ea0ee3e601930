//! A client that writes literal bytes, and sees the bytes that come back.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::soon;

/// The bytes of a `POST` with a JSON body, and with these header lines.
pub(crate) fn post(target: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{lines}content-length: {length}\r\n\r\n{body}"
    )
}

/// A bare connection.
pub(crate) struct RawClient {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl RawClient {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("an open socket");
        Self { stream, buffer: Vec::new() }
    }

    /// Writes exactly these bytes. If the server has closed already, reading shows it.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = soon("room to write", self.stream.write_all(bytes.as_ref())).await;
    }

    /// Writes all of these bytes before anything is read.
    ///
    /// # Errors
    /// Where the server does not take them all.
    pub(crate) async fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        soon("room to write", self.stream.write_all(bytes)).await
    }

    /// Reads until the server closes, and gives everything.
    ///
    /// # Errors
    /// If the connection ends otherwise, for example by a reset.
    pub(crate) async fn rest_or_error(mut self) -> io::Result<String> {
        while soon("the connection's end", self.stream.read_buf(&mut self.buffer)).await? > 0 {}
        Ok(String::from_utf8(self.buffer).expect("text"))
    }

    /// Reads until `end` has come, and gives everything up to and with it.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end.as_bytes()) {
                let rest = self.buffer.split_off(at + end.len());
                let read = std::mem::replace(&mut self.buffer, rest);
                return String::from_utf8(read).expect("text");
            }
            let open = soon(end, self.fill()).await;
            assert!(open, "closed without {end:?}: {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// Reads a response's head.
    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// Reads until the server closes, and gives everything.
    pub(crate) async fn rest(self) -> String {
        String::from_utf8(self.rest_bytes().await).expect("text")
    }

    /// Like [`Self::rest`], as bytes.
    pub(crate) async fn rest_bytes(mut self) -> Vec<u8> {
        while soon("the connection's end", self.fill()).await {}
        self.buffer
    }

    /// Reads until at least so many bytes have come, or the server closes.
    pub(crate) async fn some(&mut self, bytes: usize) {
        while self.buffer.len() < bytes && soon("some bytes", self.fill()).await {}
    }

    /// Closes the client's half of the connection. If the server has closed already, reading shows it.
    pub(crate) async fn close_half(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    async fn fill(&mut self) -> bool {
        self.stream.read_buf(&mut self.buffer).await.is_ok_and(|count| count > 0)
    }
}
