//! Which entries a list has, and in which order. Pure.

use std::fmt;

use crate::cache::{
    entry::codec::{Description, Summary},
    invalidation::TargetId,
    key::Key,
    route::kind::Kind,
};

/// What a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListQuery {
    /// `None` lists all kinds.
    pub(crate) kind: Option<Kind>,
    /// Only entries that this route asked for.
    pub(crate) route: Option<String>,
    /// Only entries that have this tag.
    pub(crate) tag: Option<TargetId>,
    /// `None` lists entries as the store has them.
    pub(crate) sort: Option<Sort>,
    /// Where an earlier list of the same sort ended.
    pub(crate) cursor: Option<Cursor>,
    pub(crate) limit: usize,
}

impl ListQuery {
    /// Whether the list may have an entry, by its key and its summary.
    pub(super) fn takes(&self, key: &Key, summary: &Summary) -> bool {
        self.kind.is_none_or(|kind| kind == key.kind())
            && self.tag.is_none_or(|tag| summary.target_ids.contains(&tag))
    }

    /// Whether it has one of that description, or of none.
    pub(super) fn takes_described(&self, description: Option<&Description>) -> bool {
        let route = || Some(description?.request.parts()?.1);
        self.route.as_deref().is_none_or(|wanted| route() == Some(wanted))
    }
}

/// By what a list is sorted; what has the most comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Hits,
    Age,
    Size,
}

impl Sort {
    pub(crate) const ALL: [Self; 3] = [Self::Hits, Self::Age, Self::Size];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Hits => "hits",
            Self::Age => "age",
            Self::Size => "size",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.as_str() == name)
    }
}

/// Where a page of a list ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) sort: Option<Sort>,
    /// The rank of the last entry in a sorted list, else the position of the walk.
    pub(super) at: u64,
    /// The digest of the last entry there. `None` if the page ended between two steps of the walk.
    pub(super) after: Option<[u8; 32]>,
}

/// Stands for the sort of a list that has none.
const UNSORTED: &str = "walk";

impl Cursor {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let name = parts.next()?;
        let sort = if name == UNSORTED { None } else { Some(Sort::from_name(name)?) };
        let at = parts.next()?.parse().ok()?;
        let after = match parts.next() {
            Some(hex) => Some(*blake3::Hash::from_hex(hex).ok()?.as_bytes()),
            None => None,
        };
        let is_whole = parts.next().is_none() && (sort.is_none() || after.is_some());
        is_whole.then_some(Self { sort, at, after })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.sort.map_or(UNSORTED, Sort::as_str), self.at)?;
        match self.after {
            Some(digest) => write!(f, ".{}", blake3::Hash::from_bytes(digest).to_hex()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_text() {
        for cursor in [
            Cursor { sort: None, at: 7, after: None },
            Cursor { sort: None, at: u64::MAX, after: Some([7; 32]) },
            Cursor { sort: Some(Sort::Age), at: 0, after: Some([0; 32]) },
        ] {
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }
        let hex = "0f".repeat(32);
        for text in ["", "walk", "walk.", "walk.x", "walk.1.0f", "hits.1", "name.1", &format!("age.1.{hex}.")]
        {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }
}
