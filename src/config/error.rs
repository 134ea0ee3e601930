//! What is wrong with a configuration, and where.

use std::{borrow::Cow, fmt, path::Path};

use super::origin::Source;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where: `FILE:LINE`, `NAME (environment)`, `.env:NAME`, `--flag`, or the key of a missing setting.
    pub place: String,
    /// What, and what to write instead; one line, without secrets.
    pub message: String,
}

impl ConfigError {
    /// A fault of the setting `key`, whose value came from `source`.
    pub fn at(source: &Source, key: &str, message: &str) -> Self {
        let (place, message) = match source {
            Source::File { path, line } => {
                (format!("{}:{line}", path.display()), Cow::from(format!("{key}: {message}")))
            }
            Source::Default => (key.to_owned(), message.into()),
            // A flag or a variable names its setting by itself.
            Source::Flag(_) | Source::Env(_) | Source::Dotenv { .. } => (source.to_string(), message.into()),
        };
        Self { place: one_line(&place), message: one_line(&message) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Everything that is wrong, at least one thing; shown one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<ConfigError>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// Collects what is wrong, so that all of it is reported and not only the first.
#[derive(Default)]
pub(super) struct Faults(Vec<(usize, ConfigError)>);

impl Faults {
    /// Notes a fault of the setting `key`, whose value came from `source`.
    pub(super) fn at(&mut self, source: &Source, key: &str, message: &str) {
        let line = if let Source::File { line, .. } = source { *line } else { 0 };
        self.0.push((line, ConfigError::at(source, key, message)));
    }

    /// Notes a fault in a line of a file.
    pub(super) fn in_file(&mut self, path: &Path, line: usize, message: &str) {
        self.push(line, format!("{}:{line}", path.display()), message);
    }

    /// Notes a fault of a place that has no lines.
    pub(super) fn elsewhere(&mut self, place: String, message: &str) {
        self.push(0, place, message);
    }

    fn push(&mut self, line: usize, place: String, message: &str) {
        self.0.push((line, ConfigError { place: one_line(&place), message: one_line(message) }));
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was collected: first what is wrong outside the file, then the file's faults from top to bottom.
    pub(super) fn into_errors(mut self) -> Errors {
        self.0.sort_by_key(|(line, _)| *line);
        Errors(self.0.into_iter().map(|(_, error)| error).collect())
    }
}

/// A value may hold line breaks and terminal escapes; an error shows them and stays one line.
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
    use crate::config::suggest::near;

    #[test]
    fn suggests_what_is_near() {
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
            assert_eq!(near(given, known), wanted, "{given}");
        }
    }

    #[test]
    fn errors_stay_on_one_line() {
        let mut faults = Faults::default();
        faults.elsewhere("a\nb".to_owned(), "c\x1b[31m\r\nd");
        assert_eq!(faults.into_errors().to_string(), r"a\nb: c\u{1b}[31m\r\nd");
    }
}
