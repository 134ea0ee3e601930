//! Failures.

use std::{error::Error, fmt::Write, panic::PanicHookInfo};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::Level;

use super::ERROR;

/// A chain of causes longer than this is cut.
const MAX_CAUSES: usize = 16;

/// Something failed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ErrorEvent<'a> {
    /// The request it failed for.
    #[serde(skip)]
    pub request_id: Option<&'a str>,
    /// The name of the error, as in the error's body.
    pub error_type: &'a str,
    /// What went wrong.
    pub error_message: &'a str,
    /// What it was about.
    pub context: &'a Map<String, Value>,
    /// The chain of causes, from [`exc_info`], where there is one.
    pub exc_info: Option<&'a str>,
    /// Where it was noticed: `module_path!()`.
    pub module: &'a str,
    /// Where it was noticed: `line!()`.
    pub line: u32,
}

/// Logs that something failed.
pub fn error(event: &ErrorEvent<'_>) {
    let ErrorEvent { request_id, error_type, error_message, .. } = *event;
    emit!(ERROR, Level::ERROR, "error", request_id, format!("{error_type}: {error_message}"), event);
}

/// Logs a panic: where it was, and not its message, which may quote what was being read.
pub fn panicked(panic: &PanicHookInfo<'_>) {
    error(&ErrorEvent {
        request_id: None,
        error_type: "InternalException",
        error_message: "a fault in sidecache: a task panicked",
        context: &Map::new(),
        exc_info: None,
        module: panic.location().map_or("unknown", |place| place.file()),
        line: panic.location().map_or(0, |place| place.line()),
    });
}

/// An error and its causes in one text, outermost first.
pub fn exc_info(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    for cause in std::iter::successors(error.source(), |cause| (*cause).source()).take(MAX_CAUSES) {
        let cause = cause.to_string();
        // Many an error says its cause in its own text already.
        if !last.ends_with(&cause) {
            let _ = write!(text, ": {cause}");
        }
        last = cause;
    }
    text
}
