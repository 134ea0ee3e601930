//! Parses and shows durations and sizes.
//!
//! | written | means |
//! | --- | --- |
//! | `30` | thirty seconds, or thirty bytes |
//! | `500ms`, `30s`, `30m`, `24h`, `7d` | a duration |
//! | `64KiB`, `256MiB`, `1GiB` | a size, in steps of 1024 |
//! | `64KB`, `256MB`, `1GB`, `100B` | a size, in steps of 1000; the case of a size's unit does not count |

use std::time::Duration;

use super::quote::quote;

/// The longest duration of a setting: a hundred years. A longer one is a mistake, and could overflow when a
/// store or a timer adds it to today's date.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// The units of a duration, in milliseconds, smallest first.
const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// The units of a size, in bytes, smallest first.
const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// Parses whole seconds, or a whole number and a unit.
///
/// # Errors
/// A text for the operator, if this is no duration, or one beyond [`MAX_DURATION`].
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = split(text);
    let unit = if unit.is_empty() { "s" } else { unit };
    let factor = DURATIONS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let Some(factor) = factor.filter(|_| !digits.is_empty()) else {
        return Err(format!("{} is no duration; write whole seconds or 500ms, 30s, 30m, 24h", quote(text)));
    };
    times(digits, factor)
        .map(Duration::from_millis)
        .filter(|duration| *duration <= MAX_DURATION)
        .ok_or_else(|| format!("{} is longer than a hundred years", quote(text)))
}

/// Parses a size in bytes: a whole number, with or without a unit.
///
/// # Errors
/// A text for the operator, if this is no size, or one that 64 bits cannot hold.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, unit) = split(text);
    let unit = if unit.is_empty() { "B" } else { unit };
    let factor = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor);
    let Some(factor) = factor.filter(|_| !digits.is_empty()) else {
        return Err(format!("{} is no size; write whole bytes or 64KiB, 256MiB, 1GiB", quote(text)));
    };
    times(digits, factor).ok_or_else(|| format!("{} is more bytes than can be counted", quote(text)))
}

/// Shows a duration in the largest unit up to hours that leaves it whole: `500ms`, `30m`, `24h`. Anything
/// finer than a millisecond is cut off, since settings are whole milliseconds.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    // Without days: the documentation writes one as `24h`.
    let (unit, factor) = largest(&DURATIONS[..4], |factor| millis.is_multiple_of(u128::from(factor)));
    format!("{}{unit}", millis / u128::from(factor))
}

/// Shows a size in the largest unit of 1024 that leaves it whole: `256MiB`, `1000B`.
pub(crate) fn show_size(bytes: u64) -> String {
    if bytes == 0 {
        return "0B".to_owned();
    }
    let binary = [SIZES[0], SIZES[2], SIZES[4], SIZES[6]];
    let (unit, factor) = largest(&binary, |factor| bytes.is_multiple_of(factor));
    format!("{}{unit}", bytes / factor)
}

/// The leading digits, and what follows them.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn times(digits: &str, factor: u64) -> Option<u64> {
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// The largest of `units` that fits. The smallest always does.
fn largest(units: &[(&'static str, u64)], fits: impl Fn(u64) -> bool) -> (&'static str, u64) {
    units.iter().rev().find(|(_, factor)| fits(*factor)).copied().unwrap_or(("", 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_durations() {
        for (text, millis) in [
            ("0", 0),
            ("30", 30_000),
            ("500ms", 500),
            ("0ms", 0),
            ("30s", 30_000),
            ("30m", 1_800_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("36500d", 3_153_600_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in ["", "abc", "-5", "+5", "1.5s", "30 s", " 30", "1h30m", "30S", "5x", "s", "٣s"] {
            let message = parse_duration(text).expect_err(text);
            assert!(message.contains("is no duration; write whole seconds or 500ms"), "{text}: {message}");
        }
        for text in ["36501d", "99999999999999999999999", "18446744073709551615h"] {
            assert!(parse_duration(text).expect_err(text).contains("longer than a hundred years"), "{text}");
        }
    }

    #[test]
    fn reads_sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1_000),
            ("100B", 100),
            ("64KiB", 65_536),
            ("64KB", 64_000),
            ("64kb", 64_000),
            ("256MiB", 268_435_456),
            ("256mib", 268_435_456),
            ("256MB", 256_000_000),
            ("1GiB", 1_073_741_824),
            ("1GB", 1_000_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in ["", "abc", "-1", "1.5GiB", "64 KiB", "256M", "1TiB", "KiB"] {
            assert!(
                parse_size(text).expect_err(text).contains("is no size; write whole bytes or 64KiB"),
                "{text}"
            );
        }
        for text in ["18446744073709551616", "18446744073709551615KiB", "17179869184GiB"] {
            assert!(parse_size(text).expect_err(text).contains("more bytes than can be counted"), "{text}");
        }
    }

    #[test]
    fn shows_the_largest_whole_unit() {
        for (millis, text) in [
            (0, "0s"),
            (500, "500ms"),
            (1_500, "1500ms"),
            (90_000, "90s"),
            (1_800_000, "30m"),
            (86_400_000, "24h"),
        ] {
            assert_eq!(show_duration(Duration::from_millis(millis)), text);
        }
        for (bytes, text) in
            [(0, "0B"), (1_000, "1000B"), (65_536, "64KiB"), (1 << 30, "1GiB"), (3 << 19, "1536KiB")]
        {
            assert_eq!(show_size(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(bytes: u64, millis in 0..=MAX_DURATION.as_millis() as u64) {
            prop_assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
            let wanted = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&show_duration(wanted)), Ok(wanted));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }
}
