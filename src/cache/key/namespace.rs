//! The first part of every key.

use std::{fmt, ops::Deref};

/// The first part of every key (`store.namespace`).
///
/// A process has one, and a reload cannot change it: it is leaked at start-up and handed in from there. So a
/// key has it for nothing. An `Arc` would have a count that all threads write to at one place in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Namespace(&'static str);

impl Namespace {
    /// Leaks `name`, and so is for the start of a process only.
    pub(crate) fn leak(name: &str) -> Self {
        Self(String::from(name).leak())
    }
}

impl From<&'static str> for Namespace {
    fn from(name: &'static str) -> Self {
        Self(name)
    }
}

impl Deref for Namespace {
    type Target = str;

    fn deref(&self) -> &str {
        self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
