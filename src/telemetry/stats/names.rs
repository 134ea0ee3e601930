//! Names of the configuration that things are counted under: each has a number for as long as the process runs.

use parking_lot::RwLock;

/// All names that the process has had, in the order of their numbers. Any further ones, which many reloads may bring,
/// count as the first.
#[derive(Debug)]
pub(crate) struct Names<T> {
    names: RwLock<Vec<T>>,
    most: usize,
}

impl<T: Clone + PartialEq> Names<T> {
    pub(super) fn new(first: T, most: usize) -> Self {
        Self { names: RwLock::new(vec![first]), most }
    }

    /// The number of a name: the same one however often it comes.
    pub(super) fn number(&self, name: T) -> u16 {
        let mut names = self.names.write();
        let known = names.iter().position(|own| *own == name);
        let place = match known {
            Some(place) => place,
            None if names.len() < self.most => {
                names.push(name);
                names.len() - 1
            }
            None => 0,
        };
        u16::try_from(place).unwrap_or_default()
    }

    /// All names, in the order of their numbers.
    pub(crate) fn all(&self) -> Vec<T> {
        self.names.read().clone()
    }
}
