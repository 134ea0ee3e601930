//! A client with one blocking connection.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

use super::http::Response;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that is kept.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects to a port of this machine.
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
        stream.set_nodelay(true).expect("a socket without delay");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket with a timeout");
        Self { stream, buffer: vec![0; 64 * 1024] }
    }

    /// Sends `request`; the whole answer, and how long it took.
    pub fn ask(&mut self, request: &[u8]) -> (Response, Duration) {
        self.watch(request, |_, _| ())
    }

    /// The same, showing `seen` what has come, and after how long, each time that something has.
    pub fn watch(
        &mut self,
        request: &[u8],
        mut seen: impl FnMut(&Response, Duration),
    ) -> (Response, Duration) {
        let (mut response, begun) = (Response::default(), Instant::now());
        self.stream.write_all(request).expect("a request that is sent");
        while !response.whole {
            let len = self.stream.read(&mut self.buffer).expect("an answer in time");
            assert!(len > 0, "the connection was closed in the midst of an answer");
            response.feed(&self.buffer[..len]);
            seen(&response, begun.elapsed());
        }
        (response, begun.elapsed())
    }
}
