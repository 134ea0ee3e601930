//! The connections that calls use.
//!
//! A multiplexed connection answers in order, so one large value holds up all that follow it: values of
//! `LARGE` bytes and more have a connection of their own. All other writes share one: under load, the commands of
//! many requests are then one write, one read and one wake-up, here and in Redis, and the writes of one
//! key reach Redis in their order.
//!
//! Lookups and leases need no order, since a write that is not finished is found in this process. They go over a
//! connection of their thread, so that a hit wakes no other thread: on two cores and four connections of clients, hits
//! in Redis came at 0.89 times the rate without it (`docs/performance-log.md`).

use std::{
    sync::{Arc, OnceLock},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use ::redis::{Cmd, ErrorKind, Pipeline, RedisError, Value, aio::MultiplexedConnection};
use futures_util::future::join_all;
use thread_local::ThreadLocal;

use super::{
    endpoint::{CONNECT_TIMEOUT, Endpoint, Server},
    error::{CANNOT_SAVE, protocol, within},
    open_connection::OpenConnection,
    timeouts::Timeouts,
};

/// Values of this many bytes and more use the connection for large ones.
pub(super) const LARGE: usize = 64 * 1024;

/// Commands that wait to be written on a connection. If the peer stops reading, they stay there, values and
/// all, until the connection is given up.
const SMALL_QUEUE: usize = 64;
const LARGE_QUEUE: usize = 4;

/// What must work before connections are used.
#[derive(Debug)]
pub(super) struct Probe {
    /// A key that is looked up.
    pub(super) key: String,
    /// A key that nothing is stored under. It is removed to try a write.
    pub(super) idle_key: String,
}

/// One connection, and its timeouts in a row.
#[derive(Debug)]
pub(super) struct Connection {
    multiplexed: OpenConnection,
    pub(super) timeouts: Timeouts,
}

impl Connection {
    fn new(multiplexed: OpenConnection) -> Self {
        Self { multiplexed, timeouts: Timeouts::new(Instant::now()) }
    }

    /// Sends one command. Dropping the future never shifts replies: redis-rs reserves a place for the reply
    /// in its queue and discards it when it comes.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        send(&mut self.multiplexed.clone(), command).await
    }

    /// Sends one command to a server that gets its slot just now.
    pub(super) async fn send_asking(&self, command: &Cmd) -> Result<Value, RedisError> {
        let mut commands = ::redis::pipe();
        commands.cmd("ASKING");
        commands.add_command(command.clone());
        self.send_together(&commands).await
    }

    /// Sends the commands of a transaction, `MULTI` and `EXEC` included; the last reply, or the first error.
    pub(super) async fn send_together(&self, commands: &Pipeline) -> Result<Value, RedisError> {
        let sent = self.multiplexed.clone().send_packed_commands(commands, 0, commands.len()).await?;
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
pub(super) struct Connections {
    /// For all but large values.
    pub(super) small: Connection,
    /// For large values. If it is slow, that says nothing about the server.
    pub(super) large: Connection,
    /// The server that all of them lead to.
    server: Server,
    /// The thread that drives these two.
    home: ThreadId,
    /// For the lookups and leases of each other thread, once it is open.
    by_thread: ThreadLocal<Arc<OnceLock<Connection>>>,
}

impl Connections {
    /// Connects, and makes sure by `probe` that calls will work. The deadline is that of calls: a Redis that
    /// cannot keep it is as good as gone, and closing the breaker would open it again three lookups later.
    pub(super) async fn open(
        endpoint: &Endpoint,
        probe: &Probe,
        deadline: Duration,
    ) -> Result<Self, RedisError> {
        let server = endpoint.server().await?;
        let key = &probe.key;
        let deadline = deadline.min(CONNECT_TIMEOUT);
        // One after the other: while Redis is away, every try then costs one connection.
        let small = open_probed(&server, SMALL_QUEUE, key, deadline).await?;
        try_write(&small, &probe.idle_key, deadline).await?;
        let large = open_probed(&server, LARGE_QUEUE, key, deadline).await?;
        Ok(Self { small, large, server, home: thread::current().id(), by_thread: ThreadLocal::new() })
    }

    pub(super) const fn pick(&self, is_large: bool) -> &Connection {
        if is_large { &self.large } else { &self.small }
    }

    /// The connection for this thread's lookups and leases. The first call on a thread opens it, and uses the common
    /// one meanwhile; so do all if that fails.
    pub(super) fn of_thread(&self, key: &str, deadline: Duration) -> &Connection {
        if thread::current().id() == self.home {
            return &self.small;
        }
        let own = self.by_thread.get_or(|| {
            let own = Arc::<OnceLock<Connection>>::default();
            let (opened, server, key) = (Arc::clone(&own), self.server.clone(), key.to_owned());
            tokio::spawn(async move {
                if let Ok(connection) =
                    open_probed(&server, SMALL_QUEUE, &key, deadline.min(CONNECT_TIMEOUT)).await
                {
                    let _ = opened.set(connection);
                }
            });
            own
        });
        own.get().unwrap_or(&self.small)
    }

    /// Whether calls should go to another server by now.
    pub(super) async fn are_outdated(&self, endpoint: &Endpoint) -> bool {
        endpoint.has_moved(&self.server).await
    }

    /// Logs all connections in again; whether that worked, or is not needed. A connection that is gone is not needed any
    /// more.
    pub(super) async fn log_in(&self, deadline: Duration) -> bool {
        let Some(login) = self.server.login() else { return true };
        let sent = self.all().map(|connection| within(deadline, connection.send(&login)));
        let is_done = |sent: &Result<Value, RedisError>| match sent {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::Io && !error.is_timeout(),
        };
        join_all(sent).await.iter().all(is_done)
    }

    /// Every connection.
    pub(super) fn all(&self) -> impl Iterator<Item = &Connection> {
        let by_thread = self.by_thread.iter().filter_map(|own| own.get());
        [&self.small, &self.large].into_iter().chain(by_thread)
    }
}

/// Sends one command; an error reply is an error.
pub(crate) async fn send(connection: &mut MultiplexedConnection, command: &Cmd) -> Result<Value, RedisError> {
    match connection.send_packed_command(command).await? {
        Value::ServerError(error) => Err(error.into()),
        value => Ok(value),
    }
}

pub(super) fn get(key: &str) -> Cmd {
    const NAME: &str = "GET";
    let mut command = Cmd::with_capacity(2, NAME.len() + key.len());
    command.arg(NAME).arg(key);
    command
}

async fn open_probed(
    server: &Server,
    queue: usize,
    key: &str,
    deadline: Duration,
) -> Result<Connection, RedisError> {
    let connection = Connection::new(server.open(queue).await?);
    match within(deadline, connection.send(&get(key))).await {
        Ok(Value::Nil | Value::BulkString(_)) => Ok(connection),
        Ok(_) => Err(protocol()),
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(connection),
        // Another server of the cluster has this key: so this one answers.
        Err(error) if matches!(error.code(), Some("MOVED" | "ASK")) && server.is_shard() => Ok(connection),
        Err(error) => Err(error),
    }
}

/// Fails if Redis cannot save. This write changes nothing; other refusals of it say nothing of other writes.
async fn try_write(connection: &Connection, key: &str, deadline: Duration) -> Result<(), RedisError> {
    match within(deadline, connection.send(::redis::cmd("DEL").arg(key))).await {
        Err(error) if error.code().is_none_or(|code| code == CANNOT_SAVE) => Err(error),
        _ => Ok(()),
    }
}
