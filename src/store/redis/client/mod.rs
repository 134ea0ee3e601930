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
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::{Cmd, Value};
use bytes::Bytes;
use tokio::task::AbortHandle;

mod address;
mod batch;
mod breaker;
mod clock;
pub(super) mod connections;
mod connector;
pub(super) mod endpoint;
pub(super) mod error;
mod lease;
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

use address::redis_at;
use breaker::{Breaker, Call, CallKind};
use connections::{LARGE, LargeKeys, get};
use connector::Connector;
use endpoint::Endpoint;
use streams::Streams;
use usage::{Figures, UsageScan};

use crate::{
    cache::invalidation::{Invalidation, Offset, Version},
    config::RedisTls,
    store::{MAX_TTL, StoreStatus},
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
}

/// How a value is put.
#[derive(Clone, Copy, Default)]
struct PutOptions {
    /// It is one of many, and goes over the connection for large values.
    is_bulk: bool,
    /// It does not replace another value.
    if_absent: bool,
}

/// Bytes under keys in one Redis.
pub struct RedisClient {
    breaker: Arc<Breaker>,
    usage: Arc<UsageScan>,
    large_keys: LargeKeys,
    namespace: String,
    streams: Streams,
    connector: AbortHandle,
}

impl RedisClient {
    /// Begins to connect to the Redis at `url` and does not wait for it; until it is reached, every call
    /// fails with [`StoreError::Unavailable`]. `timeout` is the deadline of each call. `on_change` is called
    /// from a background task, once for each change; a first connection that works at once is no change. It
    /// must neither block nor panic.
    ///
    /// # Errors
    /// If `url` is no Redis URL, or a file of `tls` is of no use.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn open(
        url: &str,
        tls: &RedisTls,
        namespace: &str,
        timeout: Duration,
        on_change: impl Fn(StoreEvent) + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        let redis = Endpoint::new(redis_at(url, tls)?);
        let usage = Arc::new(UsageScan::new(redis.clone(), namespace));
        let (breaker, losses) = Breaker::new(redis, timeout);
        let breaker = Arc::new(breaker);
        let connector = Connector::new(Arc::clone(&breaker), losses, on_change, namespace);
        Ok(Self {
            breaker,
            usage,
            large_keys: LargeKeys::new(),
            namespace: namespace.to_owned(),
            streams: Streams::new(namespace),
            connector: tokio::spawn(connector.run()).abort_handle(),
        })
    }

    /// Waits until Redis can be used, but no longer than `within`; whether it can.
    pub async fn ready(&self, within: Duration) -> bool {
        let _ = tokio::time::timeout(within, self.breaker.ready()).await;
        self.connected()
    }

    /// Whether Redis can be used, as far as is known.
    pub fn connected(&self) -> bool {
        self.breaker.connected()
    }

    /// Why Redis cannot be used, for `check` and for logs; `None` while it can, and before the first try
    /// ended.
    pub fn last_error(&self) -> Option<String> {
        self.breaker.last_error()
    }

    /// What `/health` shows of Redis: whether it can be used, how many keys the namespace has besides those
    /// under `NAMESPACE:_:`, and the bytes of memory that Redis uses for everything in it. A count of a table
    /// that changes meanwhile is near, not exact.
    ///
    /// Takes some 200 ms at most, whatever Redis does, and no lookup waits for it; figures that take longer
    /// are made in the background, and the last known ones are given.
    pub async fn status(&self) -> StoreStatus {
        let connected = self.connected();
        let figures = if connected {
            self.usage.figures().await
        } else {
            self.usage.close();
            Figures::default()
        };
        StoreStatus {
            name: "redis",
            connected: connected && self.connected(),
            total_keys: figures.keys,
            memory_used: figures.memory,
            connections: Some(self.breaker.redis.connections()),
            replicas: None,
        }
    }

    /// The deadline of a call.
    pub(crate) fn timeout(&self) -> Duration {
        self.breaker.timeout
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Where Redis is, for a connection of the caller's own.
    pub(crate) fn redis(&self) -> &Endpoint {
        &self.breaker.redis
    }

    /// The value under `key`; `None` if there is none.
    ///
    /// # Errors
    /// See [`StoreError`]; all of them are misses.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let connections = self.breaker.connections()?;
        let hash = self.large_keys.hash(key);
        let connection = self.breaker.for_lookup(&connections, key, self.large_keys.contains(hash));
        let call =
            Call { connections: &connections, connection, key, kind: CallKind::Read, within: Duration::MAX };
        match self.breaker.call(call, connection.send(&get(key))).await? {
            Value::Nil => Ok(None),
            Value::BulkString(value) => {
                self.large_keys.note(hash, value.len());
                Ok(Some(value.into()))
            }
            _ => Err(self.breaker.bad_reply(&connections)),
        }
    }

    /// Stores `value` under `key` for `ttl`, rounded up to whole milliseconds, and announces it. Returns its
    /// position in the stream of writes, if some replica listens. A call that times out, or whose future is
    /// dropped, may still store the value, even later.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Refused`] also without asking Redis, if it refused lately.
    pub async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<Option<Offset>, StoreError> {
        self.put_with(key, value, ttl, PutOptions::default()).await
    }

    /// As [`Self::put`], unless there is a value by now.
    ///
    /// # Errors
    /// See [`Self::put`].
    pub(crate) async fn put_if_absent(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
    ) -> Result<Option<Offset>, StoreError> {
        self.put_with(key, value, ttl, PutOptions { if_absent: true, ..PutOptions::default() }).await
    }

    /// Fails if a write would fail at once, before anything is done for it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] and [`StoreError::Refused`].
    pub(crate) fn check_writable(&self) -> Result<(), StoreError> {
        if !self.connected() {
            return Err(StoreError::Unavailable);
        }
        if self.breaker.writes.is_closed(Instant::now()) { Err(StoreError::Refused) } else { Ok(()) }
    }

    async fn put_with(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        options: PutOptions,
    ) -> Result<Option<Offset>, StoreError> {
        let connections = self.breaker.connections()?;
        let writes = &self.breaker.writes;
        if !writes.admits(Instant::now()) {
            return Err(StoreError::Refused);
        }
        let hash = self.large_keys.hash(key);
        // If the value before this one was large, this write uses the same connection, so that it cannot
        // overtake that one's.
        let is_large = options.is_bulk || value.len() >= LARGE || self.large_keys.contains(hash);
        let connection = connections.pick(is_large);
        let mut command = ::redis::cmd("SET");
        command.arg(key).arg(&value[..]).arg("PX").arg(millis(ttl));
        if options.if_absent {
            command.arg("NX");
        }
        let commands = self.streams.write_and_announce(key, command);
        let call =
            Call { connections: &connections, connection, key, kind: CallKind::Put, within: Duration::MAX };
        let reply = self.breaker.call(call, connection.send_together(&commands)).await?;
        match streams::announced_at(reply) {
            Some((Value::Okay, offset)) => {
                writes.open();
                self.large_keys.note(hash, value.len());
                Ok(offset)
            }
            Some((Value::Nil, offset)) if options.if_absent => Ok(offset),
            _ => Err(self.breaker.bad_reply(&connections)),
        }
    }

    /// Removes `key`, and announces that; whether the key was there. Sent even while other writes are
    /// refused: a full Redis can remove.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        let connections = self.breaker.connections()?;
        let hash = self.large_keys.hash(key);
        let connection = connections.pick(self.large_keys.contains(hash));
        let command = self.streams.remove_and_announce(key);
        let call =
            Call { connections: &connections, connection, key, kind: CallKind::Aside, within: Duration::MAX };
        match self.breaker.call(call, connection.send(&command)).await? {
            Value::Int(removed) => Ok(removed > 0),
            _ => Err(self.breaker.bad_reply(&connections)),
        }
    }

    /// Appends `invalidation` to the log that all replicas read; its position there.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) async fn append(
        &self,
        invalidation: &Invalidation,
        within: Duration,
    ) -> Result<Version, StoreError> {
        let connections = self.breaker.connections()?;
        let command = self.streams.invalidate(invalidation);
        let call = Call {
            connections: &connections,
            connection: &connections.small,
            key: &self.streams.log,
            kind: CallKind::Aside,
            within,
        };
        let reply = self.breaker.call(call, connections.small.send(&command)).await?;
        streams::invalidated_at(reply).ok_or_else(|| self.breaker.bad_reply(&connections))
    }

    /// Runs `script` with `keys` and `arguments`, and waits for its reply no longer than `within`.
    ///
    /// # Errors
    /// See [`StoreError`].
    async fn script(
        &self,
        script: &str,
        keys: &[&str],
        arguments: &[&str],
        within: Duration,
    ) -> Result<Value, StoreError> {
        let connections = self.breaker.connections()?;
        let mut command: Cmd = ::redis::cmd("EVAL");
        command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
        let key = keys.first().copied().unwrap_or_default();
        let connection = self.breaker.for_lookup(&connections, key, false);
        let call = Call { connections: &connections, connection, key, kind: CallKind::Aside, within };
        self.breaker.call(call, connection.send(&command)).await
    }

    /// By how many milliseconds this machine's clock is ahead of that of Redis, negative if it is behind; `None` if
    /// Redis does not say.
    pub(crate) async fn clock_ahead(&self) -> Option<i64> {
        clock::ahead(&self.breaker.redis).await.ok()
    }

    /// A walk through the names that match `pattern`; `from` is the cursor with which it begins.
    pub(crate) fn scan(&self, pattern: String, from: u64) -> Scan {
        Scan::new(self.breaker.redis.clone(), pattern, from)
    }

    /// Replaces the connections by fresh ones, at most once a second, without a gap. A value that does not
    /// fit its key is a reason: replies may have slipped against requests.
    pub(crate) fn refresh_connections(&self) {
        self.breaker.ask_refresh();
    }
}

impl Drop for RedisClient {
    fn drop(&mut self) {
        self.connector.abort();
    }
}

impl fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("RedisClient").field("connected", &self.connected()).finish_non_exhaustive()
    }
}

fn millis(ttl: Duration) -> u64 {
    let whole = ttl.min(MAX_TTL).as_nanos().div_ceil(1_000_000);
    u64::try_from(whole).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_never_zero_nor_too_long() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_micros(1500)), 2);
        assert_eq!(millis(Duration::from_secs(60)), 60_000);
        assert_eq!(millis(Duration::MAX), 3_153_600_000_000);
    }
}
