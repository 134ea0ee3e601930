//! One line of the log, as bytes.

use std::{io::Write, time::SystemTime};

use crate::{config::LogLevel, time::write_rfc3339};

/// What a line says; the time comes from outside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) level: LogLevel,
    pub(super) logger: &'a str,
    pub(super) event_type: &'a str,
    pub(super) message: &'a str,
    pub(super) request_id: Option<&'a str>,
    /// The further members, a JSON object without its braces.
    pub(super) members: &'a str,
    /// How many lines were dropped so far, where the reader has not been told.
    pub(super) dropped: Option<u64>,
}

/// The line as one JSON object, its newline included.
pub(super) fn format_line(now: SystemTime, line: &Line<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(192 + line.message.len() + line.members.len());
    out.extend_from_slice(b"{\"timestamp\":\"");
    write_rfc3339(now, &mut out);
    out.extend_from_slice(b"\",\"level\":\"");
    out.extend_from_slice(level_name(line.level).as_bytes());
    out.push(b'"');
    text_member("logger", line.logger, &mut out);
    text_member("event_type", line.event_type, &mut out);
    text_member("message", line.message, &mut out);
    if let Some(id) = line.request_id {
        text_member("request_id", id, &mut out);
    }
    if !line.members.is_empty() {
        out.push(b',');
        out.extend_from_slice(line.members.as_bytes());
    }
    if let Some(dropped) = line.dropped {
        // Writing to a Vec cannot fail, here and below.
        let _ = write!(out, ",\"log_dropped\":{dropped}");
    }
    out.extend_from_slice(b"}\n");
    out
}

fn text_member(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    let _ = serde_json::to_writer(&mut *out, value);
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
        let line = Line {
            level: LogLevel::Warning,
            logger: "sidecache",
            event_type: "lifecycle",
            message: "a \"b\"\r\n\u{1b}[0m",
            request_id: None,
            members: "",
            dropped: None,
        };
        let expected = concat!(
            r#"{"timestamp":"1970-01-01T00:00:00.000Z","level":"WARNING","logger":"sidecache","#,
            r#""event_type":"lifecycle","message":"a \"b\"\r\n\u001b[0m"}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(format_line(UNIX_EPOCH, &line)).unwrap(), expected);
    }
}
