//! Values as they were written, and the formats that several settings share.

use std::{fmt, num::NonZeroUsize, time::Duration};

use super::{
    quote::quote,
    suggest::{closest, did_you_mean},
    units,
};

/// A table of the file.
#[derive(Clone)]
pub(super) struct Table {
    /// The line at which it begins, from 1.
    pub(super) line: usize,
    /// From top to bottom.
    pub(super) entries: Vec<Entry>,
}

/// A key of the file and its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: Value,
}

/// A value, before its setting's format is known.
#[derive(Clone)]
pub(super) enum Value {
    /// A default, or from outside the file: a text that may be a number, a list and so on.
    Bare(String),
    /// A text of the file.
    Text(String),
    /// An integer of the file.
    Integer(i128),
    /// A number of the file that is no integer: its text.
    Fraction(String),
    /// Another type of TOML, which no setting takes: its description.
    Other(&'static str),
    /// `true` or `false` in the file.
    Bool(bool),
    /// A list of the file.
    List(Vec<Value>),
    /// A table of the file.
    Table(Table),
}

impl Value {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Bare(_) | Self::Text(_) => "a text",
            Self::Integer(_) => "an integer",
            Self::Fraction(_) => "a number with a fraction",
            Self::Other(what) => what,
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    /// The error for a value of the wrong type. It has no value, since that may be a secret.
    pub(super) fn mismatch(&self, takes: &str) -> String {
        format!("takes {takes}; found {}", self.type_name())
    }

    /// A text that is not empty. `takes` is for the error: what the setting takes.
    pub(super) fn text(&self, takes: &str) -> Result<&str, String> {
        match self {
            Self::Bare(text) | Self::Text(text) if text.is_empty() => {
                Err(format!("takes {takes}; found an empty text"))
            }
            Self::Bare(text) | Self::Text(text) => Ok(text),
            other => Err(other.mismatch(takes)),
        }
    }

    /// The texts of a list. Outside the file, commas separate them.
    pub(super) fn texts(&self, takes: &str) -> Result<Vec<&str>, String> {
        match self {
            Self::Bare(text) => Ok(text.split(',').map(str::trim).collect()),
            Self::List(items) => items.iter().map(|item| item.text(takes)).collect(),
            other => Err(other.mismatch(takes)),
        }
    }

    /// The text of a number, perhaps with a unit.
    fn number(&self, takes: &str) -> Result<String, String> {
        match self {
            Self::Integer(number) => Ok(number.to_string()),
            other => other.text(takes).map(str::to_owned),
        }
    }
}

/// How the value of a setting is parsed and shown.
pub(super) struct Format<T> {
    /// The error says what is wrong with the value.
    pub(super) parse: fn(&Value) -> Result<T, String>,
    /// Shows equal values alike, however they were written.
    pub(super) show: fn(&T) -> String,
}

pub(super) const DURATION: Format<Duration> = Format { parse: duration, show: |d| units::show_duration(*d) };

/// A duration to wait for. It is not 0, with which everything would fail.
pub(super) const TIMEOUT: Format<Duration> = Format {
    parse: |value| duration(value).and_then(|d| if d.is_zero() { Err(not_positive()) } else { Ok(d) }),
    show: DURATION.show,
};

/// How long what is known of Redis holds. Redis looks at its clock ten times a second: less would be too short.
pub(super) const STALENESS: Format<Duration> = Format {
    parse: |value| match duration(value)? {
        staleness if staleness < Duration::from_millis(500) => {
            Err(format!("{} is too short; write 500ms or more", units::show_duration(staleness)))
        }
        staleness => Ok(staleness),
    },
    show: DURATION.show,
};

/// A duration, in milliseconds without a unit.
pub(super) const MILLIS: Format<Duration> = Format {
    parse: |value| {
        let text = value.number("milliseconds or a duration")?;
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        units::parse_duration(&if plain { format!("{text}ms") } else { text })
    },
    show: DURATION.show,
};

/// A size of at least one byte.
pub(super) const SIZE: Format<u64> = Format { parse: size, show: |bytes| units::show_size(*bytes) };

/// A size that may be 0.
pub(super) const BOUND: Format<u64> = Format { parse: bound, show: SIZE.show };

/// A size of at least one byte that fits into memory.
pub(super) const LENGTH: Format<usize> = Format {
    parse: |value| size(value)?.try_into().map_err(|_| "is more than this machine can address".to_owned()),
    show: |bytes| units::show_size(*bytes as u64),
};

/// A number that may be 0.
pub(super) const COUNT: Format<usize> = Format { parse: count, show: usize::to_string };

/// A number of at least 1.
pub(super) const LIMIT: Format<NonZeroUsize> = Format {
    parse: |value| NonZeroUsize::new(count(value)?).ok_or_else(not_positive),
    show: NonZeroUsize::to_string,
};

/// The most threads that serve clients: more is a mistake.
const MAX_WORKERS: usize = 1024;

/// How many threads serve clients; `None` for one a core.
pub(super) const WORKERS: Format<Option<NonZeroUsize>> = Format {
    parse: |value| match value {
        Value::Text(text) | Value::Bare(text) if text == "auto" => Ok(None),
        Value::Text(_) => Err(value.mismatch("a whole number or \"auto\"")),
        _ => match (LIMIT.parse)(value)? {
            count if count.get() > MAX_WORKERS => Err(format!("{count} is more than {MAX_WORKERS}")),
            count => Ok(Some(count)),
        },
    },
    show: |count| count.map_or_else(|| "auto".to_owned(), |count| count.to_string()),
};

/// A share, from 0 to 1.
pub(super) const SHARE: Format<f64> =
    Format { parse: |value| decimal(value, 1.0, "a number from 0 to 1, as in 0.01"), show: f64::to_string };

/// A number from 0 to `most`; `how` says so.
pub(super) fn decimal(value: &Value, most: f64, how: &str) -> Result<f64, String> {
    let text = match value {
        Value::Fraction(text) => text.clone(),
        other => other.number(how)?,
    };
    let number = text.parse().ok().filter(|number| (0.0..=most).contains(number));
    number.ok_or_else(|| format!("{} is not {how}", quote(&text)))
}

/// A percentage, in hundredths of a percent: what is shown is what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Percent(u32);

impl Percent {
    pub(super) const ZERO: Self = Self(0);

    pub(super) const fn whole(percent: u32) -> Self {
        Self(percent * 100)
    }

    pub(super) const fn hundredths(hundredths: u32) -> Self {
        Self(hundredths)
    }

    /// Parses a number with two decimals at most, and a percent sign.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) fn parse(value: &Value) -> Result<Self, String> {
        let takes = "a percentage, as in \"1%\"";
        let text = value.text(takes)?;
        let no_percent = || format!("{} is not {takes} or \"2.5%\"", quote(text));
        let number = text.strip_suffix('%').ok_or_else(no_percent)?.trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let is_plain = |digits: &str, most| {
            (1..=most).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
        };
        if !is_plain(whole, 4) || !is_plain(decimals, 2) {
            return Err(no_percent());
        }
        let hundredths = format!("{whole}{decimals:0<2}").parse();
        hundredths.map(Self).map_err(|_| no_percent())
    }

    /// Between 0 and 1, for what is at most 100 %.
    pub(super) fn share(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 100.0)
    }
}

pub(super) const BOOL: Format<bool> = Format {
    parse: |value| match value {
        Value::Bool(value) => Ok(*value),
        Value::Bare(text) => text.parse().map_err(|_| format!("{} is neither true nor false", quote(text))),
        other => Err(other.mismatch("true or false")),
    },
    show: bool::to_string,
};

pub(super) const TEXT: Format<String> = Format {
    parse: |value| {
        let text = value.text("a text")?;
        if text.contains(char::is_control) {
            return Err(format!("{} has control characters", quote(text)));
        }
        Ok(text.to_owned())
    },
    show: String::clone,
};

fn not_positive() -> String {
    "must be more than 0".to_owned()
}

fn duration(value: &Value) -> Result<Duration, String> {
    units::parse_duration(&value.number("a duration")?)
}

fn size(value: &Value) -> Result<u64, String> {
    match bound(value)? {
        0 => Err(not_positive()),
        bytes => Ok(bytes),
    }
}

fn bound(value: &Value) -> Result<u64, String> {
    units::parse_size(&value.number("a size")?)
}

/// At most 32 bits: enough for everything that is counted, and few enough for tokio's semaphore.
fn count(value: &Value) -> Result<usize, String> {
    let number = match value {
        Value::Integer(number) => *number,
        Value::Bare(text) => text.parse().map_err(|_| format!("{} is no whole number", quote(text)))?,
        other => return Err(other.mismatch("a whole number")),
    };
    u32::try_from(number)
        .ok()
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| format!("{number} is not between 0 and {}", u32::MAX))
}

/// Parses a name: the value beside it in `known`.
pub(super) fn one_of<T: Copy>(value: &Value, known: &[(&'static str, T)]) -> Result<T, String> {
    let names = || known.iter().map(|(name, _)| *name);
    let text = value.text(&format!("one of {}", join(names())))?;
    known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let all = join(names());
        format!("{} is none of {all}{}", quote(text), did_you_mean(closest(text, names())))
    })
}

/// Parses each text of a list.
pub(super) fn list_of<T>(
    value: &Value,
    takes: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    value.texts(takes)?.into_iter().map(parse).collect()
}

/// Refuses names that are there twice.
pub(super) fn refuse_repeats(names: &[&str]) -> Result<(), String> {
    match names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        Some((_, twice)) => Err(format!("has {} twice", quote(twice))),
        None => Ok(()),
    }
}

/// Items separated by commas.
pub(super) fn join<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::quote::mask;

    #[test]
    fn masks_what_may_be_a_password() {
        for (url, masked) in [
            ("redis://127.0.0.1:6379/2", "redis://127.0.0.1:6379/2"),
            ("redis://:pw@h", "redis://:***@h"),
            ("rediss://user:pw@h:6379/0#insecure", "rediss://user:***@h:6379/0#insecure"),
            ("redis://pw@h", "redis://***@h"),
            ("redis://user:p@w/?x@h", "redis://user:***@h"),
            ("user:pw@h", "user:***@h"),
            ("unix:///run/r.sock?db=1&user=u&pass=pw", "unix:///run/r.sock?db=1&user=u&pass=***"),
            ("unix:///run/r.sock?p%61ss=pw#f", "unix:///run/r.sock?p%61ss=***#f"),
            ("plain", "plain"),
        ] {
            assert_eq!(mask(url), masked);
        }
    }

    #[test]
    fn percentages_are_shown_as_they_are_written() {
        for (text, shown, share) in [
            ("1%", "1%", 0.01),
            ("0.5%", "0.5%", 0.005),
            ("2.50 %", "2.5%", 0.025),
            ("0.07%", "0.07%", 0.000_7),
            ("100%", "100%", 1.0),
            ("00.1%", "0.1%", 0.001),
            ("0%", "0%", 0.0),
        ] {
            let percent = Percent::parse(&Value::Text(text.to_owned())).expect(text);
            assert_eq!((percent.to_string(), percent.share()), (shown.to_owned(), share), "{text}");
        }
        let wrong = [
            "", "1", "%", "-1%", "+1%", "1e1%", "0.001%", ".5%", "1.%", "1,5%", "nan%", "1%%", "99999%", "٣%",
        ];
        for text in wrong {
            let message = Percent::parse(&Value::Text(text.to_owned())).expect_err(text);
            assert!(message.contains("a percentage, as in \"1%\""), "{text}: {message}");
        }
        for value in [Value::Integer(1), Value::Fraction("0.01".to_owned()), Value::Bool(true)] {
            assert!(Percent::parse(&value).expect_err("no text").starts_with("takes a percentage"));
        }
    }

    #[test]
    fn quotes_are_short_and_escaped() {
        assert_eq!(quote("a\"b\n"), r#""a\"b\n""#);
        assert_eq!(quote(&"ä".repeat(100)), format!("\"{}\"…", "ä".repeat(80)));
    }
}
