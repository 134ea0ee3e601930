//! An answer that its headers forbid to share: those who wait must ask for themselves, and those who come later
//! must not wait at all.

use std::time::Duration;

use tokio::time::sleep;

use support::{
    figures::{quantile, text},
    upstream::{Call, Plan, Upstream},
};

use crate::{
    Figures, Scale,
    caller::{Got, call},
    contenders::Target,
    shared_stream::answered,
};

/// What the table calls it.
pub(crate) const NAME: &str = "`no-store`, head after 1 s: 10 clients wait for it, 10 come later";

const CLIENTS: usize = 10;

/// Runs the case.
pub(crate) async fn measure(target: &Target, upstream: &Upstream, scale: &Scale) -> Figures {
    let port = target.process.port;
    let mark = format!("unshareable {port}");
    let delay_ms = 1_000 / scale.faster;
    let plan = Plan { mark: mark.clone(), delay_ms, no_store: true, ..Plan::default() };
    let request = target.request(&plan);
    let first = tokio::spawn(call(port, request.clone()));
    while upstream.calls(&mark).is_empty() && !first.is_finished() {
        sleep(Duration::from_millis(1)).await;
    }
    let waiting = group(port, &request);
    let head = answered(upstream, &mark).await.map_or(0, |call| call.answered);
    let mut got = finish(waiting).await;
    let calls = upstream.calls(&mark);
    let alone: Vec<Duration> = calls.iter().skip(1).map(|call| since(call, head)).collect();
    let later = finish(group(port, &request)).await;
    let calls = upstream.calls(&mark);
    let sent: Vec<u64> = later.iter().map(|got| got.asked).collect();
    let begun = sent.iter().min().copied().unwrap_or(0);
    let at_once: Vec<Duration> = calls.iter().skip(1 + alone.len()).map(|call| since(call, begun)).collect();
    got.extend(later);
    vec![
        ("upstream calls", calls.len().to_string()),
        ("from that head to their own calls, p50", text(quantile(&alone, 0.5))),
        ("the last of them", text(quantile(&alone, 1.0))),
        ("later ones, from the first request to the last call", text(quantile(&at_once, 1.0))),
        ("complete", format!("{} of {}", got.iter().filter(|got| got.whole()).count(), 2 * CLIENTS)),
    ]
}

fn group(port: u16, request: &[u8]) -> Vec<tokio::task::JoinHandle<Got>> {
    (0..CLIENTS).map(|_| tokio::spawn(call(port, request.to_vec()))).collect()
}

async fn finish(group: Vec<tokio::task::JoinHandle<Got>>) -> Vec<Got> {
    let mut got = Vec::new();
    for client in group {
        got.push(client.await.expect("a client that does not panic"));
    }
    got
}

fn since(call: &Call, begin: u64) -> Duration {
    Duration::from_nanos(call.asked.saturating_sub(begin))
}
