//! Lists what is in the process.

use std::time::Instant;

use super::{
    EntryList, ListedEntry, PATIENCE,
    page::{Page, Step},
    query::ListQuery,
};
use crate::{
    cache::{invalidation::Dependencies, key::namespace::Namespace},
    store::memory::{MemoryStore, WalkedEntry},
};

pub(super) fn list(store: &MemoryStore, namespace: Namespace, query: &ListQuery) -> EntryList {
    let began = Instant::now();
    let mut page = Page::new(query);
    let begins_at = page.begins_at();
    let mut rest = None;
    for walked in store.walk(namespace, begins_at) {
        let position = walked.position;
        if page.is_done() || began.elapsed() > PATIENCE {
            rest = Some(position);
            break;
        }
        if let Some(entry) = listed(store, walked, query) {
            page.offer(entry, Step { number: position - begins_at, position });
        }
    }
    let mut list = page.finish(rest);
    for entry in &mut list.entries {
        // It may have gone meanwhile.
        entry.description = store.packed(&entry.key).and_then(|packed| packed.description());
    }
    list
}

/// The entry as a list shows it, but for its description, if the list may have it.
fn listed(store: &MemoryStore, walked: WalkedEntry, query: &ListQuery) -> Option<ListedEntry> {
    let size = walked.size();
    let WalkedEntry { key, packed, hits, .. } = walked;
    let summary = packed.summary().filter(|summary| query.takes(&key, summary))?;
    let dependencies = Dependencies { key: &key, target_ids: &summary.target_ids };
    if store.invalidations().is_invalidated(summary.began, dependencies)
        || (query.route.is_some() && !query.takes_described(packed.description().as_ref()))
    {
        return None;
    }
    Some(ListedEntry { key, stored_at: summary.stored_at, ttl: summary.ttl, size, hits, description: None })
}
