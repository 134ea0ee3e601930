//! Thousands of clients with one key.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, task::JoinSet, time::sleep};

use support::{
    figures::{quantile, text},
    upstream::{Plan, Upstream},
};

use crate::{
    Figures, Scale,
    caller::{Got, ask, call, connect},
    contenders::Target,
};

/// How long the answer takes: enough for all clients to have asked.
const ANSWER: Duration = Duration::from_secs(3);

/// A client that has waited this long hangs: ten times the time of the answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections that are made at once.
const CONNECTING: usize = 256;

/// Runs the case twice, with another key: what the second leaves behind more than the first would be a leak.
pub(crate) async fn measure(target: &Target, upstream: &Upstream, scale: &Scale) -> Figures {
    let process = &target.process;
    for warm_up in 0..20 {
        let plan = Plan { mark: format!("warm-up {warm_up} {}", process.port), ..Plan::default() };
        call(process.port, target.request(&plan)).await;
    }
    let before = process.memory();
    let mut figures = Figures::new();
    for wave in ["first", "second"] {
        let mark = format!("crowd {wave} {}", process.port);
        let delay_ms = millis(ANSWER) / scale.faster;
        let request = target.request(&Plan { mark: mark.clone(), delay_ms, ..Plan::default() });
        let begun = Instant::now();
        let streams = connect_all(process.port, scale.crowd).await;
        let connecting = begun.elapsed();
        let connected = process.memory();
        let got = ask_all(streams, &request).await;
        sleep(Duration::from_secs(3)).await;
        let after = process.memory();
        if wave == "first" {
            figures.extend(outcome(upstream.calls(&mark).len(), &got));
            figures.push(("time to connect them all", text(connecting)));
            figures.push(("memory before", mebibytes(before.now)));
            figures.push(("all connected", mebibytes(connected.now)));
            figures.push(("at most", mebibytes(after.peak)));
            figures.push(("3 s after", mebibytes(after.now)));
            // Some allocators give back what has been free for a while.
            sleep(Duration::from_secs(9)).await;
            figures.push(("12 s after", mebibytes(process.memory().now)));
        } else {
            figures.push(("upstream calls of a second crowd", upstream.calls(&mark).len().to_string()));
            figures.push(("memory 3 s after that", mebibytes(after.now)));
        }
    }
    figures
}

/// What came of the calls.
pub(crate) fn outcome(calls: usize, got: &[Got]) -> Figures {
    let count = |fits: fn(&Got) -> bool| got.iter().filter(|got| fits(got)).count();
    let waited: Vec<Duration> = got.iter().filter_map(Got::waited).collect();
    let whole = count(Got::whole);
    let hung = count(|got| got.hung);
    vec![
        ("upstream calls", calls.to_string()),
        ("complete", format!("{whole} of {}", got.len())),
        ("hung", hung.to_string()),
        ("other failures", failures(got)),
        ("joined (`X-Cache: COALESCED`)", count(|got| got.response.x_cache() == "COALESCED").to_string()),
        ("first byte, p50", text(quantile(&waited, 0.5))),
        ("first byte, the last of them", text(quantile(&waited, 1.0))),
    ]
}

/// How many got what instead of an answer.
fn failures(got: &[Got]) -> String {
    let mut kinds = BTreeMap::<String, usize>::new();
    for got in got.iter().filter(|got| !got.whole() && !got.hung) {
        let kind = match (got.response.status(), got.asked) {
            (0, 0) => "not sent".to_owned(),
            (0, _) => "no answer".to_owned(),
            (200, _) => "cut".to_owned(),
            (status, _) => format!("status {status}"),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if kinds.is_empty() { "0".to_owned() } else { kinds.join(", ") }
}

/// `count` connections to `port`.
pub(crate) async fn connect_all(port: u16, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        let mut connecting = JoinSet::new();
        for _ in 0..CONNECTING.min(count - streams.len()) {
            connecting.spawn(connect(port));
        }
        streams.extend(connecting.join_all().await);
    }
    streams
}

/// Asks the same on each of `streams`.
pub(crate) async fn ask_all(streams: Vec<TcpStream>, request: &[u8]) -> Vec<Got> {
    let mut asking = JoinSet::new();
    for stream in streams {
        let request = request.to_vec();
        asking.spawn(async move { ask(stream, &request, PATIENCE).await });
    }
    asking.join_all().await
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn mebibytes(kibibytes: u64) -> String {
    format!("{:.1} MiB", kibibytes as f64 / 1024.0)
}
