//! Variants (RFC 9111, section 4.1). The target's key holds the names of the request headers that its responses vary on;
//! each response has a key made of these headers' values. A response that varies on nothing is under the target's key.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::time::timeout;

use crate::{
    cache::{
        entry::Entry,
        key::Key,
        rfc9111::{Vary, selector},
    },
    proxy::plan::Revalidation,
    store::{Store, StoreError},
};

/// The form of an entry with names. No request asks for it.
const INDEX: u64 = u64::MAX;

/// The headers that a target's responses vary on; `None` if `entry` is a response.
pub(crate) fn names(entry: &Entry) -> Option<Vec<HeaderName>> {
    // Most entries are responses: their headers need not be read.
    if entry.form != INDEX {
        return None;
    }
    match Vary::from_headers(&entry.headers) {
        Vary::On(names) => Some(names),
        Vary::Any => None,
    }
}

/// Finds the response that the request selects, and its key, and notes the headers that it varies on. Both lookups
/// together take no longer than `store_budget`.
///
/// # Errors
/// If the store fails.
pub(crate) async fn find(
    store: &Store,
    revalidation: &mut Revalidation,
    store_budget: Duration,
) -> Result<(Key, Option<Arc<Entry>>), StoreError> {
    let began = Instant::now();
    let entry = store.get(&revalidation.target).await?;
    let Some(names) = entry.as_deref().and_then(names) else {
        return Ok((revalidation.target.clone(), entry));
    };
    let key = revalidation.target.variant(&selector(&names, &revalidation.request));
    let left = store_budget.saturating_sub(began.elapsed());
    let entry = timeout(left, store.get(&key)).await.map_err(|_| StoreError::Timeout)??;
    revalidation.varies_on = names;
    Ok((key, entry))
}

/// Stores a response for `life`. If it varies on headers that were not known, all of them count from now on.
///
/// # Errors
/// If the store fails.
pub(crate) async fn put(
    store: &Store,
    revalidation: &Revalidation,
    entry: Entry,
    life: Duration,
) -> Result<(), StoreError> {
    let names = all_names(revalidation, &entry);
    if names.is_empty() {
        return store.put(&revalidation.target, Arc::new(entry), life).await;
    }
    let line = names.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
    let line = HeaderValue::try_from(line).map_err(|_| StoreError::Protocol)?;
    let index = Entry {
        form: INDEX,
        stored_at: entry.stored_at,
        ttl: life,
        began: entry.began,
        target_ids: entry.target_ids.clone(),
        request: entry.request.clone(),
        ..Entry::new(StatusCode::OK, HeaderMap::from_iter([(header::VARY, line)]), Bytes::new())
    };
    let key = revalidation.target.variant(&selector(&names, &revalidation.request));
    store.put(&key, Arc::new(entry), life).await?;
    store.put(&revalidation.target, Arc::new(index), life).await
}

/// The known names and those that a response adds.
fn all_names(revalidation: &Revalidation, entry: &Entry) -> Vec<HeaderName> {
    match Vary::from_headers(&entry.headers) {
        Vary::On(mut names) if !names.is_empty() => {
            names.extend(revalidation.varies_on.iter().cloned());
            names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
            names.dedup();
            names
        }
        _ => Vec::new(),
    }
}
