//! A client that asks for hits at a steady pace, and the call that purges.

use std::{
    thread,
    time::{Duration, Instant},
};

use support::{client::Client, http::get};

/// Between two requests.
const PACE: Duration = Duration::from_millis(1);

/// How many different entries are asked for. No purge concerns them: they are of another kind.
const PROBES: usize = 500;

/// Asks for hits during `window`: from when each was due to its answer's last byte.
pub(crate) fn times(port: u16, window: Duration) -> Vec<Duration> {
    let mut client = Client::connect(port);
    let requests: Vec<_> = (0..PROBES).map(|probe| get(&format!("/api/v1/conversations/{probe}"))).collect();
    for request in &requests {
        client.ask(request);
    }
    let began = Instant::now();
    let mut times = Vec::new();
    for (count, request) in requests.iter().cycle().enumerate() {
        let due = began + PACE * count as u32;
        if due > began + window {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let (response, _) = client.ask(request);
        assert_eq!(response.x_cache(), "HIT", "{:?}", response.head);
        times.push(due.elapsed());
    }
    times
}

/// Purges, and tells how many entries that was.
pub(crate) fn purge(admin: u16, call: &str) -> u64 {
    let head = "POST /purge HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json";
    let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{call}", call.len());
    let (response, _) = Client::connect(admin).ask(request.as_bytes());
    let answer: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(response.status(), 200, "{answer}");
    answer["purged"].as_u64().expect("a count")
}
