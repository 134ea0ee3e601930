//! A hash table whose items are in its cells, side by side (open addressing, linear probing): with it, a hit
//! among a million answers spends 1.8 µs in the tables, with hashbrown 2.5 µs (`docs/performance-log.md`).
//!
//! In a large store, what a request looks for is in no cache of the processor, so a lookup costs the time
//! that it waits for memory. Here it waits once. A table whose marks or links are apart from its items, such
//! as hashbrown's, waits twice. Once `hashbrown::HashTable` comes within 3 % of this one, it should replace
//! it.

use std::iter;

pub(crate) trait Item {
    /// Decides where the item belongs. Nobody outside must be able to choose items whose hashes are close
    /// together: many of those make the table slow.
    fn hash(&self) -> u32;
}

/// How many cells a table has at first.
const MIN_CELLS: usize = 8;

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
    /// The most items that a table of at most `cells` cells takes.
    pub(crate) fn room_within(cells: usize) -> usize {
        let sizes = iter::successors(Some(MIN_CELLS), |size| Some(grown(*size)));
        sizes.take_while(|size| *size <= cells).last().map_or(0, room)
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The item with this hash for which `is_same` holds.
    pub(crate) fn find(&self, hash: u32, is_same: impl Fn(&T) -> bool) -> Option<&T> {
        self.cells[self.at(hash, is_same)?].as_ref()
    }

    /// Like [`HashTable::find`]. The item's hash must not change.
    pub(crate) fn find_mut(&mut self, hash: u32, is_same: impl Fn(&T) -> bool) -> Option<&mut T> {
        let at = self.at(hash, is_same)?;
        self.cells[at].as_mut()
    }

    /// The item must not be in the table yet.
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

    /// Moves items back into the empty cell `gap`, and then into the gaps that this leaves: a search stops at
    /// the first empty cell, so no item may be behind one that it could be in.
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

    /// The cell in which an item with this hash belongs; `None` if there are no cells.
    fn home(&self, hash: u32) -> Option<usize> {
        let cells = self.cells.len();
        (cells > 0).then_some(((u64::from(hash) * cells as u64) >> u32::BITS) as usize)
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 < self.cells.len() { at + 1 } else { 0 }
    }

    /// How many cells it is forward from one to the other.
    fn distance(&self, from: usize, to: usize) -> usize {
        if from <= to { to - from } else { to + self.cells.len() - from }
    }
}

/// How many items a table of so many cells takes.
const fn room(cells: usize) -> usize {
    cells * 3 / 4
}

/// The next size of a table. It grows by half: doubling would leave more cells empty.
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
            let mut table = HashTable::default();
            let mut model = Vec::new();
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
