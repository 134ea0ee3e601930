//! `POST /purge`: invalidates at once, then frees the space.
//!
//! An invalidated entry is never served, so that a purge counts before its sweep has begun. The sweep walks
//! all entries; it counts and removes those that the purge is about.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    entries,
    error::AdminError,
    selection::{Purge, Selection},
};
use crate::{
    cache::invalidation::{Invalidation, Target},
    proxy::state::{Live, Shared},
    store::Sweep,
    telemetry::{
        history::Event,
        stats::{InvalidationCause, PurgeCause},
    },
};

/// The most sweeps at once.
pub(super) const MAX_SWEEPS: usize = 4;

/// How long the response waits for the sweep's count. The sweep goes on after that.
const MAX_WAIT: Duration = Duration::from_secs(1);

pub(super) async fn purge(
    live: &Live,
    shared: &Shared,
    sweeps: &Arc<Semaphore>,
    body: &[u8],
) -> Result<Value, AdminError> {
    let namespace = live.classify_context.namespace;
    let purge = Purge::parse(body, namespace).map_err(AdminError::bad_request)?;
    let target = match purge.selection {
        Selection::One(key) if purge.dry_run => {
            return Ok(answer(shared.store.peek(&key).await?.is_some().into()));
        }
        Selection::One(key) => {
            let removed = entries::remove_all_forms(shared, &key).await?;
            mark(shared, PurgeCause::Key);
            return Ok(answer(removed.into()));
        }
        Selection::Many(target) => target,
    };
    let Ok(permit) = Arc::clone(sweeps).try_acquire_owned() else {
        return Err(AdminError::unavailable("other purges are under way; try again shortly"));
    };
    let cause = cause(&target);
    let targets = [target];
    if !purge.dry_run {
        shared.store.invalidate(&targets).await?;
        shared.stats.here().invalidated(InvalidationCause::Purge, targets.len());
        mark(shared, cause);
    }
    let sweep = Sweep { invalidation: Invalidation::new(&targets), remove: !purge.dry_run };
    let mut sweeping = shared.store.sweep(namespace, sweep, permit);
    if purge.dry_run {
        sweeping.ended().await?;
    } else {
        // An error or a timeout is no failure: the entries are invalidated already.
        let _ = timeout(MAX_WAIT, sweeping.ended()).await;
    }
    let count = sweeping.counted();
    if !purge.dry_run {
        shared.stats.here().purged(cause, count);
    }
    Ok(answer(count))
}

fn mark(shared: &Shared, cause: PurgeCause) {
    shared.history.mark(Event::Purge(cause), SystemTime::now());
}

const fn cause(target: &Target) -> PurgeCause {
    match target {
        Target::Kind(_) => PurgeCause::Kind,
        Target::Tag(_) => PurgeCause::Tag,
        Target::Pattern(_) => PurgeCause::Pattern,
        Target::All => PurgeCause::All,
        _ => PurgeCause::Key,
    }
}

fn answer(count: u64) -> Value {
    json!({"purged": count})
}
