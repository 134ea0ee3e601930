//! The connections that lookups use.
//!
//! A multiplexed connection answers in order, so one large value holds up all that follow it: values of
//! `LARGE` bytes and more have a connection of their own. All others share one: under load, what many requests
//! ask is then one write, one read and one wake-up, here and in Redis, and what is asked of one key reaches Redis in
//! the order it was asked.

use std::{
    hash::BuildHasher,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use ::redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, Value, aio::MultiplexedConnection};

use super::{
    error::{CANNOT_SAVE, protocol, within},
    timeouts::Timeouts,
};

/// Values of this many bytes and more use the connection for large ones.
pub(super) const LARGE: usize = 64 * 1024;

/// For a connection to be made: name resolution, TCP, TLS and login together.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Commands waiting to be written on a lane. When the peer reads no more they lie there, values and all, until
/// the connection is given up.
const SMALL_QUEUE: usize = 64;
const LARGE_QUEUE: usize = 4;

/// What must work before connections are used.
#[derive(Debug)]
pub(super) struct Probe {
    /// The key that is read.
    pub(super) key: String,
    /// A key that nothing is stored under, and that is removed all the same, where Redis took no writes.
    pub(super) writes: Option<String>,
}

/// One connection, and how it has been doing.
#[derive(Debug)]
pub(super) struct Lane {
    connection: MultiplexedConnection,
    pub(super) strikes: Timeouts,
}

impl Lane {
    fn new(connection: MultiplexedConnection) -> Self {
        Self { connection, strikes: Timeouts::new(Instant::now()) }
    }

    /// Sends one command. Dropping the future never shifts replies: redis-rs keeps a place for the reply in its
    /// queue and throws it away when it comes.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        send(&mut self.connection.clone(), command).await
    }

    /// Sends the commands of a transaction, its first and last among them; what the last one says, or the first error.
    pub(super) async fn send_together(&self, commands: &Pipeline) -> Result<Value, RedisError> {
        let sent = self.connection.clone().send_packed_commands(commands, 0, commands.len()).await?;
        let mut last = Value::Nil;
        for reply in sent {
            last = match reply {
                Value::ServerError(error) => return Err(error.into()),
                reply => reply,
            };
        }
        Ok(last)
    }
}

/// The connections of one generation: made together, given up together.
#[derive(Debug)]
pub(super) struct Lanes {
    /// For all but large values.
    pub(super) small: Lane,
    /// For large values: its slowness says nothing about the server.
    pub(super) large: Lane,
}

impl Lanes {
    /// Connects, and makes sure by `probe` that calls will work. The deadline is that of calls: a Redis that cannot
    /// keep it is as good as away, and to call it back at once would lose it again three lookups later.
    pub(super) async fn open(client: &Client, probe: &Probe, deadline: Duration) -> Result<Self, RedisError> {
        let (key, deadline) = (&probe.key, deadline.min(CONNECT_TIMEOUT));
        // One after the other: while Redis is away, every try then costs one connection.
        let small = open_lane(client, SMALL_QUEUE, key, deadline).await?;
        if let Some(key) = &probe.writes {
            try_write(&small, key, deadline).await?;
        }
        let large = open_lane(client, LARGE_QUEUE, key, deadline).await?;
        Ok(Self { small, large })
    }

    /// The one for a value that is large, or is not.
    pub(super) const fn pick(&self, is_large: bool) -> &Lane {
        if is_large { &self.large } else { &self.small }
    }
}

/// Opens a connection, without retries; `queue` commands may wait to be written.
pub(super) async fn open_connection(
    client: &Client,
    queue: usize,
) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_pipeline_buffer_size(queue)
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        // Every call has an outer deadline, which also covers the wait for a place in the queue.
        .set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// Sends one command; an error reply is an error.
pub(super) async fn send(connection: &mut MultiplexedConnection, command: &Cmd) -> Result<Value, RedisError> {
    match connection.send_packed_command(command).await? {
        Value::ServerError(error) => Err(error.into()),
        value => Ok(value),
    }
}

/// The command that reads a key.
pub(super) fn get(key: &str) -> Cmd {
    const NAME: &str = "GET";
    let mut command = Cmd::with_capacity(2, NAME.len() + key.len());
    command.arg(NAME).arg(key);
    command
}

async fn open_lane(client: &Client, queue: usize, key: &str, deadline: Duration) -> Result<Lane, RedisError> {
    let lane = Lane::new(open_connection(client, queue).await?);
    match within(deadline, lane.send(&get(key))).await {
        Ok(Value::Nil | Value::BulkString(_)) => Ok(lane),
        Ok(_) => Err(protocol()),
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(lane),
        Err(error) => Err(error),
    }
}

/// Whether Redis refuses all writes. This one changes nothing; that it may not be sent says nothing of others.
async fn try_write(lane: &Lane, key: &str, deadline: Duration) -> Result<(), RedisError> {
    match within(deadline, lane.send(::redis::cmd("DEL").arg(key))).await {
        Err(error) if error.code().is_none_or(|code| code == CANNOT_SAVE) => Err(error),
        _ => Ok(()),
    }
}

/// Remembers which keys hold large values, so that reads of them take the large lane too. A hint: a place is
/// shared by all keys that hash to it, and the last one has it.
pub(super) struct LargeKeys {
    hasher: std::hash::RandomState,
    places: Box<[AtomicU64]>,
}

impl LargeKeys {
    const PLACES: usize = 4096;

    pub(super) fn new() -> Self {
        Self {
            hasher: std::hash::RandomState::new(),
            places: (0..Self::PLACES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(super) fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }

    pub(super) fn contains(&self, hash: u64) -> bool {
        self.place(hash).load(Ordering::Relaxed) == hash
    }

    /// Notes the size in bytes of the value last seen under a key.
    pub(super) fn note(&self, hash: u64, size: usize) {
        let place = self.place(hash);
        if size >= LARGE {
            place.store(hash, Ordering::Relaxed);
        } else if place.load(Ordering::Relaxed) == hash {
            place.store(0, Ordering::Relaxed);
        }
    }

    fn place(&self, hash: u64) -> &AtomicU64 {
        &self.places[hash as usize % Self::PLACES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_keys_are_remembered_until_small() {
        let keys = LargeKeys::new();
        let (one, other) = (keys.hash("one"), keys.hash("other"));
        keys.note(one, LARGE);
        assert!(keys.contains(one));
        assert!(!keys.contains(other));
        keys.note(one, LARGE - 1);
        assert!(!keys.contains(one));
    }
}
