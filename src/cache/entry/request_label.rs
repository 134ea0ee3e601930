//! What operators see of the request that an entry answers: its path, and the route that covered it.
//!
//! The query is left out, since it may hold secrets. Both are one piece of memory, so that a hit, which shows
//! neither, makes no copy of them.

use bytes::Bytes;

/// The longest path that is kept whole, in bytes; of a longer one, the beginning is.
const MAX_PATH: usize = 512;

/// Stands between the path and the route. No path has one.
const SEPARATOR: char = '\n';

/// The path and the route of a request; empty if an entry was not asked for by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestLabel(Bytes);

impl RequestLabel {
    /// The label of a request for `path`, without its query, that `route` covers.
    pub fn new(path: &str, route: &str) -> Self {
        let end = (0..=MAX_PATH.min(path.len())).rev().find(|end| path.is_char_boundary(*end));
        let kept = &path[..end.unwrap_or_default()];
        let ellipsis = if kept.len() < path.len() { "…" } else { "" };
        Self(format!("{kept}{ellipsis}{SEPARATOR}{route}").into())
    }

    pub(super) const fn from_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same in memory of its own, which keeps no entry.
    pub(super) fn copied(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// The path and the route's name, unless it is empty.
    pub(crate) fn parts(&self) -> Option<(&str, &str)> {
        std::str::from_utf8(&self.0).ok()?.split_once(SEPARATOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_are_found_again() {
        assert_eq!(RequestLabel::new("/a/b", "POST /**\nx").parts(), Some(("/a/b", "POST /**\nx")));
        assert_eq!(RequestLabel::default().parts(), None);
        assert_eq!(RequestLabel::from_bytes(Bytes::from_static(b"\xff\n")).parts(), None);
    }

    #[test]
    fn of_a_long_path_the_beginning_is_kept() {
        let long = format!("/{}", "ä".repeat(600));
        let label = RequestLabel::new(&long, "r");
        let (path, route) = label.parts().expect("two parts");
        assert_eq!((path.len(), route), (511 + "…".len(), "r"));
        assert!(path.ends_with("ä…"), "{path}");
    }
}
