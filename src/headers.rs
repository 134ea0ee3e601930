//! Header rules.

use http::HeaderName;

/// A header name, or a prefix of one (`x-ratelimit-*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPattern {
    text: String,
    prefix: bool,
}

impl HeaderPattern {
    /// The header called `name` (lower case).
    pub fn exact(name: &str) -> Self {
        Self { text: name.to_owned(), prefix: false }
    }

    /// Every header that begins with `prefix` (lower case).
    pub fn prefix(prefix: &str) -> Self {
        Self { text: prefix.to_owned(), prefix: true }
    }

    /// Reads `name` or `prefix*`, in any case.
    ///
    /// # Errors
    /// Where the text is no header name; the error says so.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let (name, prefix) = match lower.strip_suffix('*') {
            Some(name) => (name, true),
            None => (lower.as_str(), false),
        };
        if !(prefix && name.is_empty()) && HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(format!("`{text}` is no header name (a `*` may stand at its end)"));
        }
        Ok(Self { text: name.to_owned(), prefix })
    }

    /// Whether `name` is one of those meant.
    pub fn matches(&self, name: &HeaderName) -> bool {
        if self.prefix { name.as_str().starts_with(&self.text) } else { name.as_str() == self.text }
    }
}
