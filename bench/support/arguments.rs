//! The arguments of a benchmark.

use std::str::FromStr;

/// The command line. A run without `--bench` is a test's, and only shows that the benchmark works.
#[derive(Debug)]
pub struct Arguments(Vec<String>);

impl Arguments {
    /// This process's.
    pub fn read() -> Self {
        Self(std::env::args().collect())
    }

    /// Whether it is to measure.
    pub fn is_bench(&self) -> bool {
        self.0.iter().any(|argument| argument == "--bench")
    }

    /// What stands behind `flag`; `None` where nobody gave it.
    pub fn value<T: FromStr>(&self, flag: &str) -> Option<T> {
        let place = self.0.iter().position(|argument| argument == flag)?;
        let value = self.0.get(place + 1).and_then(|value| value.parse().ok());
        Some(value.unwrap_or_else(|| panic!("{flag} needs a value that it can have")))
    }
}
