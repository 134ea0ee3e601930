//! The `lifecycle` line: start, ready, reload, store lost and back, drain, stop.

use serde_json::{Map, Value};
use tracing::Level;

use super::SIDECACHE;
use crate::config::LogLevel;

/// The members of every line; no further member may have these names.
const RESERVED: [&str; 7] =
    ["timestamp", "level", "logger", "event_type", "message", "request_id", "log_dropped"];

pub(crate) fn lifecycle(level: LogLevel, message: &str, members: &Map<String, Value>) {
    match level {
        LogLevel::Debug => {
            emit!(SIDECACHE, Level::DEBUG, "lifecycle", None::<&str>, message, &unreserved(members))
        }
        LogLevel::Info => {
            emit!(SIDECACHE, Level::INFO, "lifecycle", None::<&str>, message, &unreserved(members))
        }
        LogLevel::Warning => {
            emit!(SIDECACHE, Level::WARN, "lifecycle", None::<&str>, message, &unreserved(members))
        }
        LogLevel::Error => {
            emit!(SIDECACHE, Level::ERROR, "lifecycle", None::<&str>, message, &unreserved(members))
        }
    }
}

/// The members without those of every line: a line never has a member twice.
fn unreserved(members: &Map<String, Value>) -> Map<String, Value> {
    let unreserved = members.iter().filter(|(name, _)| !RESERVED.contains(&name.as_str()));
    unreserved.map(|(name, value)| (name.clone(), value.clone())).collect()
}
