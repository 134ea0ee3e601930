//! Twenty clients with one stream; all but the first arrive while it runs.

use std::time::Duration;

use tokio::time::sleep;

use support::{
    figures::{quantile, text},
    upstream::{Call, Plan, Upstream},
};

use crate::{
    Figures,
    caller::{Got, ask, call, connect},
    contenders::Target,
};

const CLIENTS: usize = 20;
const EVENTS: u32 = 20;

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// From the first event to the last.
    pub(crate) seconds: u64,
    /// Whether the first client leaves after a second.
    pub(crate) hangs_up: bool,
    /// What all times are divided by.
    pub(crate) faster: u64,
}

impl Case {
    /// What the table calls it.
    pub(crate) fn name(&self) -> String {
        let what = format!("{CLIENTS} clients, a stream of {EVENTS} events over {} s", self.seconds);
        if self.hangs_up { what + ", the first client leaves after 1 s" } else { what }
    }

    fn mark(&self, port: u16) -> String {
        format!("shared {} {} {port}", self.seconds, self.hangs_up)
    }
}

/// Waits until the upstream has begun to answer the first call under `mark`.
pub(crate) async fn answered(upstream: &Upstream, mark: &str) -> Option<Call> {
    for _ in 0..2_000 {
        if let Some(call) = upstream.calls(mark).first().filter(|call| call.answered > 0) {
            return Some(call.clone());
        }
        sleep(Duration::from_millis(5)).await;
    }
    None
}

/// Runs the case.
pub(crate) async fn measure(target: &Target, upstream: &Upstream, case: &Case) -> Figures {
    let port = target.process.port;
    let gap_ms = case.seconds * 1_000 / case.faster / u64::from(EVENTS - 1);
    let mark = case.mark(port);
    let plan = Plan { mark: mark.clone(), stream: true, events: EVENTS, gap_ms, ..Plan::default() };
    let request = target.request(&plan);
    let stays =
        if case.hangs_up { Duration::from_millis(1_000 / case.faster) } else { Duration::from_secs(40) };
    let first = tokio::spawn({
        let request = request.clone();
        async move { ask(connect(port).await, &request, stays).await }
    });
    answered(upstream, &mark).await;
    sleep(Duration::from_millis(20)).await;
    let followers: Vec<_> = (1..CLIENTS).map(|_| tokio::spawn(call(port, request.clone()))).collect();
    let mut got = Vec::new();
    for follower in followers {
        got.push(follower.await.expect("a client that does not panic"));
    }
    let first = first.await.expect("a client that does not panic");
    figures(upstream.calls(&mark).len(), &first, &got)
}

fn figures(calls: usize, first: &Got, followers: &[Got]) -> Figures {
    let waited: Vec<Duration> = followers.iter().filter_map(Got::waited).collect();
    let whole = followers.iter().filter(|got| got.whole()).count();
    let bodies: std::collections::HashSet<&[u8]> = followers.iter().map(|got| &*got.response.body).collect();
    vec![
        ("upstream calls", calls.to_string()),
        ("first client's first event", first.waited().map_or("none".to_owned(), text)),
        ("followers' first event, p50", text(quantile(&waited, 0.5))),
        ("followers' first event, the last of them", text(quantile(&waited, 1.0))),
        ("followers complete", format!("{whole} of {}", followers.len())),
        ("different bodies among them", bodies.len().to_string()),
    ]
}
