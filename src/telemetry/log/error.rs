//! Why the log could not start.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why the log could not start; its text is one line that says what to change.
#[derive(Debug, Error)]
pub(crate) enum LogError {
    /// The folder of the log file cannot be made.
    #[error(
        "the log folder {path:?} cannot be made ({source}): set LOG_FILE (--log-file, log.file) to a path \
         that can be written, or leave it out to log to standard output only"
    )]
    Folder { path: PathBuf, source: io::Error },
    /// The log file cannot be opened for writing.
    #[error(
        "the log file {path:?} cannot be opened ({source}): set LOG_FILE (--log-file, log.file) to a path \
         that can be written, or leave it out to log to standard output only"
    )]
    File { path: PathBuf, source: io::Error },
    #[error("standard output cannot be used for the log ({0}): connect it, to /dev/null if need be")]
    Stdout(#[source] io::Error),
    /// The system gives no thread to write with.
    #[error("the log has no thread to write with ({0}): raise the limit of threads or processes")]
    Thread(#[source] io::Error),
    /// Another `tracing` subscriber is installed.
    #[error("the log was started twice in one process: start it once")]
    AlreadySet,
}
