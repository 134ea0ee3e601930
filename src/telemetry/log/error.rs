//! Why the log could not start.

use std::{error::Error, fmt, io, path::PathBuf};

/// Why the log could not start; its text is one line that says what to change.
#[derive(Debug)]
pub enum LogError {
    /// The folder of the log file cannot be made.
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log file cannot be opened for writing.
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Standard output cannot be used.
    Stdout(io::Error),
    /// The system gives no thread to write with.
    Thread(io::Error),
    /// Someone else installed a `tracing` subscriber.
    AlreadySet,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, source } => write!(
                f,
                "the log folder {path:?} cannot be made ({source}): set LOG_FILE (--log-file, log.file) to a path \
                 that can be written, or leave it out to log to standard output only"
            ),
            Self::File { path, source } => write!(
                f,
                "the log file {path:?} cannot be opened ({source}): set LOG_FILE (--log-file, log.file) to a path \
                 that can be written, or leave it out to log to standard output only"
            ),
            Self::Stdout(source) => {
                write!(
                    f,
                    "standard output cannot be used for the log ({source}): connect it, to /dev/null if need be"
                )
            }
            Self::Thread(source) => {
                write!(
                    f,
                    "the log has no thread to write with ({source}): raise the limit of threads or processes"
                )
            }
            Self::AlreadySet => f.write_str("the log was started twice in one process: start it once"),
        }
    }
}

impl Error for LogError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Folder { source, .. } | Self::File { source, .. } => Some(source),
            Self::Stdout(source) | Self::Thread(source) => Some(source),
            Self::AlreadySet => None,
        }
    }
}
