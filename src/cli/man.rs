//! `sidecache man`: prints the manual page of sidecache, or of one of its commands.

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use super::{Cli, Exit};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The command [default: sidecache itself].
    command: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let mut all = Cli::command().disable_help_subcommand(true);
    all.build();
    let command = match &arguments.command {
        None => Some(&all),
        Some(name) => all.find_subcommand(name),
    };
    let Some(command) = command else {
        let names: Vec<_> = all.get_subcommands().map(clap::Command::get_name).collect();
        return Exit::failure(format!("there is no such command; the commands are {}", names.join(", ")));
    };
    let mut page = Vec::new();
    match Man::new(command.clone()).render(&mut page) {
        // The crate has what follows a command's help under a heading that says nothing, and fills its lines.
        Ok(()) => {
            let page = String::from_utf8_lossy(&page);
            Exit::success(page.replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n.nf\n"))
        }
        Err(error) => Exit::failure(error),
    }
}
