//! Figures that tests print, for `docs/RELIABILITY.md`:
//! `cargo test --release --test it -- --show-output | grep ^measured`.

use std::{
    fmt,
    future::Future,
    time::{Duration, Instant},
};

/// Prints what this test has measured.
#[allow(clippy::print_stdout, reason = "the result")]
pub(crate) fn measured(what: impl fmt::Display) {
    // A test's thread has its name.
    let thread = std::thread::current();
    println!("measured: {}: {what}", thread.name().unwrap_or("?"));
}

/// Durations of several requests.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Waits for something, and records how long that took.
    pub(crate) async fn of<T>(&mut self, something: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let result = something.await;
        self.0.push(began.elapsed());
        result
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let [median, worst] =
            [sorted.get(sorted.len() / 2), sorted.last()].map(|time| time.copied().unwrap_or_default());
        write!(f, "{} answers, p50 {median:.1?}, worst {worst:.1?}", sorted.len())
    }
}
