//! A connection to Redis, which counts as open until it is dropped.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ::redis::aio::MultiplexedConnection;

/// A connection.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    multiplexed: MultiplexedConnection,
    open: Arc<AtomicU64>,
}

impl OpenConnection {
    /// Counts `multiplexed` in `open`.
    pub(super) fn new(multiplexed: MultiplexedConnection, open: Arc<AtomicU64>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self { multiplexed, open }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Deref for OpenConnection {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        &self.multiplexed
    }
}

impl DerefMut for OpenConnection {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        &mut self.multiplexed
    }
}
