//! How often this process found each entry of a store that does not count.

use std::sync::Arc;

use moka::sync::Cache;

use crate::{
    cache::key::{Key, KeyId},
    telemetry::stats::Counter,
};

/// Entries whose hits are known: those that were found last.
const KNOWN: u64 = 20_000;

/// Counts for the entries that were found last.
#[derive(Clone, Debug)]
pub(super) struct Hits(Cache<KeyId, Arc<Counter>>);

impl Default for Hits {
    fn default() -> Self {
        Self(Cache::new(KNOWN))
    }
}

impl Hits {
    /// Counts one.
    pub(super) fn count(&self, key: &Key) {
        self.0.get_with(key.id(), Arc::default).increment();
    }

    /// How many were counted.
    pub(super) fn of(&self, key: &Key) -> u64 {
        self.0.get(&key.id()).map_or(0, |hits| hits.get())
    }

    /// Another entry begins at nothing: the first `before` were counted for the one that it replaces.
    pub(super) fn forget(&self, key: &Key, before: u64) {
        let since = self.of(key).saturating_sub(before);
        self.0.invalidate(&key.id());
        if since > 0 {
            self.0.get_with(key.id(), Arc::default).add(since);
        }
    }
}
