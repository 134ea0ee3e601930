//! The entries in the store, for operators.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{MemoryStore, RedisStore, Store, StoreError};
use crate::cache::{
    entry::codec::Summary,
    invalidation::Dependencies,
    key::{Key, namespace::Namespace},
    route::kind::Kind,
};

/// A search for rare entries among many ends after this time, with what it has found.
const PATIENCE: Duration = Duration::from_secs(2);

/// An entry as a list shows it.
#[derive(Clone, Debug)]
pub(crate) struct ListedEntry {
    pub(crate) key: Key,
    /// In milliseconds since the Unix epoch.
    pub(crate) stored_at: u64,
    pub(crate) ttl: Duration,
    /// The bytes that it takes in the store.
    pub(crate) size: u64,
    /// How often it was found, as far as this process knows.
    pub(crate) hits: u64,
}

/// Some entries, in no order.
#[derive(Clone, Debug, Default)]
pub(crate) struct EntryList {
    pub(crate) entries: Vec<ListedEntry>,
    /// Whether there may be others.
    pub(crate) more: bool,
}

impl Store {
    /// At most `limit` entries of `namespace`, of all kinds or one.
    ///
    /// # Errors
    /// If the store cannot be asked.
    pub(crate) async fn list(
        &self,
        namespace: Namespace,
        kind: Option<Kind>,
        limit: usize,
    ) -> Result<EntryList, StoreError> {
        if self.now().is_none() {
            return Err(StoreError::Unavailable);
        }
        match self {
            Self::Memory(store) => {
                let store = store.clone();
                let listed = tokio::task::spawn_blocking(move || list_memory(&store, namespace, kind, limit));
                listed.await.map_err(|_| StoreError::Unavailable)
            }
            Self::Redis(store) => list_redis(store, namespace, kind, limit).await,
        }
    }
}

fn list_memory(store: &MemoryStore, namespace: Namespace, kind: Option<Kind>, limit: usize) -> EntryList {
    let began = Instant::now();
    let mut list = EntryList::default();
    for walked in store.walk(namespace) {
        let Some(Summary { began: filled, target_ids, stored_at, ttl, .. }) = walked.packed.summary() else {
            continue;
        };
        let dependencies = Dependencies { key: &walked.key, target_ids: &target_ids };
        let wanted = kind.is_none_or(|kind| kind == walked.key.kind())
            && !store.invalidations().is_invalidated(filled, dependencies);
        if (wanted && list.entries.len() == limit) || began.elapsed() > PATIENCE {
            list.more = true;
            break;
        }
        if wanted {
            let size = walked.size();
            let hits = walked.hits;
            list.entries.push(ListedEntry { key: walked.key, stored_at, ttl, size, hits });
        }
    }
    list
}

async fn list_redis(
    store: &RedisStore,
    namespace: Namespace,
    kind: Option<Kind>,
    limit: usize,
) -> Result<EntryList, StoreError> {
    let began = Instant::now();
    let mut list = EntryList::default();
    let mut walk = store.walk(namespace, kind).await;
    let mut seen = HashSet::new();
    while let Some(entries) = walk.step().await? {
        for (key, summary) in entries {
            let Some(summary) = summary else { continue };
            let dependencies = Dependencies { key: &key, target_ids: &summary.target_ids };
            let is_invalidated = store.invalidations().is_invalidated(summary.began, dependencies);
            if is_invalidated || !seen.insert(key.id()) {
                continue;
            }
            if list.entries.len() == limit {
                list.more = true;
                break;
            }
            let hits = store.hits(&key);
            let Summary { stored_at, ttl, .. } = summary;
            list.entries.push(ListedEntry { key, stored_at, ttl, size: 0, hits });
        }
        list.more |= began.elapsed() > PATIENCE;
        if list.more {
            break;
        }
    }
    let keys: Vec<_> = list.entries.iter().map(|entry| entry.key.clone()).collect();
    for (entry, size) in list.entries.iter_mut().zip(walk.sizes(&keys).await?) {
        entry.size = size;
    }
    Ok(list)
}
