//! The first part of every key.

use std::{collections::BTreeSet, fmt, ops::Deref};

use parking_lot::Mutex;

/// The first part of every key (`store.namespace`).
///
/// Each is kept once and for good, since a process has one: so that a key has it for nothing, and threads that make keys
/// do not count its owners on one place in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Namespace(&'static str);

static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

impl From<&str> for Namespace {
    fn from(name: &str) -> Self {
        let mut known = KNOWN.lock();
        if let Some(known) = known.get(name) {
            return Self(known);
        }
        let name: &'static str = String::from(name).leak();
        known.insert(name);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_kept_once() {
        let [one, same] = ["kept-once", "kept-once"].map(|name| Namespace::from(String::from(name).as_str()));
        assert!(std::ptr::eq(one.0, same.0));
        assert_ne!(one, Namespace::from("another"));
        assert_eq!(one.to_string(), "kept-once");
    }
}
