//! A client that adds next to nothing: one blocking socket.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

use crate::support::{
    http::Response,
    upstream::{now, stamps},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer, and when it came.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The whole response.
    pub(crate) response: Response,
    /// From the request's first byte to the response's last.
    pub(crate) took: Duration,
    /// From the request's first byte to the first event's last; zero where there is none.
    pub(crate) first_event: Duration,
    /// How long each event was under way.
    pub(crate) delays: Vec<Duration>,
}

impl Client {
    /// Connects to a port of this machine.
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
        stream.set_nodelay(true).expect("a socket without delay");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket with a timeout");
        Self { stream, buffer: vec![0; 64 * 1024] }
    }

    /// Sends `request` and reads the whole answer.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Answered {
        let mut response = Response::default();
        let begun = Instant::now();
        self.stream.write_all(request).expect("a request that is sent");
        while !response.whole {
            self.read(&mut response);
        }
        Answered { response, took: begun.elapsed(), first_event: Duration::ZERO, delays: Vec::new() }
    }

    /// Sends `request` and notes when the events of the answer arrive.
    pub(crate) fn follow(&mut self, request: &[u8]) -> Answered {
        let mut response = Response::default();
        let (mut arrivals, mut events) = (Vec::new(), 0);
        let begun = Instant::now();
        self.stream.write_all(request).expect("a request that is sent");
        while !response.whole {
            self.read(&mut response);
            let arrived = (begun.elapsed(), now());
            let complete = stamps(&response.body).count();
            arrivals.extend(std::iter::repeat_n(arrived, complete - events));
            events = complete;
        }
        let took = begun.elapsed();
        let first_event = arrivals.first().map_or(Duration::ZERO, |(after, _)| *after);
        let under_way = |((_, arrived), sent): (&(Duration, u64), u64)| arrived.saturating_sub(sent);
        let delays = arrivals.iter().zip(stamps(&response.body)).map(under_way);
        let delays = delays.map(Duration::from_nanos).collect();
        Answered { response, took, first_event, delays }
    }

    fn read(&mut self, response: &mut Response) {
        let len = self.stream.read(&mut self.buffer).expect("an answer in time");
        assert!(len > 0, "the connection was closed in the midst of an answer");
        response.feed(&self.buffer[..len]);
    }
}
