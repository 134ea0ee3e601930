//! How often this process found each entry in Redis, which does not count that.

use std::sync::Arc;

use moka::sync::Cache;

use crate::{
    cache::key::{Key, KeyId},
    telemetry::stats::counter::Counter,
};

/// Entries whose hits are counted: those that were found last.
const MAX_COUNTED: u64 = 20_000;

#[derive(Clone, Debug)]
pub(super) struct HitCounts(Cache<KeyId, Arc<Counter>>);

impl Default for HitCounts {
    fn default() -> Self {
        Self(Cache::new(MAX_COUNTED))
    }
}

impl HitCounts {
    pub(super) fn count(&self, key: &Key) {
        self.0.get_with(key.id(), Arc::default).increment();
    }

    pub(super) fn get(&self, key: &Key) -> u64 {
        self.0.get(&key.id()).map_or(0, |hits| hits.get())
    }

    /// Another entry begins at 0: the first `before` hits were those of the one that it replaces.
    pub(super) fn forget(&self, key: &Key, before: u64) {
        let since = self.get(key).saturating_sub(before);
        self.0.invalidate(&key.id());
        if since > 0 {
            self.0.get_with(key.id(), Arc::default).add(since);
        }
    }
}
