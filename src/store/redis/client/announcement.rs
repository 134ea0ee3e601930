//! The announcement of a write in a cluster, which goes to another server than the write.
//!
//! The near caches of other replicas may have the old value. So it is sent also if nobody knows whether the write was carried
//! out, and again if it fails.

use std::{cell::Cell, sync::Weak, time::Duration};

use super::{RedisClient, StoreError};
use crate::cache::invalidation::Offset;

/// How often an announcement is tried again: for a minute, since a fail-over takes 15 s by default
/// (`cluster-node-timeout`). Nothing is written for long without that server, which has the invalidation log too, so few
/// announcements wait.
const TRIES: u32 = 600;

/// Between two of these tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Announces a write of a key. Dropped before it was sent, it is sent in the background.
pub(super) struct Announcement {
    client: Weak<RedisClient>,
    key: String,
    is_due: Cell<bool>,
}

impl Announcement {
    /// To be made before the write is sent.
    pub(super) fn of(client: &RedisClient, key: &str) -> Self {
        Self { client: client.itself.clone(), key: key.to_owned(), is_due: Cell::new(true) }
    }

    /// Not needed if the server has refused the write. Without its reply, nobody knows.
    pub(super) fn unless_refused<T>(&self, sent: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &sent {
            self.is_due.set(matches!(error, StoreError::Timeout | StoreError::Lost));
        }
        sent
    }

    /// Announces the write; its position, if it is known.
    pub(super) async fn send(self, client: &RedisClient) -> Option<Offset> {
        let announced = client.announce(&self.key).await;
        self.is_due.set(announced.is_err());
        announced.ok().flatten()
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if !self.is_due.get() {
            return;
        }
        let (client, key) = (self.client.clone(), std::mem::take(&mut self.key));
        tokio::spawn(async move {
            for _ in 0..TRIES {
                let Some(client) = client.upgrade() else { return };
                if client.announce(&key).await.is_ok() {
                    return;
                }
                drop(client);
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
}
