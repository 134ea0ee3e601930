//! A client that adds almost no time: one blocking socket.

use std::time::Duration;

use support::{
    client,
    http::Response,
    upstream::{now, stamps},
};

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Client(client::Client);

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
        Self(client::Client::connect(port))
    }

    /// Sends `request` and reads the whole answer.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Answered {
        let (response, took) = self.0.ask(request);
        Answered { response, took, first_event: Duration::ZERO, delays: Vec::new() }
    }

    /// Sends `request` and notes when the events of the answer arrive.
    pub(crate) fn follow(&mut self, request: &[u8]) -> Answered {
        let (mut arrivals, mut events) = (Vec::new(), 0);
        let (response, took) = self.0.watch(request, |response, after| {
            let arrived = (after, now());
            let complete = stamps(&response.body).count();
            arrivals.extend(std::iter::repeat_n(arrived, complete - events));
            events = complete;
        });
        let first_event = arrivals.first().map_or(Duration::ZERO, |(after, _)| *after);
        let under_way = |((_, arrived), sent): (&(Duration, u64), u64)| arrived.saturating_sub(sent);
        let delays = arrivals.iter().zip(stamps(&response.body)).map(under_way);
        let delays = delays.map(Duration::from_nanos).collect();
        Answered { response, took, first_event, delays }
    }
}
