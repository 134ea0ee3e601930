//! Where Redis is: it makes the connections to it, and counts those that are open.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ::redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};

/// For making a connection: name resolution, TCP, TLS and login together.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// One Redis. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    client: Client,
    open: Arc<AtomicU64>,
}

impl Endpoint {
    pub(super) fn new(client: Client) -> Self {
        Self { client, open: Arc::default() }
    }

    /// How many connections are open.
    pub(super) fn connections(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Opens a connection, without retries; `queue` commands may wait to be written.
    pub(crate) async fn connect(&self, queue: usize) -> Result<OpenConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_pipeline_buffer_size(queue)
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            // Every call has an outer deadline, which also covers the wait for a place in the queue.
            .set_response_timeout(None);
        let multiplexed = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(OpenConnection { multiplexed, open: Arc::clone(&self.open) })
    }
}

/// A connection. It counts as open until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    multiplexed: MultiplexedConnection,
    open: Arc<AtomicU64>,
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
