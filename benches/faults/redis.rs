//! What questions take while Redis fails, and how soon hits are back.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    CHAT,
    line::Line,
    support::{
        client::Client,
        figures::{quantile, text},
        http::post,
        process,
        sidecache::{self, Options},
        upstream::Plan,
    },
};

/// Longer than any window.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Slow(Duration),
    Killed,
}

const FAULTS: [(&str, Fault); 6] = [
    ("none", Fault::None),
    ("40 ms slow", Fault::Slow(Duration::from_millis(40))),
    ("100 ms slow", Fault::Slow(Duration::from_millis(100))),
    ("5 s slow", Fault::Slow(Duration::from_secs(5))),
    ("silent", Fault::Slow(FOR_EVER)),
    ("killed", Fault::Killed),
];

/// Prints a row for each fault.
#[allow(clippy::print_stdout, reason = "the result")]
pub(crate) fn run(folder: &Path, upstream: u16, window: Duration) {
    println!("\n| Redis | p50 | p99 | worst | p50, breaker open | requests | hits back after |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (name, fault) in FAULTS {
        let Some(mut redis) = process::redis(folder) else { return };
        let line = Line::to(redis.port);
        let options = Options { redis: Some(line.port), ..Options::to(upstream) };
        let proxy = sidecache::start(folder, options);
        let mut client = Client::connect(proxy.port);
        until_hit(&mut client);
        times(&mut client, window / 3);
        match fault {
            Fault::None => {}
            Fault::Slow(by) => line.delay(by),
            Fault::Killed => redis.kill(),
        }
        let mut all = times(&mut client, window / 2);
        // By now it was given up.
        let open = times(&mut client, window / 2);
        if matches!(fault, Fault::Killed) {
            redis = process::redis(folder).expect("it was there before");
            line.lead_to(redis.port);
        }
        line.delay(Duration::ZERO);
        let back = until_hit(&mut client);
        let open_median = text(quantile(&open, 0.5));
        all.extend(open);
        let figure = |q| text(quantile(&all, q));
        let (median, p99, worst) = (figure(0.5), figure(0.99), figure(1.0));
        println!("| {name} | {median} | {p99} | {worst} | {open_median} | {} | {} |", all.len(), text(back));
        drop(redis);
    }
}

/// Asks new questions for a while: all are misses, whatever Redis does.
fn times(client: &mut Client, window: Duration) -> Vec<Duration> {
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < window {
        let question = Plan::default().question(&fastrand::u64(..).to_string());
        let (response, took) = client.ask(&post(CHAT, &question));
        assert_eq!((response.status(), response.x_cache()), (200, "MISS"));
        times.push(took);
    }
    times
}

/// How long it takes until a question that was asked before is a hit.
fn until_hit(client: &mut Client) -> Duration {
    let began = Instant::now();
    let request = post(CHAT, &Plan::default().question("the same"));
    while client.ask(&request).0.x_cache() != "HIT" {}
    began.elapsed()
}
