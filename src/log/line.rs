//! One line of the log, as bytes.

use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::config::LogLevel;

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
    timestamp(now, &mut out);
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

/// RFC 3339 in UTC with milliseconds; a clock before 1970 shows 1970.
fn timestamp(now: SystemTime, out: &mut Vec<u8>) {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let millis = since.subsec_millis();
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z");
}

/// Days since 1970-01-01 to year, month and day: `civil_from_days` of Howard Hinnant's "chrono-Compatible Low-Level
/// Date Algorithms", for days that are not negative. Its year begins in March, so that the leap day comes last.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shown(at: SystemTime) -> String {
        let mut out = Vec::new();
        timestamp(at, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn timestamps_are_rfc_3339() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
            (1_769_941_845_123, "2026-02-01T10:30:45.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_000, "9999-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(shown(UNIX_EPOCH + Duration::from_millis(millis)), text);
        }
        assert_eq!(shown(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn days_are_those_of_httpdate() {
        // HTTP dates are made by other code: every day of two centuries has to agree.
        for day in 0..73_000 {
            let (year, month, date) = civil_from_days(day);
            let http = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(day * 86_400));
            let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let name = months[usize::try_from(month).unwrap() - 1];
            assert!(http.contains(&format!(", {date:02} {name} {year} ")), "{day}: {http}");
        }
    }

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
