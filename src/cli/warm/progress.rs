//! How far a run has come, while it runs: the one place besides `main` and the log that writes to the terminal.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::tally::Tally;

/// Where nobody watches, a line this often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// On a terminal a bar, elsewhere a line now and then; both on standard error.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    /// The bytes of the file.
    length: u64,
    view: View,
}

#[derive(Debug)]
enum View {
    Bar(ProgressBar),
    /// When the last line was written.
    Lines(Instant),
}

impl Progress {
    /// For a file of `length` bytes.
    pub(super) fn new(length: u64) -> Self {
        let began = Instant::now();
        let view = if io::stderr().is_terminal() {
            let bar = ProgressBar::new(length);
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3}%  {msg}") {
                bar.set_style(style);
            }
            View::Bar(bar)
        } else {
            View::Lines(began)
        };
        Self { began, length, view }
    }

    /// The time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Shows that `at` bytes of the file are behind.
    pub(super) fn show(&mut self, tally: &Tally, at: u64) {
        let told = || tally.progress(at, self.length, self.began.elapsed());
        match &mut self.view {
            View::Bar(bar) => {
                bar.set_message(told());
                bar.set_position(at);
            }
            View::Lines(last) if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                let percent = at * 100 / self.length.max(1);
                // Nobody may be there to read it.
                let _ = writeln!(io::stderr(), "{percent}%, {}", told());
            }
            View::Lines(_) => {}
        }
    }

    /// Takes the bar away.
    pub(super) fn end(self) {
        if let View::Bar(bar) = self.view {
            bar.finish_and_clear();
        }
    }
}
