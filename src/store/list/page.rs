//! One page of a list while the store is walked through. Pure.
//!
//! It holds the best entries so far and no others, so its memory does not grow with the store.

use std::collections::{BTreeMap, HashSet};

use super::{
    EntryList, ListedEntry,
    query::{Cursor, ListQuery, Sort},
};

/// An entry's place in the list: its rank, and its digest among those of the same rank.
type Place = (u64, [u8; 32]);

/// Where the walk was when it found an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// How many steps were before this one.
    pub(super) number: u64,
    /// From where a walk finds the entry again.
    pub(super) position: u64,
}

/// The entries of a page, at most as many as were asked for.
#[derive(Debug)]
pub(super) struct Page<'a> {
    query: &'a ListQuery,
    /// Everything up to here was on earlier pages.
    after: Option<Place>,
    /// Each with the position at which it was found.
    found: BTreeMap<Place, (u64, ListedEntry)>,
    /// Whether an entry had no room.
    is_full: bool,
}

impl<'a> Page<'a> {
    pub(super) fn new(query: &'a ListQuery) -> Self {
        // A walk begins with the step in which the page before it ended.
        let rank = |cursor: Cursor| if query.sort.is_some() { cursor.at } else { 0 };
        let after = query.cursor.and_then(|cursor| Some((rank(cursor), cursor.after?)));
        Self { query, after, found: BTreeMap::new(), is_full: false }
    }

    /// Where the walk begins: a sorted list needs all of it.
    pub(super) fn begins_at(&self) -> u64 {
        self.query.cursor.filter(|_| self.query.sort.is_none()).map_or(0, |cursor| cursor.at)
    }

    pub(super) fn offer(&mut self, entry: ListedEntry, step: Step) {
        let rank = match self.query.sort {
            None => step.number,
            Some(Sort::Hits) => !entry.hits,
            Some(Sort::Size) => !entry.size,
            Some(Sort::Age) => entry.stored_at,
        };
        let place = (rank, *entry.key.digest());
        if self.after.is_some_and(|after| place <= after) {
            return;
        }
        self.found.insert(place, (step.position, entry));
        if self.found.len() > self.query.limit {
            self.found.pop_last();
            self.is_full = true;
        }
    }

    /// Whether nothing that the walk finds later can be on this page.
    pub(super) fn is_done(&self) -> bool {
        self.is_full && self.query.sort.is_none()
    }

    /// The page; `rest` is where the walk would go on if it has not come to its end.
    pub(super) fn finish(self, rest: Option<u64>) -> EntryList {
        let sort = self.query.sort;
        let last = self.found.last_key_value().filter(|_| self.is_full);
        let after_last = last.map(|((rank, digest), (position, _))| Cursor {
            sort,
            at: if sort.is_some() { *rank } else { *position },
            after: Some(*digest),
        });
        let after_walk = rest.filter(|_| sort.is_none()).map(|at| Cursor { sort, at, after: None });
        let mut seen = HashSet::new();
        let entries = self.found.into_values().map(|(_, entry)| entry);
        EntryList {
            // Redis may name an entry twice, with more hits the second time.
            entries: entries.filter(|entry| seen.insert(*entry.key.digest())).collect(),
            more: self.is_full || rest.is_some(),
            partial: sort.is_some() && rest.is_some(),
            cursor: after_last.or(after_walk),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cache::{key::Key, route::kind::Kind};

    fn entry(number: u64) -> ListedEntry {
        ListedEntry {
            key: Key::new("ns".into(), Kind::Query, blake3::hash(&number.to_le_bytes())),
            stored_at: 1000 - number,
            ttl: Duration::ZERO,
            size: number % 7,
            hits: number / 2,
            description: None,
        }
    }

    fn query(sort: Option<Sort>, cursor: Option<Cursor>) -> ListQuery {
        ListQuery { kind: None, route: None, tag: None, sort, cursor, limit: 10 }
    }

    /// All pages of a hundred entries, each found in a step with nine others.
    fn pages(sort: Option<Sort>) -> Vec<EntryList> {
        let mut pages = Vec::new();
        let mut cursor = None;
        loop {
            let query = query(sort, cursor);
            let mut page = Page::new(&query);
            let begins_at = page.begins_at();
            let mut rest = None;
            for (number, position) in (begins_at..10).enumerate() {
                let step = Step { number: number as u64, position };
                (0..10).for_each(|within| page.offer(entry(position * 10 + within), step));
                rest = (position < 9).then_some(position + 1);
                if page.is_done() {
                    break;
                }
            }
            let list = page.finish(rest);
            cursor = list.cursor;
            assert_eq!((list.more, list.partial), (cursor.is_some(), false), "{sort:?}");
            pages.push(list);
            if cursor.is_none() {
                return pages;
            }
        }
    }

    #[test]
    fn pages_have_every_entry_once_in_the_order_of_the_sort() {
        for sort in [None, Some(Sort::Hits), Some(Sort::Age), Some(Sort::Size)] {
            let pages = pages(sort);
            assert!(pages.iter().all(|page| page.entries.len() <= 10));
            let entries: Vec<_> = pages.into_iter().flat_map(|page| page.entries).collect();
            let digests: HashSet<_> = entries.iter().map(|entry| *entry.key.digest()).collect();
            assert_eq!((entries.len(), digests.len()), (100, 100), "{sort:?}");
            assert!(entries.is_sorted_by_key(|entry| match sort {
                None => 0,
                Some(Sort::Hits) => !entry.hits,
                Some(Sort::Size) => !entry.size,
                Some(Sort::Age) => entry.stored_at,
            }));
        }
    }

    #[test]
    fn a_walk_that_was_cut_says_so_or_goes_on() {
        let cut = |sort| {
            let query = query(sort, None);
            let mut page = Page::new(&query);
            page.offer(entry(1), Step { number: 0, position: 3 });
            page.finish(Some(4))
        };
        let (unsorted, sorted) = (cut(None), cut(Some(Sort::Hits)));
        assert_eq!(unsorted.cursor, Some(Cursor { sort: None, at: 4, after: None }));
        assert_eq!((unsorted.more, unsorted.partial), (true, false));
        assert_eq!((sorted.more, sorted.partial, sorted.cursor), (true, true, None));
    }

    #[test]
    fn an_entry_found_twice_is_listed_once() {
        let query = query(Some(Sort::Hits), None);
        let mut page = Page::new(&query);
        let step = Step { number: 0, position: 0 };
        page.offer(entry(3), step);
        page.offer(ListedEntry { hits: 9, ..entry(3) }, step);
        let list = page.finish(None);
        assert_eq!((list.entries.len(), list.entries[0].hits, list.more), (1, 9, false));
    }
}
