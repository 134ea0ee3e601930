//! Sweeps: what was retired goes from the store, and what a retirement is about is counted.
//!
//! A sweep is in no hurry. What is retired is found by nobody already; only its space is given back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use super::{MemoryStore, RedisStore, Store, StoreError, memory::Walked};
use crate::cache::{
    invalidation::{Dependencies, Invalidation, InvalidationLog, TargetId, Version},
    key::{Key, namespace::Namespace},
};

/// Entries of the process that are looked at in a row: who shares the core waits no longer than for these.
const STEP: usize = 10;

/// After each step it rests this many times as long as the step took. Of a step with Redis, most is waiting.
const REST: u32 = 9;
const REST_FROM_REDIS: u32 = 14;

/// The shortest rest.
const SHORTEST_REST: Duration = Duration::from_millis(1);

/// What a sweep does.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// What it counts: entries that this is about.
    pub invalidation: Invalidation,
    /// Whether retired entries are removed, and those alone are counted.
    pub remove: bool,
}

/// A sweep under way, which goes on by itself.
#[derive(Debug)]
pub struct Sweeping {
    counted: Arc<AtomicU64>,
    task: JoinHandle<Result<(), StoreError>>,
}

impl Sweeping {
    /// How many entries it has counted so far.
    pub fn counted(&self) -> u64 {
        self.counted.load(Ordering::Relaxed)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Where the store failed before it had.
    pub async fn ended(&mut self) -> Result<(), StoreError> {
        (&mut self.task).await.unwrap_or(Err(StoreError::Unavailable))
    }
}

impl Store {
    /// Begins a sweep through the entries of `namespace`.
    pub fn sweep<T: Send + 'static>(&self, namespace: Namespace, sweep: Sweep, until_end: T) -> Sweeping {
        let counted = Arc::<AtomicU64>::default();
        let count = Arc::clone(&counted);
        let task = match self {
            Self::Memory(store) => {
                let store = store.clone();
                tokio::task::spawn_blocking(move || {
                    let _held = until_end;
                    sweep.memory(&store, namespace, &count);
                    Ok(())
                })
            }
            Self::Redis(store) => {
                let store = Arc::clone(store);
                tokio::spawn(async move {
                    let _held = until_end;
                    sweep.redis(&store, namespace, &count).await
                })
            }
        };
        Sweeping { counted, task }
    }
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    counts: bool,
    goes: bool,
}

impl Sweep {
    /// Judges an entry by what is known of it: when it began and what it depends on, but for its key.
    fn judge(
        &self,
        invalidations: &InvalidationLog,
        key: &Key,
        known: Option<(Version, &[TargetId])>,
    ) -> Verdict {
        let of = Dependencies { key, target_ids: known.map_or(&[], |(_, target_ids)| target_ids) };
        let concerned = self.invalidation.concerns(&of);
        let invalidated = match known {
            Some((began, _)) => invalidations.is_invalidated(began, of),
            // Nobody is ever served this one; it may be another version's.
            None => concerned,
        };
        Verdict { counts: concerned && (invalidated || !self.remove), goes: invalidated && self.remove }
    }

    fn memory(&self, store: &MemoryStore, namespace: Namespace, counted: &AtomicU64) {
        let mut began = Instant::now();
        for (index, Walked { key, packed, .. }) in store.walk(namespace).enumerate() {
            let summary = packed.summary();
            let known = summary.as_ref().map(|summary| (summary.began, &summary.target_ids[..]));
            let verdict = self.judge(store.invalidations(), &key, known);
            // Where a new entry has come meanwhile, it costs one more call of the upstream.
            let done = !verdict.goes || store.remove(&key);
            if verdict.counts && done {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            if index % STEP == STEP - 1 {
                thread::sleep((began.elapsed() * REST).max(SHORTEST_REST));
                began = Instant::now();
            }
        }
    }

    async fn redis(
        &self,
        store: &RedisStore,
        namespace: Namespace,
        counted: &AtomicU64,
    ) -> Result<(), StoreError> {
        store.writing.settled().await;
        let mut walk = store.walk(namespace, self.invalidation.only_kind());
        loop {
            let began = Instant::now();
            let Some(seen) = walk.step().await? else { return Ok(()) };
            // Without a current copy of the order, everything would seem retired.
            store.invalidations().now(began).ok_or(StoreError::Unavailable)?;
            let (mut counting, mut going) = (Vec::new(), Vec::new());
            for (key, summary) in seen {
                let known = summary.as_ref().map(|summary| (summary.began, &summary.target_ids[..]));
                match self.judge(store.invalidations(), &key, known) {
                    Verdict { counts: true, goes: true } => counting.push(key),
                    Verdict { counts: false, goes: true } => going.push(key),
                    Verdict { counts, goes: false } => {
                        counted.fetch_add(u64::from(counts), Ordering::Relaxed);
                    }
                }
            }
            counted.fetch_add(walk.remove(&counting).await?, Ordering::Relaxed);
            walk.remove(&going).await?;
            tokio::time::sleep((began.elapsed() * REST_FROM_REDIS).max(SHORTEST_REST)).await;
        }
    }
}
