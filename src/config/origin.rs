//! Where the value of a setting was written.

use std::{fmt, path::PathBuf};

/// Where the value of a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// On the command line, with this flag.
    Flag(&'static str),
    /// In the environment, in this variable.
    Env(&'static str),
    /// In the `.env` of the working folder.
    Dotenv {
        /// The path of `.env`.
        path: PathBuf,
        /// The variable.
        name: &'static str,
    },
    /// In the configuration file.
    File {
        /// The path of the file.
        path: PathBuf,
        /// The line of the key, from 1.
        line: usize,
    },
    /// Nowhere: the default.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => f.write_str(name),
            Self::Env(name) => write!(f, "{name} (environment)"),
            Self::Dotenv { path, name } => write!(f, "{}:{name}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}
