//! The binary: parses, runs, prints, exits. But for it, the log and `warm`'s progress alone print, and nothing else exits.

use std::{io::Write, process::ExitCode};

use clap::Parser;
use sidecache::cli::{self, Cli};

fn main() -> ExitCode {
    let ending = cli::run(&Cli::parse());
    // A closed pipe is no reason to panic.
    let _ = std::io::stdout().write_all(ending.output.as_bytes());
    let complaint = ending.complaint.trim_end();
    if !complaint.is_empty() {
        let _ = writeln!(std::io::stderr(), "{complaint}");
    }
    ending.code
}
