//! Redis as bytes under names. What the bytes mean is the business of [`RedisStore`](super::RedisStore).
//!
//! Redis can never hurt: every call has an outer deadline, and while Redis is of no use calls fail at once,
//! without a socket being touched. A breaker opens on the first sign that Redis is gone, and a
//! background task closes it again.
//!
//! | sign | what follows |
//! | --- | --- |
//! | connection lost; three timeouts in a row; a reply of the wrong kind; `LOADING`, `NOAUTH`, `MOVED` and the like | everything fails at once until a test lookup works again |
//! | `MISCONF` | the same, until a test write works again |
//! | `OOM`, `READONLY`, `NOREPLICAS`, `NOPERM` on a write | writes fail at once but for a probe every 500 ms; reads go on |
//! | `READONLY`; three timeouts in a row on one connection while others answer | fresh connections, without a gap |
//! | `WRONGTYPE` | nothing: only that key is concerned |
//!
//! The breaker, the gates and the connector are written by hand because an answer within 50 ms of a failed
//! Redis is promised. redis-rs' `ConnectionManager` reconnects too, but it retries by rules of its own; the
//! two were not compared in detail.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use ::redis::RedisError;
use futures_util::future::join_all;
use tokio::{sync::watch, task::AbortHandle};

mod address;
mod announcement;
mod batch;
mod breaker;
mod calls;
mod clock;
mod cluster;
pub(super) mod connections;
mod connector;
mod credentials;
pub(super) mod endpoint;
pub(super) mod error;
mod key_memory;
mod lease;
mod nodes;
pub(super) mod open_connection;
mod requirements;
mod scan;
pub(super) mod streams;
mod timeouts;
mod usage;
mod write_gate;

pub(crate) use error::OpenError;
pub use error::StoreError;
pub(crate) use lease::LeaseReply;
pub use lease::{Lease, LeaseState};
pub(super) use scan::Scan;

use breaker::Breaker;
use cluster::Cluster;
use connector::Connector;
use endpoint::Endpoint;
use key_memory::KeyMemory;
use nodes::Nodes;
use requirements::Lack;
use streams::Streams;
use usage::Figures;

use crate::{
    config::{RedisAccess, RedisTopology, RedisUrl},
    store::StoreStatus,
};

/// A change in what Redis can be used for, reported once each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// Redis cannot be used any more, or could not be reached at the start.
    Lost {
        /// Why, without anything secret.
        reason: String,
    },
    /// Redis can be used again.
    Back,
    /// Redis takes no writes; reads go on.
    WritesRefused {
        /// Why, without anything secret.
        reason: String,
    },
    /// Redis took all writes for a while.
    WritesBack,
    /// What Redis lacks is something else than before.
    Lacks {
        /// What, and what to do about it; empty if nothing is missing any more.
        texts: Vec<String>,
    },
}

/// Bytes under keys in Redis.
pub struct RedisClient {
    nodes: Arc<Nodes>,
    keys: KeyMemory,
    namespace: String,
    streams: Streams,
    timeout: Duration,
    /// Counts the connections.
    connections: Endpoint,
    itself: Weak<Self>,
    /// The connector, and the one that looks at the file of the password.
    tasks: [AbortHandle; 2],
}

impl RedisClient {
    /// Begins to connect to the Redis at `url` and does not wait for it; until it is reached, every call
    /// fails with [`StoreError::Unavailable`]. `timeout` is the deadline of each call. `on_change` is called
    /// from a background task, once for each change; a first connection that works at once is no change. It
    /// must neither block nor panic.
    ///
    /// # Errors
    /// If `url` is no URL of Redis, or a file of `access` is of no use.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn open(
        url: &str,
        access: &RedisAccess,
        namespace: &str,
        timeout: Duration,
        on_change: impl Fn(StoreEvent) + Send + Sync + 'static,
    ) -> Result<Arc<Self>, OpenError> {
        let url = RedisUrl::parse(url).map_err(OpenError::settings)?;
        let endpoint = Endpoint::new(&url, access)?;
        let connections = endpoint.clone();
        let passwords = tokio::spawn(endpoint.credentials().clone().watch()).abort_handle();
        let (nodes, task) = if url.topology == RedisTopology::Cluster {
            let cluster =
                Cluster::new(Endpoint::seeds(&endpoint, &url, access)?, timeout, namespace, on_change);
            (Nodes::Cluster(Arc::clone(&cluster)), tokio::spawn(cluster.run()))
        } else {
            let (breaker, losses) = Breaker::new(endpoint, timeout, namespace);
            let breaker = Arc::new(breaker);
            let idle_key = format!("{namespace}:_:probe");
            let connector = Connector::new(Arc::clone(&breaker), losses, on_change, idle_key);
            (Nodes::One(breaker), tokio::spawn(connector.run()))
        };
        let nodes = Arc::new(nodes);
        Ok(Arc::new_cyclic(|itself| Self {
            nodes,
            keys: KeyMemory::new(),
            namespace: namespace.to_owned(),
            streams: Streams::new(namespace),
            timeout,
            connections,
            itself: itself.clone(),
            tasks: [task.abort_handle(), passwords],
        }))
    }

    /// Waits until Redis can be used, but no longer than `within`; whether it can.
    pub async fn ready(&self, within: Duration) -> bool {
        let _ = tokio::time::timeout(within, self.nodes.ready()).await;
        self.connected()
    }

    /// Whether Redis can be used, as far as is known.
    pub fn connected(&self) -> bool {
        self.nodes.connected()
    }

    /// Why Redis cannot be used, for `check` and for logs; `None` while it can, and before the first try
    /// ended.
    pub fn last_error(&self) -> Option<String> {
        self.nodes.last_error()
    }

    /// What Redis lacks and why it takes no writes, as far as is known: one text for each.
    pub fn lacks(&self) -> Vec<String> {
        self.distinct_lacks().into_iter().map(|lack| lack.text).collect()
    }

    /// What some server lacks, each once.
    fn distinct_lacks(&self) -> Vec<Lack> {
        let mut distinct = Vec::new();
        for lack in self.nodes.all().iter().flat_map(|server| server.lacks()) {
            if !distinct.contains(&lack) {
                distinct.push(lack);
            }
        }
        distinct
    }

    /// What `/health` shows of Redis: whether it can be used, how many keys the namespace has besides those
    /// under `NAMESPACE:_:`, and the bytes of memory that Redis uses for everything in it. A count of a table
    /// that changes meanwhile is near, not exact.
    ///
    /// Takes some 200 ms at most, whatever Redis does, and no lookup waits for it; figures that take longer
    /// are made in the background, and the last known ones are given.
    pub async fn status(&self) -> StoreStatus {
        let servers: Vec<_> = self.nodes.all().iter().map(|server| Arc::clone(&server.usage)).collect();
        let connected = self.connected();
        let figures = if connected {
            let figures = join_all(servers.iter().map(|server| server.figures())).await;
            figures.into_iter().reduce(Figures::plus).unwrap_or_default()
        } else {
            servers.iter().for_each(|server| server.close());
            Figures::default()
        };
        let lacks = self.distinct_lacks();
        let connected = connected && self.connected();
        let reason = (!connected).then(|| self.last_error()).flatten();
        StoreStatus {
            name: "redis",
            connected,
            is_impaired: lacks.iter().any(|lack| lack.is_serious),
            problem: joined(reason.into_iter().chain(lacks.into_iter().map(|lack| lack.text))),
            total_keys: figures.keys,
            memory_used: figures.memory,
            memory_limit: figures.memory_limit,
            password_ends: self.connections.credentials().password_ends(),
            connections: Some(self.connections.connections()),
            replicas: None,
        }
    }

    /// The deadline of a call.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// The state of the connections, for a task that has some of its own and reads the log.
    pub(super) fn health(&self) -> Health {
        self.health_of(self.streams.log.clone())
    }

    /// The same for a task that reads `key`.
    pub(super) fn health_of(&self, key: String) -> Health {
        Health { generations: self.nodes.generations(), nodes: Arc::clone(&self.nodes), key }
    }

    /// By how many milliseconds this machine's clock is ahead of that of Redis, negative if it is behind; `None` if
    /// Redis does not say.
    pub(crate) async fn clock_ahead(&self) -> Option<i64> {
        clock::ahead(&self.nodes.endpoint(&self.streams.log).ok()?).await.ok()
    }

    /// A walk through the names that match `pattern`; `from` is the cursor with which it begins.
    pub(crate) fn scan(&self, pattern: String, from: u64) -> Scan {
        Scan::new(Arc::clone(&self.nodes), pattern, from)
    }

    /// Replaces the connections by fresh ones, at most once a second, without a gap. A value that does not
    /// fit its key is a reason: replies may have slipped against requests.
    pub(crate) fn refresh_connections(&self) {
        self.nodes.all().iter().for_each(|server| server.ask_refresh());
    }

    /// Whether a write and its announcement go to different servers.
    pub(super) fn is_cluster(&self) -> bool {
        self.nodes.is_cluster()
    }
}

/// The texts as one; `None` if there are none.
fn joined(texts: impl Iterator<Item = String>) -> Option<String> {
    let texts: Vec<_> = texts.collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// The state of the connections, for a task that has some of its own to the same server.
pub(super) struct Health {
    generations: watch::Receiver<u64>,
    nodes: Arc<Nodes>,
    /// What the task reads.
    key: String,
}

impl Health {
    /// Forgets changes up to now.
    pub(super) fn mark_seen(&mut self) {
        self.generations.mark_unchanged();
    }

    /// Where the server is that has the key.
    ///
    /// # Errors
    /// If none is known to have it.
    pub(super) fn endpoint(&self) -> Result<Endpoint, RedisError> {
        self.nodes.endpoint(&self.key)
    }

    /// Waits until calls about the key may go to another server than `present`.
    pub(super) async fn server_changed(&mut self, present: &Endpoint) {
        while self.generations.changed().await.is_ok() {
            // In a cluster, mostly other slots have moved.
            let is_same = || self.endpoint().is_ok_and(|endpoint| endpoint.is_same(present));
            if !self.nodes.is_cluster() || !is_same() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Reports that the task's own connection was lost.
    pub(super) fn report_loss(&self) {
        if let Ok(server) = self.nodes.of(&self.key) {
            server.doubt();
        }
        self.ask_refresh();
    }

    /// Asks where the key is now: its slot may have moved, and nothing is sent while that is not known.
    pub(super) fn ask_refresh(&self) {
        if let Nodes::Cluster(cluster) = &*self.nodes {
            cluster.ask_refresh();
        }
    }
}

impl Drop for RedisClient {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("RedisClient").field("connected", &self.connected()).finish_non_exhaustive()
    }
}
