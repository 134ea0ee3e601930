//! What sidecache adds to a call: one client, one keep-alive connection, and the direct call beside each case.
//!
//! ```text
//! cargo bench -p sidecache-bench --bench latency                    # 4,000 rounds
//! cargo bench -p sidecache-bench --bench latency -- --rounds 500 --in-a-row 1
//! cargo bench -p sidecache-bench --bench latency -- --before /path/of/another/sidecache
//! ```
//!
//! The upstream answers at once, in a thread of this process; the sidecaches are the real binary, as children. Each
//! case asks some times in a row, as a client does, and then the others do, in another order each time, so that
//! whatever else the machine does falls on all of them alike. The samples of a case are cut into blocks in the order
//! of time, and a figure is the median of the blocks' figures: a disturbance spoils one block, not the result.

mod cases;
mod client;
mod event_delays;
mod table;

use std::path::PathBuf;

use support::{arguments::Arguments, machine, nginx, process, sidecache, upstream::Upstream};

/// Rounds where nobody says how many.
const ROUNDS: usize = 4_000;

/// How often a case asks in a row where nobody says it: once shows processes that have just been woken, whose code and
/// data the others' have replaced in the caches.
const IN_A_ROW: usize = 20;

/// A run without `--bench` is a test's, and only shows that this works.
const SMOKE_ROUNDS: usize = 3;

fn main() {
    let rounds = rounds();
    let in_a_row = Arguments::read().value("--in-a-row").unwrap_or(IN_A_ROW).max(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let upstream = Upstream::start();
    let start = |log_level, redis: Option<&str>| {
        sidecache::start(
            folder.path(),
            sidecache::Options { redis, log_level, ..sidecache::Options::to(upstream.port) },
        )
    };
    let binary: Option<PathBuf> = Arguments::read().value("--before");
    let before = binary.as_deref().map(|binary| {
        sidecache::start(
            folder.path(),
            sidecache::Options { binary, ..sidecache::Options::to(upstream.port) },
        )
    });
    let redis = process::redis(folder.path());
    let memory = start("ERROR", None);
    let logging = start("INFO", None);
    let remote = redis.as_ref().map(|redis| start("ERROR", Some(&sidecache::redis_url(redis.port))));
    let nginx = nginx::start(folder.path(), upstream.port);
    let ports = cases::Ports {
        upstream: upstream.port,
        memory: memory.port,
        logging: logging.port,
        before: before.as_ref().map(|before| before.port),
        redis: remote.as_ref().map(|remote| remote.port),
        nginx: nginx.as_ref().map(|nginx| nginx.port),
    };
    let load = machine::load();
    let mut cases = cases::all(&ports);
    cases::run(&mut cases, rounds, in_a_row);
    let events = event_delays::run(&ports, rounds.div_ceil(20));
    table::print(&cases, &events, rounds, in_a_row, &load);
}

fn rounds() -> usize {
    let arguments = Arguments::read();
    if !arguments.is_bench() {
        return SMOKE_ROUNDS;
    }
    arguments.value("--rounds").unwrap_or(ROUNDS).clamp(SMOKE_ROUNDS, 1_000_000)
}
