//! Shows the progress of a run. Besides `main` and the log, only the progress of commands is written
//! to the terminal.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::tally::Tally;

/// How often a line is written if standard error is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// A bar on a terminal, else a line now and then; both on standard error.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    /// The bytes of the requests' file.
    length: u64,
    view: View,
}

#[derive(Debug)]
enum View {
    Bar(ProgressBar),
    /// The time of the last line.
    Lines(Instant),
}

impl Progress {
    /// Begins to show a run through a file of `length` bytes.
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

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Shows that `at` bytes of the file have been read.
    pub(super) fn show(&mut self, tally: &Tally, at: u64) {
        let text = || tally.progress(at, self.length, self.began.elapsed());
        match &mut self.view {
            View::Bar(bar) => {
                bar.set_message(text());
                bar.set_position(at);
            }
            View::Lines(last) if last.elapsed() >= LINE_INTERVAL => {
                *last = Instant::now();
                let percent = at * 100 / self.length.max(1);
                // An error is ignored: standard error may be closed.
                let _ = writeln!(io::stderr(), "{percent}%, {}", text());
            }
            View::Lines(_) => {}
        }
    }

    /// Removes the bar.
    pub(super) fn end(self) {
        if let View::Bar(bar) = self.view {
            bar.finish_and_clear();
        }
    }
}
