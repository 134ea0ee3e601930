//! A hash table whose items stand in its cells, one beside the other (open addressing, linear probing). Pure.
//!
//! In a large store no cache of the processor's has what a request asks for, so that it costs what it waits for memory: here
//! that is one wait, where a table with its marks or its links apart from its items has two.

use std::iter;

/// An item of a table.
pub(crate) trait Item {
    /// Where it belongs. Nobody must be able to choose items with hashes that are near to each other: a table is as slow as
    /// many of them are.
    fn hash(&self) -> u32;
}

/// Cells that a table begins with.
const MIN_CELLS: usize = 8;

/// A hash table.
#[derive(Debug)]
pub(crate) struct HashTable<T> {
    cells: Vec<Option<T>>,
    len: usize,
}

impl<T> Default for HashTable<T> {
    fn default() -> Self {
        Self { cells: Vec::new(), len: 0 }
    }
}

impl<T: Item> HashTable<T> {
    /// As many items as make a table of at most `cells`.
    pub(crate) fn room_within(cells: usize) -> usize {
        let sizes = iter::successors(Some(MIN_CELLS), |size| Some(grown(*size)));
        sizes.take_while(|size| *size <= cells).last().map_or(0, room)
    }

    /// The number of its items.
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The item with this hash that is the one looked for.
    pub(crate) fn find(&self, hash: u32, is_same: impl Fn(&T) -> bool) -> Option<&T> {
        self.cells[self.at(hash, is_same)?].as_ref()
    }

    /// The same, to be changed; its hash must stay what it is.
    pub(crate) fn find_mut(&mut self, hash: u32, is_same: impl Fn(&T) -> bool) -> Option<&mut T> {
        let at = self.at(hash, is_same)?;
        self.cells[at].as_mut()
    }

    /// Puts an item that is not there yet.
    pub(crate) fn insert(&mut self, item: T) {
        if self.len >= room(self.cells.len()) {
            let cells = (0..grown(self.cells.len())).map(|_| None).collect();
            for item in std::mem::replace(&mut self.cells, cells).into_iter().flatten() {
                self.place(item);
            }
        }
        self.place(item);
        self.len += 1;
    }

    /// Takes out the item with this hash that is the one looked for.
    pub(crate) fn remove(&mut self, hash: u32, is_same: impl Fn(&T) -> bool) -> Option<T> {
        let at = self.at(hash, is_same)?;
        let removed = self.cells[at].take();
        self.len -= 1;
        self.close(at);
        removed
    }

    fn at(&self, hash: u32, is_same: impl Fn(&T) -> bool) -> Option<usize> {
        let mut at = self.home(hash)?;
        while let Some(item) = &self.cells[at] {
            if is_same(item) {
                return Some(at);
            }
            at = self.after(at);
        }
        None
    }

    fn place(&mut self, item: T) {
        let Some(mut at) = self.home(item.hash()) else { return };
        while self.cells[at].is_some() {
            at = self.after(at);
        }
        self.cells[at] = Some(item);
    }

    /// Fills the empty cell `gap` with an item that stands behind it only because it was not empty, and so on: whoever looks
    /// for an item stops at the first empty cell.
    fn close(&mut self, mut gap: usize) {
        let mut at = self.after(gap);
        while let Some(home) = self.cells[at].as_ref().and_then(|item| self.home(item.hash())) {
            if self.distance(home, at) >= self.distance(gap, at) {
                self.cells.swap(gap, at);
                gap = at;
            }
            at = self.after(at);
        }
    }

    /// Where an item with this hash belongs; `None` where there are no cells.
    fn home(&self, hash: u32) -> Option<usize> {
        let cells = self.cells.len();
        (cells > 0).then_some(((u64::from(hash) * cells as u64) >> u32::BITS) as usize)
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 < self.cells.len() { at + 1 } else { 0 }
    }

    /// From one cell on to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        if from <= to { to - from } else { to + self.cells.len() - from }
    }
}

/// As many items as stand in so many cells.
const fn room(cells: usize) -> usize {
    cells * 3 / 4
}

/// How many cells come after so many. Half as many again: twice as many would leave more of them empty.
fn grown(cells: usize) -> usize {
    (cells + cells / 2).max(MIN_CELLS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An item; many belong to the same place, one of eight.
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Thing(u8);

    impl Item for Thing {
        fn hash(&self) -> u32 {
            u32::from(self.0 % 8) << 29
        }
    }

    struct Counted(u32);

    impl Item for Counted {
        fn hash(&self) -> u32 {
            self.0
        }
    }

    proptest! {
        #[test]
        fn it_has_what_was_put_and_not_taken(steps in proptest::collection::vec((0..60_u8, any::<bool>()), 0..300)) {
            let (mut table, mut model) = (HashTable::default(), Vec::new());
            for (n, puts) in steps {
                let thing = Thing(n);
                let is_same = |other: &Thing| *other == thing;
                let at = model.iter().position(is_same);
                prop_assert_eq!(table.find(thing.hash(), is_same), at.map(|at| &model[at]));
                match (puts, at) {
                    (true, None) => {
                        table.insert(thing);
                        model.push(thing);
                    }
                    (true, Some(_)) => prop_assert_eq!(table.find_mut(thing.hash(), is_same).copied(), Some(thing)),
                    (false, _) => prop_assert_eq!(table.remove(thing.hash(), is_same), at.map(|at| model.swap_remove(at))),
                }
                prop_assert_eq!(table.len(), model.len());
                for thing in &model {
                    prop_assert!(table.find(thing.hash(), |other| other == thing).is_some(), "{:?} is lost", thing);
                }
            }
        }
    }

    #[test]
    fn it_grows_when_its_room_is_used_up() {
        for most in [8, 9, 1000, 16_384, 16_385] {
            let room = HashTable::<Counted>::room_within(most);
            let mut table = HashTable::default();
            (0..room).for_each(|n| table.insert(Counted(n as u32)));
            let cells = table.cells.len();
            assert!(cells <= most && grown(cells) > most, "{cells} of {most}");
            table.insert(Counted(0));
            assert_eq!(table.cells.len(), grown(cells), "{room} were not all");
        }
    }
}
