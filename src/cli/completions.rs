//! `sidecache completions`: prints what a shell needs to complete the command line.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::{Cli, Exit};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let mut script = Vec::new();
    generate(arguments.shell, &mut Cli::command(), "sidecache", &mut script);
    Exit::success(String::from_utf8_lossy(&script).into_owned())
}
