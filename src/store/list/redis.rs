//! Lists what is in Redis.

use std::time::Instant;

use super::{
    EntryList, ListedEntry, PATIENCE,
    page::{Page, Step},
    query::{ListQuery, Sort},
};
use crate::{
    cache::{
        entry::codec::Summary,
        invalidation::Dependencies,
        key::{Key, namespace::Namespace},
    },
    store::redis::{RedisStore, StoreError, Walk, WalkedEntry},
};

pub(super) async fn list(
    store: &RedisStore,
    namespace: Namespace,
    query: &ListQuery,
) -> Result<EntryList, StoreError> {
    let began = Instant::now();
    let mut page = Page::new(query);
    let mut walk = store.walk(namespace, query.kind, page.begins_at()).await;
    let mut number = 0;
    while let Some(position) = walk.position() {
        let walked = walk.step().await?.unwrap_or_default();
        for entry in wanted(store, &mut walk, walked, query).await? {
            page.offer(entry, Step { number, position });
        }
        number += 1;
        if page.is_done() || began.elapsed() > PATIENCE {
            break;
        }
    }
    let mut list = page.finish(walk.position());
    let keys: Vec<_> = list.entries.iter().map(|entry| entry.key.clone()).collect();
    let sizes = walk.sizes(&keys).await?;
    let descriptions = walk.descriptions(&keys).await?;
    for ((entry, size), description) in list.entries.iter_mut().zip(sizes).zip(descriptions) {
        entry.size = size;
        entry.description = description;
    }
    Ok(list)
}

/// Those of the walked entries that the list may have, with their sizes if it is sorted by them.
async fn wanted(
    store: &RedisStore,
    walk: &mut Walk,
    walked: Vec<WalkedEntry>,
    query: &ListQuery,
) -> Result<Vec<ListedEntry>, StoreError> {
    let listed = |(key, summary)| listed(store, key, summary?, query);
    let mut entries: Vec<_> = walked.into_iter().filter_map(listed).collect();
    let keys: Vec<_> = entries.iter().map(|entry| entry.key.clone()).collect();
    if query.sort == Some(Sort::Size) {
        for (entry, size) in entries.iter_mut().zip(walk.sizes(&keys).await?) {
            entry.size = size;
        }
    }
    if query.route.is_some() {
        let mut descriptions = walk.descriptions(&keys).await?.into_iter();
        entries.retain(|_| query.takes_described(descriptions.next().flatten().as_ref()));
    }
    Ok(entries)
}

fn listed(store: &RedisStore, key: Key, summary: Summary, query: &ListQuery) -> Option<ListedEntry> {
    let dependencies = Dependencies { key: &key, target_ids: &summary.target_ids };
    let is_invalidated = store.invalidations().is_invalidated(summary.began, dependencies);
    if is_invalidated || !query.takes(&key, &summary) {
        return None;
    }
    let hits = store.hits(&key);
    let Summary { stored_at, ttl, .. } = summary;
    Some(ListedEntry { key, stored_at, ttl, size: 0, hits, description: None })
}
