//! The `error` line.

use std::{error::Error, fmt::Write, panic::PanicHookInfo};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::Level;

use super::ERROR;

/// A chain of causes longer than this is cut.
const MAX_CAUSES: usize = 16;

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ErrorEvent<'a> {
    #[serde(skip)]
    pub(crate) request_id: Option<&'a str>,
    /// The name of the error, as in the body of the response.
    pub(crate) error_type: &'a str,
    pub(crate) error_message: &'a str,
    pub(crate) context: &'a Map<String, Value>,
    /// The chain of causes, from [`exc_info`].
    pub(crate) exc_info: Option<&'a str>,
    /// `module_path!()` of where it was noticed.
    pub(crate) module: &'a str,
    /// `line!()` of where it was noticed.
    pub(crate) line: u32,
}

pub(crate) fn error(event: &ErrorEvent<'_>) {
    let ErrorEvent { request_id, error_type, error_message, .. } = *event;
    emit!(ERROR, Level::ERROR, "error", request_id, format!("{error_type}: {error_message}"), event);
}

/// Logs where a panic was, and not its message, which may quote what was being read.
pub(crate) fn panicked(panic: &PanicHookInfo<'_>) {
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
pub(crate) fn exc_info(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    for cause in std::iter::successors(error.source(), |cause| (*cause).source()).take(MAX_CAUSES) {
        let cause = cause.to_string();
        // Some errors have their cause in their own text already.
        if !last.ends_with(&cause) {
            let _ = write!(text, ": {cause}");
        }
        last = cause;
    }
    text
}
