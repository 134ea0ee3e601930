//! `sidecache presets`: lists the presets, or prints one as a piece of a configuration file.

use clap::Args;

use super::Exit;
use crate::config::{PRESETS, preset};

#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// The preset to print.
    name: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let Some(name) = &arguments.name else {
        let width = PRESETS.iter().map(|preset| preset.name.len()).max().unwrap_or(0);
        let line = |(name, about)| format!("{name:width$}  {about}\n");
        return Exit::success(PRESETS.iter().map(|preset| line((preset.name, preset.about()))).collect());
    };
    match preset(name) {
        Ok(preset) => Exit::success(preset.text.to_owned()),
        Err(message) => Exit::failure(message),
    }
}
