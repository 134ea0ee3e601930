//! What is in the store, for operators.

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

/// A search for rare entries among many ends after this time, whatever it has found.
const PATIENCE: Duration = Duration::from_secs(2);

/// An entry as a list shows it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its key.
    pub key: Key,
    /// When it was stored, in milliseconds since the Unix epoch.
    pub stored_at: u64,
    /// How long it is fresh from then on.
    pub ttl: Duration,
    /// The bytes it takes in the store.
    pub size: u64,
    /// How often it was found, as far as this process knows.
    pub hits: u64,
}

/// Some entries, and whether there may be others.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// They, in no order.
    pub entries: Vec<Listed>,
    /// Whether there may be others.
    pub more: bool,
}

impl Store {
    /// At most `limit` entries of `namespace`, of all kinds or one.
    ///
    /// # Errors
    /// Where the store cannot be asked.
    pub async fn list(
        &self,
        namespace: Namespace,
        kind: Option<Kind>,
        limit: usize,
    ) -> Result<List, StoreError> {
        if self.now().is_none() {
            return Err(StoreError::Unavailable);
        }
        match self {
            Self::Memory(store) => {
                let store = store.clone();
                let listed = tokio::task::spawn_blocking(move || memory(&store, namespace, kind, limit));
                listed.await.map_err(|_| StoreError::Unavailable)
            }
            Self::Redis(store) => redis(store, namespace, kind, limit).await,
        }
    }
}

fn memory(store: &MemoryStore, namespace: Namespace, kind: Option<Kind>, limit: usize) -> List {
    let began = Instant::now();
    let mut list = List::default();
    for walked in store.walk(namespace) {
        let Some(Summary { began: filled, target_ids, stored_at, ttl, .. }) = walked.packed.summary() else {
            continue;
        };
        let of = Dependencies { key: &walked.key, target_ids: &target_ids };
        let wanted = kind.is_none_or(|kind| kind == walked.key.kind())
            && !store.invalidations().is_invalidated(filled, of);
        if (wanted && list.entries.len() == limit) || began.elapsed() > PATIENCE {
            list.more = true;
            break;
        }
        if wanted {
            let (size, hits) = (walked.size(), walked.hits);
            list.entries.push(Listed { key: walked.key, stored_at, ttl, size, hits });
        }
    }
    list
}

async fn redis(
    store: &RedisStore,
    namespace: Namespace,
    kind: Option<Kind>,
    limit: usize,
) -> Result<List, StoreError> {
    let began = Instant::now();
    let mut list = List::default();
    store.writing.settled().await;
    let mut walk = store.walk(namespace, kind);
    let mut known = HashSet::new();
    while let Some(seen) = walk.step().await? {
        for (key, summary) in seen {
            let Some(summary) = summary else { continue };
            let of = Dependencies { key: &key, target_ids: &summary.target_ids };
            if store.invalidations().is_invalidated(summary.began, of) || !known.insert(key.id()) {
                continue;
            }
            if list.entries.len() == limit {
                list.more = true;
                break;
            }
            let hits = store.hits(&key);
            let (stored_at, ttl) = (summary.stored_at, summary.ttl);
            list.entries.push(Listed { key, stored_at, ttl, size: 0, hits });
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
