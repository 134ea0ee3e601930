//! A wall clock that a test can set for its sidecache.

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

use super::Setup;

/// The clock. The monotonic clock goes on undisturbed, as when an operator or NTP sets a machine's time.
#[derive(Debug)]
pub(crate) struct WallClock {
    dir: TempDir,
}

impl WallClock {
    /// A clock with the right time.
    pub(crate) fn new() -> Self {
        let clock = Self { dir: tempfile::tempdir().expect("a temporary folder") };
        let source = clock.dir.path().join("clock.c");
        fs::write(&source, include_str!("wall_clock.c")).expect("a file");
        // The one tool that Rust itself links with.
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(clock.library()).arg(source);
        assert!(compiler.status().expect("cc").success(), "the clock compiles");
        clock.set(0);
        clock
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join("clock.so")
    }

    fn offset(&self) -> PathBuf {
        self.dir.path().join("offset")
    }

    /// From now on it is this many seconds fast, or slow if negative.
    pub(crate) fn set(&self, offset: i64) {
        // In place, because the process has mapped this file.
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(self.offset());
        let file = file.expect("a file");
        std::os::unix::fs::FileExt::write_all_at(&file, &offset.to_ne_bytes(), 0).expect("it is written");
    }

    /// `setup` with this clock.
    pub(crate) fn rule(&self, setup: Setup) -> Setup {
        let text = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
        setup.env("LD_PRELOAD", &text(self.library())).env("WALL_CLOCK_OFFSET", &text(self.offset()))
    }
}
