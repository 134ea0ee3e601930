//! What is wrong with a configuration, and where.

use std::{borrow::Cow, path::Path};

use thiserror::Error;

use super::origin::Source;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {message}")]
pub struct ConfigError {
    /// Where: `FILE:LINE`, `NAME (environment)`, `.env:NAME`, `--flag`, or the key of a missing setting.
    pub place: String,
    /// What is wrong, and what to write instead: one line, without secrets.
    pub message: String,
}

impl ConfigError {
    /// A fault of the setting `key`, whose value came from `source`.
    pub(crate) fn new(source: &Source, key: &str, message: &str) -> Self {
        let (place, message) = match source {
            Source::File { path, line } => {
                (format!("{}:{line}", path.display()), Cow::from(format!("{key}: {message}")))
            }
            Source::Default => (key.to_owned(), message.into()),
            // The name of a flag or a variable names the setting, too.
            Source::Flag(_) | Source::Env(_) | Source::Dotenv { .. } => (source.to_string(), message.into()),
        };
        Self { place: one_line(&place), message: one_line(&message) }
    }
}

/// All faults of a configuration, at least one; shown one a line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Errors(pub Vec<ConfigError>);

/// Collects faults, so that all are reported and not only the first.
#[derive(Default)]
pub(super) struct Faults(Vec<(usize, ConfigError)>);

impl Faults {
    /// Adds a fault of the setting `key`, whose value came from `source`.
    pub(super) fn add(&mut self, source: &Source, key: &str, message: &str) {
        let line = if let Source::File { line, .. } = source { *line } else { 0 };
        self.0.push((line, ConfigError::new(source, key, message)));
    }

    /// Adds a fault in a line of a file.
    pub(super) fn add_in_file(&mut self, path: &Path, line: usize, message: &str) {
        self.push(line, format!("{}:{line}", path.display()), message);
    }

    /// Adds a fault of a place without lines.
    pub(super) fn add_elsewhere(&mut self, place: String, message: &str) {
        self.push(0, place, message);
    }

    fn push(&mut self, line: usize, place: String, message: &str) {
        self.0.push((line, ConfigError { place: one_line(&place), message: one_line(message) }));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// First the faults outside the file, then the file's, from top to bottom.
    pub(super) fn into_errors(mut self) -> Errors {
        self.0.sort_by_key(|(line, _)| *line);
        Errors(self.0.into_iter().map(|(_, error)| error).collect())
    }
}

/// Escapes control characters: a value may have line breaks and terminal codes.
fn one_line(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::suggest::closest;

    #[test]
    fn suggests_the_closest_name() {
        let known = ["ttl.query", "ttl.default", "WARNING", "ERROR", "openai-chat"];
        for (given, wanted) in [
            ("ttl.qery", Some("ttl.query")),
            ("ttl.qurey", Some("ttl.query")),
            ("TTL.Query", Some("ttl.query")),
            ("WARN", Some("WARNING")),
            ("err", Some("ERROR")),
            ("openai_chat", Some("openai-chat")),
            ("something", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(closest(given, known), wanted, "{given}");
        }
    }

    #[test]
    fn errors_stay_on_one_line() {
        let mut faults = Faults::default();
        faults.add_elsewhere("a\nb".to_owned(), "c\x1b[31m\r\nd");
        assert_eq!(faults.into_errors().to_string(), r"a\nb: c\u{1b}[31m\r\nd");
    }
}
