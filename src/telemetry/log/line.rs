//! One line of the log as bytes: a JSON object that is written part by part, into one buffer.

use std::{io::Write, time::SystemTime};

use serde::Serialize;

use crate::{config::LogLevel, time::write_rfc3339};

/// A line that is being written.
pub(super) struct Line<'a>(&'a mut Vec<u8>);

impl<'a> Line<'a> {
    /// Begins a line in `out` with the members that every line has. `logger` is one of ours, and needs no
    /// escape.
    pub(super) fn begin(out: &'a mut Vec<u8>, now: SystemTime, level: LogLevel, logger: &str) -> Self {
        out.extend_from_slice(b"{\"timestamp\":\"");
        write_rfc3339(now, out);
        out.extend_from_slice(b"\",\"level\":\"");
        out.extend_from_slice(level_name(level).as_bytes());
        out.extend_from_slice(b"\",\"logger\":\"");
        out.extend_from_slice(logger.as_bytes());
        out.push(b'"');
        Self(out)
    }

    /// Adds a member; `name` is one of ours, and needs no escape.
    pub(super) fn member(&mut self, name: &str, value: impl Serialize) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        // Writing to a Vec cannot fail, here and below.
        let _ = serde_json::to_writer(&mut *self.0, &value);
    }

    /// Adds members as they are: a JSON object without its braces.
    pub(super) fn members(&mut self, members: &str) {
        if !members.is_empty() {
            self.0.push(b',');
            self.0.extend_from_slice(members.as_bytes());
        }
    }

    /// Ends the line with its newline. `dropped` is the count of dropped lines, if no line has reported it
    /// yet.
    pub(super) fn end(self, dropped: Option<u64>) {
        if let Some(dropped) = dropped {
            let _ = write!(self.0, ",\"log_dropped\":{dropped}");
        }
        self.0.extend_from_slice(b"}\n");
    }
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "DEBUG",
        LogLevel::Info => "INFO",
        LogLevel::Warning => "WARNING",
        LogLevel::Error => "ERROR",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn absent_parts_leave_no_trace() {
        let mut out = Vec::new();
        let mut line = Line::begin(&mut out, UNIX_EPOCH, LogLevel::Warning, "sidecache");
        line.member("message", "a \"b\"\r\n\u{1b}[0m");
        line.members("");
        line.end(None);
        let expected = concat!(
            r#"{"timestamp":"1970-01-01T00:00:00.000Z","level":"WARNING","logger":"sidecache","#,
            r#""message":"a \"b\"\r\n\u001b[0m"}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
