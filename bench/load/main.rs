//! Throughput: sidecache, and other caches and servers for comparison, in one run.
//!
//! ```text
//! cargo bench -p sidecache-bench --bench load                           # all cases
//! cargo bench -p sidecache-bench --bench load -- --only hit,redis --rounds 9 --seconds 5
//! cargo bench -p sidecache-bench --bench load -- --only hit,miss --before /path/of/another/sidecache --connections 1000
//! ```
//!
//! The service behind answers at once and names the question, so that a wrong answer is seen; how often it is asked is
//! counted, so that a hit is known to be one. Everything that is measured is a process of its own; 32 keep-alive
//! connections (or `--connections`) ask, from this one. In a round, each who takes part in a case works for the same time, one after the
//! other, in another order each time. Figures are medians over the rounds, and a ratio is the median of the rounds'
//! ratios.

mod answer;
mod comparison;
mod environment;
mod figure;
mod generator;
mod growth;
mod hits;
mod litellm;
mod misses;
mod numbered_request;
mod origin;
mod redis_benchmark;
mod sample;
mod startup;
mod table;

use std::time::Duration;

use comparison::Comparison;
use environment::Environment;
use figure::Figure;
use support::arguments::Arguments;

/// How much is done.
#[derive(Debug)]
pub(crate) struct Scale {
    rounds: usize,
    /// How long each works in a round.
    window: Duration,
    /// Answers that are stored where many are.
    entries: u64,
    /// The only cases; all where there are none.
    only: Vec<String>,
}

/// What sets a case up; `None` where what it needs is not installed.
type SetUp = fn(&Environment, &Scale) -> Option<Comparison>;

/// What measures something that is no rate.
type Measure = fn(&Environment, &Scale) -> Figure;

const CASES: [(&str, SetUp); 11] = [
    ("hit", hits::in_process),
    ("logged", hits::logged),
    ("large", hits::large),
    ("stream", hits::stream),
    ("redis", hits::redis),
    ("cluster", hits::cluster),
    ("miss", misses::in_process),
    ("coalesced", misses::coalesced),
    ("redis-gone", misses::without_redis),
    ("litellm", litellm::beside),
    ("growth", growth::rate),
];

const FIGURES: [(&str, Measure); 3] =
    [("memory", growth::memory), ("distinct", growth::distinct), ("start", startup::first_answer)];

fn main() {
    origin::run_if_asked();
    let scale = scale();
    scale.check();
    let environment = Environment::set();
    table::begin(&scale);
    for (name, set_up) in CASES {
        if scale.includes(name)
            && let Some(mut case) = set_up(&environment, &scale)
        {
            case.run(&environment.service, &scale);
            table::rows(&case);
        }
    }
    for (name, measure) in FIGURES {
        if scale.includes(name) {
            table::figure(&measure(&environment, &scale));
        }
    }
}

impl Scale {
    fn includes(&self, case: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == case)
    }

    /// Where a case is asked for that is none, says which there are.
    fn check(&self) {
        let names: Vec<_> =
            CASES.iter().map(|(name, _)| *name).chain(FIGURES.iter().map(|(name, _)| *name)).collect();
        for name in &self.only {
            assert!(
                names.contains(&name.as_str()),
                "no case is called {name}; there are {}",
                names.join(", ")
            );
        }
    }
}

fn scale() -> Scale {
    let arguments = Arguments::read();
    if !arguments.is_bench() {
        return Scale { rounds: 1, window: Duration::from_millis(100), entries: 1_000, only: Vec::new() };
    }
    let only: Option<String> = arguments.value("--only");
    Scale {
        rounds: arguments.value("--rounds").unwrap_or(5),
        window: Duration::from_secs_f64(arguments.value("--seconds").unwrap_or(3.0)),
        entries: arguments.value("--entries").unwrap_or(1_000_000),
        only: only.iter().flat_map(|only| only.split(',')).map(str::to_owned).collect(),
    }
}
