//! The records, by partition, by key and by when they end.

use std::collections::{BTreeSet, HashMap, hash_map::Entry};

use super::{Record, is_news};
use crate::cache::semantic::question::{CallerId, Partition};

#[derive(Debug)]
pub(super) struct StoredQuestions {
    max_entries: usize,
    /// No list is empty.
    by_partition: HashMap<Partition, Vec<Record>>,
    by_key: HashMap<Box<str>, Place>,
    by_end: BTreeSet<(u64, Box<str>)>,
}

/// Where a record is.
#[derive(Clone, Copy, Debug)]
struct Place {
    partition: Partition,
    position: usize,
}

impl StoredQuestions {
    pub(super) fn new(max_entries: usize) -> Self {
        let (by_partition, by_key, by_end) = Default::default();
        Self { max_entries, by_partition, by_key, by_end }
    }

    pub(super) fn insert(&mut self, mut record: Record, now: u64) -> bool {
        self.remove_expired(now);
        if let Some(former) = self.remove(&record.key) {
            for caller in former.callers {
                note(&mut record, caller);
            }
        }
        if record.expires_at <= now || self.by_key.len() >= self.max_entries {
            return false;
        }
        let records = self.by_partition.entry(record.partition).or_default();
        let place = Place { partition: record.partition, position: records.len() };
        self.by_key.insert(record.key.clone(), place);
        self.by_end.insert((record.expires_at, record.key.clone()));
        records.push(record);
        true
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Record> {
        let Place { partition, position } = self.by_key.remove(key)?;
        let Entry::Occupied(mut records) = self.by_partition.entry(partition) else { return None };
        let removed = records.get_mut().swap_remove(position);
        if let Some(moved) = records.get().get(position) {
            self.by_key.insert(moved.key.clone(), Place { partition, position });
        }
        if records.get().is_empty() {
            records.remove();
        }
        self.by_end.remove(&(removed.expires_at, removed.key.clone()));
        Some(removed)
    }

    fn remove_expired(&mut self, now: u64) {
        while let Some((end, key)) = self.by_end.first()
            && *end <= now
        {
            let key = key.clone();
            self.remove(&key);
        }
    }

    pub(super) fn asked_by(&mut self, key: &str, caller: CallerId) -> bool {
        self.get_mut(key).is_some_and(|record| note(record, caller))
    }

    pub(super) fn get(&self, key: &str) -> Option<&Record> {
        let place = self.by_key.get(key)?;
        self.of(place.partition).get(place.position)
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut Record> {
        let place = self.by_key.get(key)?;
        self.by_partition.get_mut(&place.partition)?.get_mut(place.position)
    }

    pub(super) fn of(&self, partition: Partition) -> &[Record] {
        self.by_partition.get(&partition).map_or(&[], Vec::as_slice)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.max_entries);
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn partitions(&self) -> usize {
        self.by_partition.len()
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.by_partition.values().flatten()
    }
}

/// Whether that is new.
fn note(record: &mut Record, caller: CallerId) -> bool {
    let is_news = is_news(record, caller);
    if is_news {
        record.callers.push(caller);
    }
    is_news
}
