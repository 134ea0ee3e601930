//! A walk through the namespace's entries in Redis, for sweeps and lists.
//!
//! It sees only what is a key of an entry: neither sidecache's own bookkeeping, nor other people's keys. Of a
//! value it reads the beginning, which has the entry's summary.

use std::sync::Arc;

use bytes::Bytes;

use super::client::{Scan, StoreError};
use crate::cache::{
    encryption::{Encryption, PART_ENDS, sealed_length},
    entry::{
        Entry,
        codec::{Description, Summary},
    },
    key::{Key, namespace::Namespace},
};

/// What is read of a value: most summaries end within the first length, one with a thousand tags within the
/// second.
const BEGINNING: usize = PART_ENDS[0];
const LONG_BEGINNING: usize = PART_ENDS[1];

/// Entries whose long beginnings are read in one round trip: others wait for Redis meanwhile.
const DESCRIBED_AT_ONCE: usize = 10;

/// A walk under way.
pub(crate) struct Walk {
    scan: Scan,
    encryption: Option<Arc<Encryption>>,
    namespace: Namespace,
}

/// An entry as a walk sees it; without a summary if another version of sidecache wrote the value.
pub(crate) type WalkedEntry = (Key, Option<Summary>);

impl Walk {
    pub(super) fn new(scan: Scan, encryption: Option<Arc<Encryption>>, namespace: Namespace) -> Self {
        Self { scan, encryption, namespace }
    }

    /// The entries that the next step finds, which may be none; `None` at the end. An entry may come twice.
    ///
    /// # Errors
    /// If Redis does not answer, or does not allow it.
    pub(crate) async fn step(&mut self) -> Result<Option<Vec<WalkedEntry>>, StoreError> {
        let Some(names) = self.scan.step().await? else { return Ok(None) };
        let names = names.iter().filter_map(|name| std::str::from_utf8(name).ok());
        let keys = names.filter_map(|name| Key::parse(self.namespace, name).filter(|key| key.name() == name));
        self.summaries(keys.collect()).await.map(Some)
    }

    /// From where the next step goes on; `None` at the end.
    pub(crate) fn position(&self) -> Option<u64> {
        self.scan.cursor()
    }

    /// What operators see of each entry besides its summary. `None` for one that has gone or that another version
    /// of sidecache wrote.
    ///
    /// # Errors
    /// See [`Walk::step`].
    pub(crate) async fn descriptions(
        &mut self,
        keys: &[Key],
    ) -> Result<Vec<Option<Description>>, StoreError> {
        let mut descriptions = Vec::with_capacity(keys.len());
        for keys in keys.chunks(DESCRIBED_AT_ONCE) {
            let beginnings = self.beginnings(keys, LONG_BEGINNING).await?;
            let described = keys.iter().zip(beginnings);
            descriptions.extend(described.map(|(key, bytes)| Entry::description(&bytes, &key.name())));
        }
        Ok(descriptions)
    }

    /// The length of each value, in bytes.
    ///
    /// # Errors
    /// See [`Walk::step`].
    pub(crate) async fn sizes(&mut self, keys: &[Key]) -> Result<Vec<u64>, StoreError> {
        self.scan.sizes(&names(keys)).await
    }

    /// Removes entries; how many there were.
    ///
    /// # Errors
    /// See [`Walk::step`].
    pub(crate) async fn remove(&mut self, keys: &[Key]) -> Result<u64, StoreError> {
        self.scan.remove(&names(keys)).await
    }

    async fn summaries(&mut self, keys: Vec<Key>) -> Result<Vec<WalkedEntry>, StoreError> {
        let beginnings = self.beginnings(&keys, BEGINNING).await?;
        let mut walked = Vec::with_capacity(keys.len());
        for (key, beginning) in keys.into_iter().zip(beginnings) {
            let mut summary = Entry::summary(&beginning, &key.name());
            if summary.is_none() && beginning.len() == BEGINNING {
                let longer = self.beginnings(std::slice::from_ref(&key), LONG_BEGINNING).await?;
                summary = longer.first().and_then(|longer| Entry::summary(longer, &key.name()));
            }
            // It may have gone meanwhile.
            if !beginning.is_empty() {
                walked.push((key, summary));
            }
        }
        Ok(walked)
    }

    async fn beginnings(&mut self, keys: &[Key], length: usize) -> Result<Vec<Bytes>, StoreError> {
        let length = if self.encryption.is_some() { sealed_length(length) } else { length };
        let names = names(keys);
        let beginnings = self.scan.beginnings(&names, length).await?;
        let opened = |(name, bytes): (&String, Vec<u8>)| match &self.encryption {
            // What does not open has no summary.
            Some(encryption) => encryption.open_beginning(name, &bytes).unwrap_or(bytes.into()),
            None => bytes.into(),
        };
        Ok(names.iter().zip(beginnings).map(opened).collect())
    }
}

fn names(keys: &[Key]) -> Vec<String> {
    keys.iter().map(Key::name).collect()
}
