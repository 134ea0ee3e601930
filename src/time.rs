//! Durations as numbers, and the wall clock's time as text.
//!
//! Each response and each line of the log has some of these, so the digits are written in plain steps: the
//! formatter would take more time than all the rest of the line.

use std::{
    fmt,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Writes a duration in seconds, to the microsecond: `0.000012`.
///
/// # Errors
/// Those of `out`.
pub(crate) fn write_seconds(duration: Duration, out: &mut impl fmt::Write) -> fmt::Result {
    let mut rest = *b".000000";
    decimal(duration.subsec_micros().into(), &mut rest[1..]);
    out.write_str(itoa::Buffer::new().format(duration.as_secs()))?;
    out.write_str(digits_text(&rest))
}

/// Writes a duration in milliseconds, rounded to three decimals, without zeros at the end: `12`, `0.5`.
///
/// # Errors
/// Those of `out`.
pub(crate) fn write_millis(duration: Duration, out: &mut impl fmt::Write) -> fmt::Result {
    let micros = rounded_micros(duration);
    out.write_str(itoa::Buffer::new().format(micros / 1000))?;
    let mut rest = *b".000";
    decimal(micros % 1000, &mut rest[1..]);
    let rest = digits_text(&rest).trim_end_matches('0');
    if rest == "." { Ok(()) } else { out.write_str(rest) }
}

/// Milliseconds as a number, rounded to three decimals.
pub(crate) fn rounded_millis(duration: Duration) -> f64 {
    rounded_micros(duration) as f64 / 1e3
}

fn rounded_micros(duration: Duration) -> u64 {
    micros(duration.saturating_add(Duration::from_nanos(500)))
}

/// Whole milliseconds, at most `u64::MAX`.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whole microseconds, at most `u64::MAX`.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Moments as whole microseconds since the clock's start, so that an atomic number can hold one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MicrosClock {
    start: Instant,
}

impl MicrosClock {
    /// A clock that starts at `start`.
    pub(crate) const fn new(start: Instant) -> Self {
        Self { start }
    }

    /// The microseconds from the start to `at`; 0 for a moment before the start.
    pub(crate) fn micros(self, at: Instant) -> u64 {
        micros(at.saturating_duration_since(self.start))
    }
}

/// The time since the Unix epoch; 0 before it.
pub(crate) fn since_epoch(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Milliseconds since the Unix epoch; 0 before it.
pub(crate) fn unix_millis(now: SystemTime) -> u64 {
    millis(since_epoch(now))
}

/// Seconds since the Unix epoch, to the millisecond.
pub(crate) fn unix_seconds(now: SystemTime) -> f64 {
    unix_millis(now) as f64 / 1000.0
}

/// RFC 3339 as [`write_rfc3339`] writes it.
pub(crate) fn rfc3339(now: SystemTime) -> String {
    let mut out = Vec::new();
    write_rfc3339(now, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Writes RFC 3339 in UTC with milliseconds; a time before 1970 as 1970.
pub(crate) fn write_rfc3339(now: SystemTime, out: &mut Vec<u8>) {
    let since = since_epoch(now);
    let (year, month, day) = civil_from_days(since.as_secs() / 86_400);
    let second = since.as_secs() % 86_400;
    let hour = second / 3600;
    let minute = second / 60 % 60;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let parts =
        [(year, 0..4), (month, 5..7), (day, 8..10), (hour, 11..13), (minute, 14..16), (second % 60, 17..19)];
    for (number, place) in parts {
        decimal(number, &mut text[place]);
    }
    decimal(since.subsec_millis().into(), &mut text[20..23]);
    out.extend_from_slice(&text);
}

/// Days since 1970-01-01 to year, month and day: `civil_from_days` of Howard Hinnant's "chrono-Compatible
/// Low-Level Date Algorithms", for days that are not negative. Its year begins in March, so that the leap day
/// comes last.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Fills `out` with the last decimal digits of `number`, zeros before them.
fn decimal(mut number: u64, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn digits_text(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fill_their_places() {
        for (number, expected) in [(0, "000"), (7, "007"), (999, "999"), (1234, "234")] {
            let mut out = [0; 3];
            decimal(number, &mut out);
            assert_eq!(digits_text(&out), expected, "{number}");
        }
    }

    #[test]
    fn seconds_have_six_places() {
        for (micros, text) in
            [(0, "0.000000"), (12, "0.000012"), (1_234_567, "1.234567"), (60_000_000, "60.000000")]
        {
            let mut written = String::new();
            write_seconds(Duration::from_micros(micros), &mut written).expect("text");
            assert_eq!(written, text);
        }
    }

    #[test]
    fn milliseconds_have_three_places_at_most() {
        for (nanos, text) in [
            (0, "0"),
            (499, "0"),
            (500, "0.001"),
            (42_000, "0.042"),
            (500_000, "0.5"),
            (999_999_500, "1000"),
            (234_560_000, "234.56"),
            (3_456_780_000_000, "3456780"),
        ] {
            let mut written = String::new();
            write_millis(Duration::from_nanos(nanos), &mut written).expect("text");
            assert_eq!(written, text);
        }
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
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(millis)), text);
        }
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
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
}
