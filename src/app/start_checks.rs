//! What is looked at once, at the start: how many files may be open, and how far the clock of Redis is from this one.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::lifecycle;
use crate::{
    config::{Limits, LogLevel},
    server::open_files::{Shortage, make_room},
    store::{RedisStore, Store},
};

/// Clocks that are further apart than this, in milliseconds, are worth a line.
const MAX_APART: u64 = 1000;

/// How long a start waits, in the background, for the Redis whose clock it reads.
const PATIENCE: Duration = Duration::from_secs(60);

/// Raises the limit of open files, and logs where it stays too low.
pub(super) fn open_files(limits: &Limits) {
    if let Err(Shortage { limit, needed }) = make_room(limits.max_connections, limits.max_upstream_requests) {
        let message = format!(
            "only {limit} files may be open (ulimit -n), and {needed} are needed: raise the hard limit (LimitNOFILE of \
             systemd, --ulimit of Docker), or lower limits.max_connections or limits.max_upstream_requests"
        );
        lifecycle(LogLevel::Warning, &message, json!({"limit": limit, "needed": needed}));
    }
}

/// Logs, once Redis is there, if its clock is another one. Nothing waits for that.
pub(super) fn clock(store: &Store) {
    let Store::Redis(store) = store else { return };
    let store = Arc::clone(store);
    tokio::spawn(async move {
        store.client().ready(PATIENCE).await;
        if let Some(ahead) = ahead(&store).await {
            lifecycle(LogLevel::Warning, &clock_text(ahead), json!({"ahead_ms": ahead}));
        }
    });
}

/// The warning about the clocks, if there is one.
pub(crate) async fn clock_warning(store: &Store) -> Option<String> {
    match store {
        Store::Memory(_) => None,
        Store::Redis(store) => ahead(store).await.map(clock_text),
    }
}

/// By how many milliseconds this machine's clock is ahead of that of Redis, if that matters.
async fn ahead(store: &RedisStore) -> Option<i64> {
    store.client().clock_ahead().await.filter(|ahead| ahead.unsigned_abs() > MAX_APART)
}

fn clock_text(ahead: i64) -> String {
    let seconds = ahead.unsigned_abs() as f64 / 1000.0;
    let word = if ahead > 0 { "ahead of" } else { "behind" };
    format!(
        "this machine's clock is {seconds:.1} s {word} that of Redis: set both by NTP; answers of other replicas seem \
         older or newer than they are"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_which_clock_is_wrong_by_how_much() {
        assert!(clock_text(2500).starts_with("this machine's clock is 2.5 s ahead of that of Redis: "));
        assert!(clock_text(-61_000).starts_with("this machine's clock is 61.0 s behind that of Redis: "));
    }
}
