//! The delay of each event of a running stream.

use std::time::Duration;

use support::{http::post, upstream::Plan};

use crate::{cases::Ports, client::Client};

/// Events after the first, of each stream.
const EVENTS: u32 = 20;

/// The events of one path.
#[derive(Debug)]
pub(crate) struct Events {
    /// What the table calls it.
    pub(crate) name: &'static str,
    client: Client,
    /// From the upstream's making of an event to its arrival.
    pub(crate) delays: Vec<Duration>,
}

/// Follows `streams` streams by each path, in turn; the direct one comes first.
pub(crate) fn run(ports: &Ports, streams: usize) -> Vec<Events> {
    let path = |name, port| Events { name, client: Client::connect(port), delays: Vec::new() };
    let mut paths = vec![
        path("direct: a stream's later events", ports.upstream),
        path("later events, miss", ports.memory),
        path("later events, miss, request log on", ports.logging),
    ];
    let plan = Plan { stream: true, events: EVENTS + 1, gap_ms: 2, ..Plan::default() };
    let count = paths.len();
    for stream in 0..streams {
        let request = post("/v1/chat/completions", &plan.question(&format!("events {stream:08}")));
        for turn in 0..count {
            let path = &mut paths[(stream + turn) % count];
            let answered = path.client.follow(&request);
            assert_eq!(answered.delays.len(), EVENTS as usize + 1, "{}: {:?}", path.name, answered.response);
            path.delays.extend(answered.delays.into_iter().skip(1));
        }
    }
    paths
}
