//! Shows how much of the logs is read: a bar on a terminal, nothing elsewhere.

use std::{
    cell::Cell,
    io::{self, IsTerminal},
};

use indicatif::{ProgressBar, ProgressStyle};

/// The bar moves after so many bytes.
const STEP: u64 = 1 << 22;

#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    /// The bytes that the bar does not show yet.
    unshown: Cell<u64>,
}

impl Progress {
    /// Begins to show the reading of so many bytes, if that is known.
    pub(super) fn new(length: Option<u64>) -> Self {
        let bar = io::stderr().is_terminal().then(|| match length {
            Some(length) => {
                let bar = ProgressBar::new(length);
                if let Ok(style) =
                    ProgressStyle::with_template("{bar:30} {percent:>3}%  {binary_bytes_per_sec}")
                {
                    bar.set_style(style);
                }
                bar
            }
            None => ProgressBar::new_spinner(),
        });
        Self { bar, unshown: Cell::new(0) }
    }

    /// So many bytes more are read.
    pub(super) fn add(&self, bytes: u64) {
        let Some(bar) = &self.bar else { return };
        self.unshown.set(self.unshown.get() + bytes);
        if self.unshown.get() >= STEP {
            bar.inc(self.unshown.take());
        }
    }

    /// Removes the bar.
    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
