//! `POST /purge`: retires at once, and then gives the space back.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    entries,
    error::AdminError,
    selection::{self, Selection},
};
use crate::{
    cache::invalidation::Invalidation,
    proxy::state::{Live, Shared},
    store::Sweep,
};

/// Sweeps under way at once.
pub(super) const MAX_SWEEPS: usize = 4;

/// How long an answer waits for what is counted; the sweep goes on after that.
const PATIENCE: Duration = Duration::from_secs(1);

/// Carries out the call with this body; `sweeps` bounds those under way.
pub(super) async fn purge(
    live: &Live,
    shared: &Shared,
    sweeps: &Arc<Semaphore>,
    text: &[u8],
) -> Result<Value, AdminError> {
    let namespace = live.classify_context.namespace;
    let purge = selection::read(text, namespace).map_err(AdminError::bad)?;
    let target = match purge.selection {
        Selection::One(key) if purge.dry_run => {
            return Ok(purged(shared.store.peek(&key).await?.is_some().into()));
        }
        Selection::One(key) => return Ok(purged(entries::take(shared, &key).await?.into())),
        Selection::Many(target) => target,
    };
    let Ok(permit) = Arc::clone(sweeps).try_acquire_owned() else {
        return Err(AdminError::unavailable("other purges are under way; try again shortly"));
    };
    let targets = [target];
    if !purge.dry_run {
        shared.store.invalidate(&targets).await?;
    }
    let sweep = Sweep { invalidation: Invalidation::new(&targets), remove: !purge.dry_run };
    let mut sweeping = shared.store.sweep(namespace, sweep, permit);
    if purge.dry_run {
        sweeping.ended().await?;
    } else {
        // Whatever comes of it: what is retired is found by nobody.
        let _ = timeout(PATIENCE, sweeping.ended()).await;
    }
    Ok(purged(sweeping.counted()))
}

fn purged(count: u64) -> Value {
    json!({"purged": count})
}
