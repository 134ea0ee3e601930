//! Remembers what keys were lately found to be. A hint only: keys that hash to one cell share it, and the last one
//! that was noted counts.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use super::connections::LARGE;

/// What is remembered of keys.
pub(super) struct KeyMemory {
    hasher: RandomState,
    large: Cells,
    found: Cells,
}

/// How many keys with large values are remembered, and how many that have a value.
const LARGE_KEYS: usize = 4096;
const FOUND_KEYS: usize = 32 * 1024;

impl KeyMemory {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), large: Cells::new(LARGE_KEYS), found: Cells::new(FOUND_KEYS) }
    }

    /// The hash by which `key` is remembered.
    pub(super) fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Whether reads of the key use the connection for large values.
    pub(super) fn is_large(&self, hash: u64) -> bool {
        self.large.contains(hash)
    }

    /// Whether the key lately had a value.
    pub(super) fn was_found(&self, hash: u64) -> bool {
        self.found.contains(hash)
    }

    /// Notes the size in bytes of the value last seen under a key.
    pub(super) fn note(&self, hash: u64, size: usize) {
        self.found.set(hash, true);
        self.large.set(hash, size >= LARGE);
    }

    /// Notes that the key has no value.
    pub(super) fn note_missing(&self, hash: u64) {
        self.found.set(hash, false);
    }
}

struct Cells(Box<[AtomicU64]>);

impl Cells {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| AtomicU64::new(0)).collect())
    }

    fn contains(&self, hash: u64) -> bool {
        self.cell(hash).load(Ordering::Relaxed) == hash
    }

    fn set(&self, hash: u64, contains: bool) {
        let cell = self.cell(hash);
        let is_there = cell.load(Ordering::Relaxed) == hash;
        // Mostly it is there already, and the cache line stays shared.
        if contains != is_there {
            cell.store(if contains { hash } else { 0 }, Ordering::Relaxed);
        }
    }

    fn cell(&self, hash: u64) -> &AtomicU64 {
        &self.0[hash as usize % self.0.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_remembered_until_they_are_something_else() {
        let keys = KeyMemory::new();
        let [one, other] = ["one", "other"].map(|key| keys.hash(key));
        keys.note(one, LARGE);
        assert!(keys.is_large(one) && keys.was_found(one));
        assert!(!keys.is_large(other) && !keys.was_found(other));
        keys.note(one, LARGE - 1);
        assert!(!keys.is_large(one) && keys.was_found(one));
        keys.note_missing(one);
        assert!(!keys.was_found(one));
    }
}
