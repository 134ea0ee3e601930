//! The entries in the store, for operators.
//!
//! A list walks through the store, holds one page of entries, and ends after a while whatever it has found.

mod memory;
mod page;
mod query;
mod redis;

use std::time::Duration;

pub(crate) use self::query::{Cursor, ListQuery, Sort};
use super::{Store, StoreError};
use crate::cache::{
    entry::codec::Description,
    key::{Key, namespace::Namespace},
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
    /// `None` if an earlier version of sidecache stored it.
    pub(crate) description: Option<Description>,
}

/// A page of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct EntryList {
    pub(crate) entries: Vec<ListedEntry>,
    /// Whether there may be others.
    pub(crate) more: bool,
    /// Whether a sorted list lacks entries that were not looked at in time.
    pub(crate) partial: bool,
    /// What the next page is asked for with.
    pub(crate) cursor: Option<Cursor>,
}

impl Store {
    /// A page of the entries of `namespace`.
    ///
    /// # Errors
    /// If the store cannot be asked.
    pub(crate) async fn list(&self, namespace: Namespace, query: ListQuery) -> Result<EntryList, StoreError> {
        if self.now().is_none() {
            return Err(StoreError::Unavailable);
        }
        match self {
            Self::Memory(store) => {
                let store = store.clone();
                let listed = tokio::task::spawn_blocking(move || memory::list(&store, namespace, &query));
                listed.await.map_err(|_| StoreError::Unavailable)
            }
            Self::Redis(store) => redis::list(store, namespace, &query).await,
        }
    }
}
