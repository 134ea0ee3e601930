//! A sweep counts the entries that an invalidation concerns, and removes those that are invalidated.
//!
//! It is in no hurry: nobody finds invalidated entries any more, so it only frees their space. Varnish calls
//! it the ban lurker.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use super::{MemoryStore, RedisStore, Store, StoreError, memory::WalkedEntry};
use crate::cache::{
    invalidation::{Dependencies, Invalidation, InvalidationLog, TargetId, Version},
    key::{Key, namespace::Namespace},
};

/// Entries in memory that are looked at in a row: other work on the core waits no longer than for these.
const STEP: usize = 10;

/// After each step, a sweep rests this many times as long as the step took. A step with Redis is mostly
/// waiting.
const REST: u32 = 9;
const REST_FROM_REDIS: u32 = 14;

const SHORTEST_REST: Duration = Duration::from_millis(1);

#[derive(Clone, Debug)]
pub(crate) struct Sweep {
    /// Entries that this concerns are counted.
    pub(crate) invalidation: Invalidation,
    /// Whether invalidated entries are removed, and only those are counted.
    pub(crate) remove: bool,
}

/// A sweep under way, in a task of its own.
#[derive(Debug)]
pub(crate) struct RunningSweep {
    counted: Arc<AtomicU64>,
    task: JoinHandle<Result<(), StoreError>>,
}

impl RunningSweep {
    /// How many entries it has counted so far.
    pub(crate) fn counted(&self) -> u64 {
        self.counted.load(Ordering::Relaxed)
    }

    /// Waits until the sweep has ended.
    ///
    /// # Errors
    /// If the store failed before that.
    pub(crate) async fn ended(&mut self) -> Result<(), StoreError> {
        (&mut self.task).await.unwrap_or(Err(StoreError::Unavailable))
    }
}

impl Store {
    /// Begins a sweep through the entries of `namespace`; `until_end` is dropped when it ends.
    pub(crate) fn sweep<T: Send + 'static>(
        &self,
        namespace: Namespace,
        sweep: Sweep,
        until_end: T,
    ) -> RunningSweep {
        let counted = Arc::<AtomicU64>::default();
        let count = Arc::clone(&counted);
        let task = match self {
            Self::Memory(store) => {
                let store = store.clone();
                tokio::task::spawn_blocking(move || {
                    let _until_end = until_end;
                    sweep.sweep_memory(&store, namespace, &count);
                    Ok(())
                })
            }
            Self::Redis(store) => {
                let store = Arc::clone(store);
                tokio::spawn(async move {
                    let _until_end = until_end;
                    sweep.sweep_redis(&store, namespace, &count).await
                })
            }
        };
        RunningSweep { counted, task }
    }
}

/// What a sweep does with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    counts: bool,
    removes: bool,
}

impl Sweep {
    /// Judges an entry by its key and its summary: when its fill began, and what it depends on.
    fn judge(
        &self,
        invalidations: &InvalidationLog,
        key: &Key,
        summary: Option<(Version, &[TargetId])>,
    ) -> Verdict {
        let target_ids = summary.map_or(&[][..], |(_, target_ids)| target_ids);
        let dependencies = Dependencies { key, target_ids };
        let concerned = self.invalidation.concerns(&dependencies);
        let invalidated = match summary {
            Some((began, _)) => invalidations.is_invalidated(began, dependencies),
            // Nobody is ever served this one; another version of sidecache may have written it.
            None => concerned,
        };
        Verdict { counts: concerned && (invalidated || !self.remove), removes: invalidated && self.remove }
    }

    fn sweep_memory(&self, store: &MemoryStore, namespace: Namespace, counted: &AtomicU64) {
        let mut began = Instant::now();
        for (index, WalkedEntry { key, packed, .. }) in store.walk(namespace, 0).enumerate() {
            let summary = packed.summary();
            let summary = summary.as_ref().map(|summary| (summary.began, &summary.target_ids[..]));
            let verdict = self.judge(store.invalidations(), &key, summary);
            // If a new entry has come meanwhile, its removal costs one more call of the upstream.
            let done = !verdict.removes || store.remove(&key);
            if verdict.counts && done {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            if index % STEP == STEP - 1 {
                thread::sleep((began.elapsed() * REST).max(SHORTEST_REST));
                began = Instant::now();
            }
        }
    }

    async fn sweep_redis(
        &self,
        store: &RedisStore,
        namespace: Namespace,
        counted: &AtomicU64,
    ) -> Result<(), StoreError> {
        let mut walk = store.walk(namespace, self.invalidation.only_kind(), 0).await;
        loop {
            let began = Instant::now();
            let Some(entries) = walk.step().await? else { return Ok(()) };
            // Without a current copy of the log, everything would seem invalidated.
            store.invalidations().now(began).ok_or(StoreError::Unavailable)?;
            let mut counted_keys = Vec::new();
            let mut other_keys = Vec::new();
            for (key, summary) in entries {
                let summary = summary.as_ref().map(|summary| (summary.began, &summary.target_ids[..]));
                match self.judge(store.invalidations(), &key, summary) {
                    Verdict { counts: true, removes: true } => counted_keys.push(key),
                    Verdict { counts: false, removes: true } => other_keys.push(key),
                    Verdict { counts, removes: false } => {
                        counted.fetch_add(u64::from(counts), Ordering::Relaxed);
                    }
                }
            }
            counted.fetch_add(walk.remove(&counted_keys).await?, Ordering::Relaxed);
            walk.remove(&other_keys).await?;
            tokio::time::sleep((began.elapsed() * REST_FROM_REDIS).max(SHORTEST_REST)).await;
        }
    }
}
