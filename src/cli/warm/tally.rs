//! Counts the results of the requests. Pure; the time is an argument.

use std::{fmt::Write, time::Duration};

use crate::cli::stats::{grouped, show_seconds};

/// The most faulty lines that are named. The others are counted.
const MAX_NAMED: usize = 20;

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Without the upstream.
    Hit,
    /// By the upstream.
    Miss,
    /// By the upstream, on a route without a cache, or as a bypass.
    Uncached,
}

impl Outcome {
    /// Reads the `X-Cache` of a response without an error.
    pub(super) fn from_x_cache(x_cache: Option<&str>) -> Self {
        match x_cache {
            Some("HIT" | "STALE" | "SIMILAR" | "COALESCED") => Self::Hit,
            Some("MISS" | "PARTIAL") => Self::Miss,
            _ => Self::Uncached,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    hits: u64,
    misses: u64,
    uncached: u64,
    failed: FaultyLines,
    bad: FaultyLines,
    /// Requests in a log that lack a part.
    pub(super) partial: u64,
    /// Lines that were finished before this run.
    pub(super) before: u64,
    /// The bytes of those lines.
    pub(super) bytes_before: u64,
}

#[derive(Debug, Default)]
struct FaultyLines {
    count: u64,
    /// The first of them, each with its reason.
    named: Vec<String>,
}

impl FaultyLines {
    fn add(&mut self, number: u64, reason: &str) {
        self.count += 1;
        if self.named.len() < MAX_NAMED {
            self.named.push(format!("line {number}: {reason}"));
        }
    }

    fn write(&self, what: &str, out: &mut String) {
        for line in &self.named {
            let _ = writeln!(out, "{line}");
        }
        let more = self.count - self.named.len() as u64;
        if more > 0 {
            let _ = writeln!(out, "and {} more {what}", grouped(more));
        }
    }
}

impl Tally {
    /// Counts a request that was answered.
    pub(super) fn answered(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Hit => self.hits += 1,
            Outcome::Miss => self.misses += 1,
            Outcome::Uncached => self.uncached += 1,
        }
    }

    /// Counts a request that failed.
    pub(super) fn failed(&mut self, number: u64, reason: &str) {
        self.failed.add(number, reason);
    }

    /// Counts a line that is no request.
    pub(super) fn bad(&mut self, number: u64, reason: &str) {
        self.bad.add(number, reason);
    }

    /// Whether every request was answered well.
    pub(super) fn is_good(&self) -> bool {
        self.failed.count == 0 && self.bad.count == 0
    }

    fn sent(&self) -> u64 {
        self.hits + self.misses + self.uncached + self.failed.count
    }

    /// One line about the run after `elapsed`, with `at` of `length` bytes read.
    pub(super) fn progress(&self, at: u64, length: u64, elapsed: Duration) -> String {
        let rate = self.rate(elapsed);
        let new = at.saturating_sub(self.bytes_before);
        let left = length.saturating_sub(at);
        let mut text = format!("{} sent, {rate:.0}/s", grouped(self.sent()));
        if self.failed.count > 0 {
            let _ = write!(text, ", {} failed", grouped(self.failed.count));
        }
        if new > 0 {
            let left = elapsed.as_secs_f64() * left as f64 / new as f64;
            let _ = write!(text, ", {} left", show_seconds(left));
        }
        text
    }

    fn rate(&self, elapsed: Duration) -> f64 {
        self.sent() as f64 / elapsed.as_secs_f64().max(0.001)
    }

    pub(super) fn summary(&self, elapsed: Duration) -> String {
        let mut text = format!(
            "{} requests sent in {}, {:.0}/s\nhits      {}\nmisses    {}\nuncached  {}\nfailures  {}\n",
            grouped(self.sent()),
            show_seconds(elapsed.as_secs_f64()),
            self.rate(elapsed),
            grouped(self.hits),
            grouped(self.misses),
            grouped(self.uncached),
            grouped(self.failed.count),
        );
        for (count, what) in [
            (self.before, "finished before, not sent again"),
            (self.partial, "not sent: the log does not tell them whole (bodies, masked secrets)"),
            (self.bad.count, "lines that are no requests"),
        ] {
            if count > 0 {
                let _ = writeln!(text, "{} {what}", grouped(count));
            }
        }
        text
    }

    /// The faulty lines, one a line.
    pub(super) fn faults(&self) -> String {
        let mut text = String::new();
        self.bad.write("lines that are no requests", &mut text);
        self.failed.write("requests that failed", &mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_shows_rate_and_time_left() {
        let mut tally = Tally { bytes_before: 1000, ..Tally::default() };
        for _ in 0..1200 {
            tally.answered(Outcome::Miss);
        }
        assert_eq!(tally.progress(2000, 5000, Duration::from_secs(60)), "1,200 sent, 20/s, 3 min 0 s left");
        tally.failed(7, "502");
        assert_eq!(
            tally.progress(5000, 5000, Duration::from_secs(60)),
            "1,201 sent, 20/s, 1 failed, 0.0 s left"
        );
        assert_eq!(Tally::default().progress(0, 5000, Duration::ZERO), "0 sent, 0/s");
    }

    #[test]
    fn many_faulty_lines_are_counted() {
        let mut tally = Tally::default();
        for number in 1..=25 {
            tally.bad(number, "is no JSON object");
        }
        let text = tally.faults();
        assert!(text.starts_with("line 1: is no JSON object\nline 2"), "{text}");
        assert!(
            text.ends_with("line 20: is no JSON object\nand 5 more lines that are no requests\n"),
            "{text}"
        );
        assert!(!tally.is_good() && Tally::default().is_good());
    }
}
