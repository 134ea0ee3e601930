//! The time until the first answer after a start.

use std::{
    net::{Ipv4Addr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use support::{
    client::Client,
    figures::{median, text},
    process::{Listening, free_port},
    sidecache::{self, Options},
};

use crate::{
    Scale, environment::Environment, figure::Figure, hits::SHORT, numbered_request::NumberedRequest,
};

/// Starts where nobody waits for a test.
const STARTS: usize = 20;

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_micros(200);

/// From the start of the process to the end of the first answer.
pub(crate) fn first_answer(environment: &Environment, scale: &Scale) -> Figure {
    let starts = STARTS.min(scale.rounds * 4);
    let times: Vec<Duration> = (0..starts).map(|_| start(environment)).collect();
    Figure {
        name: format!("start to first answer, median of {starts}"),
        value: text(median(&times)),
        must: "100 ms",
        aim: "30 ms",
    }
}

fn start(environment: &Environment) -> Duration {
    let port = free_port();
    let mut command = sidecache::command(environment.folder(), port, Options::to(environment.service.port()));
    let begun = Instant::now();
    let _process = Listening::spawn("sidecache", &mut command, port);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "sidecache does not listen");
        thread::sleep(PAUSE);
    }
    let (response, _) = Client::connect(port).ask(NumberedRequest::json("", SHORT).bytes());
    assert_eq!(response.status(), 200, "{:?}", response.head);
    begun.elapsed()
}
