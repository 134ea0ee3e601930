//! Redis itself, measured with its own `redis-benchmark`.

use std::{process::Command, time::Duration};

use crate::sample::Sample;

/// How many `GET`s a second it is given to do: the time that it takes is near the one that it is to take.
const EXPECTED_RATE: f64 = 100_000.0;

/// `GET`s of one value by many connections.
#[derive(Debug)]
pub(crate) struct RedisBenchmark {
    /// The port of Redis.
    pub(crate) port: u16,
    /// The value's length in bytes.
    pub(crate) len: usize,
    /// How many ask.
    pub(crate) connections: usize,
}

impl RedisBenchmark {
    /// Runs it for about `window`.
    pub(crate) fn run(&self, window: Duration) -> Sample {
        // It gets what it has set, and without that, nothing.
        self.command("set", 1);
        let count = (window.as_secs_f64() * EXPECTED_RATE) as u64;
        let table = self.command("get", count.max(1_000));
        // "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms",...
        let row = table.lines().find(|line| line.starts_with("\"GET\"")).expect("a row for GET");
        let cell = |place| -> f64 {
            let cell = row.split(',').nth(place).and_then(|cell| cell.trim_matches('"').parse().ok());
            cell.unwrap_or_else(|| panic!("a number in column {place} of {row}"))
        };
        let millis = |place| Duration::from_secs_f64(cell(place) / 1e3);
        Sample { rate: cell(1), p50: millis(4), p99: millis(6), wrong: 0, calls: 0.0 }
    }

    fn command(&self, test: &str, count: u64) -> String {
        let mut command = Command::new("redis-benchmark");
        command.args(["--csv", "-t", test, "-p", &self.port.to_string(), "-n", &count.to_string()]);
        command.args(["-d", &self.len.to_string(), "-c", &self.connections.to_string()]);
        let output = command.output().expect("redis-benchmark, which comes with redis-server");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
