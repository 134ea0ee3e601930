//! The binary: parses the command line, runs the command, prints, exits.
//!
//! Besides this file, only the log and the progress of commands print, and nothing else exits.

use std::{io::Write, process::ExitCode};

use clap::Parser;
use sidecache::cli::{self, Cli};

fn main() -> ExitCode {
    let exit = cli::run(&Cli::parse());
    // With `print!`, a closed pipe would be a panic.
    let _ = std::io::stdout().write_all(exit.stdout.as_bytes());
    let errors = exit.stderr.trim_end();
    if !errors.is_empty() {
        let _ = writeln!(std::io::stderr(), "{errors}");
    }
    exit.code
}
