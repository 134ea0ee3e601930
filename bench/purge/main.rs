//! What a purge costs other callers: the times of hits in a full store, without and during a purge.
//!
//! ```text
//! cargo bench -p sidecache-bench --bench purge      # 1,000,000 entries, in the process and in Redis
//! cargo bench -p sidecache-bench --bench purge -- --entries 100000 --rounds 1 --only Redis
//! ```
//!
//! In each round a store of its own is filled through the proxy, a tenth of it with one tag. Then one client asks for a
//! hit each millisecond, whether or not the last one was answered in time to begin the next, and its times are noted:
//! first quiet, then while a purge runs, in turn by a tag, a pattern and a kind. What a purge took is filled up before
//! the next one, whose sweep may run beside the last one's.

mod fill_store;
mod origin;
mod probe;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use support::{
    arguments::Arguments,
    figures::{median, quantile, text},
    machine,
    process::{self, Listening},
    sidecache::{self, Options, redis_url},
};

/// Entries where nobody says how many.
const ENTRIES: usize = 1_000_000;

/// Rounds where nobody says how many.
const ROUNDS: usize = 3;

/// How much a test's run does.
const SMOKE: Sizes = Sizes { entries: 2_000, rounds: 1, window: Duration::from_millis(200) };

/// How often hits are timed, quiet and during each purge: a purge of many entries runs longer than that.
const WINDOWS: usize = 3;

/// How much is done.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    entries: usize,
    rounds: usize,
    /// How long hits are timed, quiet and during each purge.
    window: Duration,
}

/// The purges of a round.
const PURGES: [(&str, &str); 3] = [
    ("by tag", r#"{"tag": "tenth"}"#),
    ("by pattern", r#"{"pattern": "document:[0-7]*"}"#),
    ("by kind", r#"{"kind": "document"}"#),
];

/// What was measured of one of them.
#[derive(Debug, Default)]
struct Row {
    quiet: Vec<Duration>,
    purging: Vec<Duration>,
    answered: Vec<Duration>,
    purged: Vec<u64>,
}

fn main() {
    let sizes = sizes();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let origin = origin::start();
    say(&format!("sidecache {}, {} entries, {} rounds", machine::commit(), sizes.entries, sizes.rounds));
    say(&format!("{}, load {} before\n", machine::line(), machine::load()));
    say("| store | purge | answered in | purged | p99 of hits, quiet | p99, while it runs | ratio |");
    say("| --- | --- | --- | --- | --- | --- | --- |");
    let only: Option<String> = Arguments::read().value("--only");
    for name in ["in-process", "Redis"] {
        let is_wanted = only.as_ref().is_none_or(|only| only == name);
        if is_wanted && (name != "Redis" || process::is_installed("redis-server")) {
            let mut rows: [Row; PURGES.len()] = Default::default();
            for _ in 0..sizes.rounds {
                let redis = if name == "Redis" { process::redis(folder.path()) } else { None };
                let sidecache = start(folder.path(), origin, redis.as_ref().map(|redis| redis.port));
                measure(&sidecache, sizes, &mut rows);
            }
            for ((purge, _), row) in PURGES.iter().zip(&rows) {
                print(name, purge, row);
            }
        }
    }
}

fn sizes() -> Sizes {
    let arguments = Arguments::read();
    if !arguments.is_bench() {
        return SMOKE;
    }
    let entries = arguments.value("--entries").unwrap_or(ENTRIES);
    let rounds = arguments.value("--rounds").unwrap_or(ROUNDS);
    Sizes { entries, rounds, window: Duration::from_secs(8) }
}

/// The proxy's port, and its admin listener's.
struct Sidecache {
    process: Listening,
    admin: u16,
}

fn start(folder: &Path, origin: u16, redis: Option<u16>) -> Sidecache {
    let admin = process::free_port();
    let url = redis.map(redis_url);
    let redis = url.as_deref();
    let options = Options { redis, max_memory: "4GiB", admin: Some(admin), ..Options::to(origin) };
    Sidecache { process: sidecache::start(folder, options), admin }
}

fn measure(sidecache: &Sidecache, sizes: Sizes, rows: &mut [Row; PURGES.len()]) {
    let port = sidecache.process.port;
    let windows = move || (0..WINDOWS).map(move |_| quantile(&probe::times(port, sizes.window), 0.99));
    fill_store::fill(port, sizes.entries);
    probe::times(port, sizes.window / 4);
    let quiet: Vec<_> = windows().collect();
    for ((_, call), row) in PURGES.iter().zip(rows) {
        fill_store::fill(port, sizes.entries);
        let hits = std::thread::spawn(move || windows().collect::<Vec<_>>());
        let began = Instant::now();
        row.purged.push(probe::purge(sidecache.admin, call));
        row.answered.push(began.elapsed());
        row.quiet.extend(&quiet);
        row.purging.extend(hits.join().expect("hits"));
    }
}

fn print(store: &str, purge: &str, row: &Row) {
    let (quiet, purging) = (median(&row.quiet), median(&row.purging));
    let ratio = purging.as_secs_f64() / quiet.as_secs_f64();
    let purged = row.purged.iter().max().copied().unwrap_or_default();
    let (answered, quiet, purging) = (text(median(&row.answered)), text(quiet), text(purging));
    say(&format!("| {store} | {purge} | {answered} | {purged} | {quiet} | {purging} | {ratio:.2} |"));
}

#[allow(clippy::print_stdout, reason = "the result")]
fn say(text: &str) {
    println!("{text}");
}
