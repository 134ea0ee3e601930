//! Gets the keys again and again.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{source::Source, state::State, unix_time};
use crate::cache::identity::Identities;

/// How long keys count after they should have been got again, in seconds.
const KEPT: u64 = 60 * 60;

/// How long the next try waits after a failure, at most.
const RETRY: Duration = Duration::from_secs(15);

/// The least time between two tries for keys that tokens name and nobody knows: anybody can name keys.
const UNKNOWN_KEY_GAP: Duration = Duration::from_secs(10);

/// How often a file is looked at.
const FILE_INTERVAL: Duration = Duration::from_secs(2);

pub(super) struct Watch {
    source: Source,
    refresh: Duration,
    identities: Arc<Identities>,
    state: Arc<State>,
    /// How many sets were read.
    number: u64,
}

impl Watch {
    pub(super) const fn new(
        source: Source,
        refresh: Duration,
        identities: Arc<Identities>,
        state: Arc<State>,
    ) -> Self {
        Self { source, refresh, identities, state, number: 0 }
    }

    /// Looks after the keys. `wanted` tells of tokens that name unknown ones.
    pub(super) async fn run(mut self, wanted: Arc<Notify>) {
        let mut allowed = Instant::now();
        loop {
            let next =
                Instant::now() + if self.load().await { self.refresh } else { self.refresh.min(RETRY) };
            tokio::select! {
                () = self.until(next) => {}
                () = wanted_from(allowed, &wanted) => allowed = Instant::now() + UNKNOWN_KEY_GAP,
            }
        }
    }

    /// Gets the keys; says whether they are there.
    async fn load(&mut self) -> bool {
        self.number += 1;
        // A file says all that there is until it changes.
        let until =
            if self.source.is_file() { u64::MAX } else { unix_time() + self.refresh.as_secs() + KEPT };
        match self.source.load(self.number, until).await {
            Ok(keys) => {
                let count = keys.len();
                self.identities.set_keys(Some(keys));
                self.state.succeeded(count);
                true
            }
            Err(error) => {
                self.state.failed(error.to_string());
                false
            }
        }
    }

    /// Waits for `next`, or for a file to change.
    async fn until(&self, next: Instant) {
        if !self.source.is_file() {
            return sleep_until(next).await;
        }
        while !self.source.has_changed() {
            tokio::time::sleep(FILE_INTERVAL).await;
        }
    }
}

/// Waits for a token that names an unknown key, not before `allowed`.
async fn wanted_from(allowed: Instant, wanted: &Notify) {
    wanted.notified().await;
    sleep_until(allowed).await;
}
