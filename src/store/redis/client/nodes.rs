//! The servers that calls go to, and the way of one call: to the server that has the key, and if that has moved meanwhile,
//! once more to the server that it names.

use std::{
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::{Cmd, Pipeline, RedisError, Value};
use tokio::sync::watch;

use super::{
    StoreError,
    breaker::{Breaker, Call, CallKind},
    cluster::{Cluster, Shard},
    connections::{Connection, Connections},
    endpoint::Endpoint,
    error::protocol,
};

/// The servers.
pub(super) enum Nodes {
    /// One, or the master that sentinels name.
    One(Arc<Breaker>),
    /// The masters of a cluster.
    Cluster(Arc<Cluster>),
}

/// What is sent.
#[derive(Clone, Copy)]
pub(super) enum Commands<'a> {
    One(&'a Cmd),
    /// A transaction, `MULTI` and `EXEC` included.
    Together(&'a Pipeline),
}

/// Which connection a call goes over.
#[derive(Clone, Copy)]
pub(super) enum Lane {
    /// The thread's own, or the one for large values.
    Lookup { is_large: bool },
    /// One that all threads share, so that calls keep their order.
    Ordered { is_large: bool },
}

/// A call about one key.
pub(super) struct Request<'a> {
    pub(super) key: &'a str,
    pub(super) kind: CallKind,
    pub(super) lane: Lane,
    /// How long the caller can wait.
    pub(super) within: Duration,
    pub(super) commands: Commands<'a>,
}

/// The server that a call goes to.
pub(super) enum Target<'a> {
    Server(&'a Breaker),
    Shard(Arc<Shard>),
}

impl Deref for Target<'_> {
    type Target = Breaker;

    fn deref(&self) -> &Breaker {
        match self {
            Self::Server(breaker) => breaker,
            Self::Shard(shard) => &shard.breaker,
        }
    }
}

/// The server that has answered a call, and the connections that the call went over.
pub(super) struct Answerer<'a> {
    pub(super) server: Target<'a>,
    connections: Arc<Connections>,
}

impl Answerer<'_> {
    /// Gives the server up for a reply of the wrong kind.
    pub(super) fn bad_reply(&self) -> StoreError {
        self.server.bad_reply(&self.connections)
    }
}

impl Nodes {
    /// The server that has `key`.
    ///
    /// # Errors
    /// If none is known.
    pub(super) fn of(&self, key: &str) -> Result<Target<'_>, StoreError> {
        match self {
            Self::One(breaker) => Ok(Target::Server(breaker)),
            Self::Cluster(cluster) => cluster.shard_of(key).map(Target::Shard),
        }
    }

    /// All servers.
    pub(super) fn all(&self) -> Vec<Target<'_>> {
        match self {
            Self::One(breaker) => vec![Target::Server(breaker)],
            Self::Cluster(cluster) => cluster.shards().into_iter().map(Target::Shard).collect(),
        }
    }

    /// Where the server is that has `key`, for a connection of the caller's own.
    ///
    /// # Errors
    /// If none is known.
    pub(super) fn endpoint(&self, key: &str) -> Result<Endpoint, RedisError> {
        self.of(key).map(|server| server.endpoint.clone()).map_err(|_| protocol())
    }

    /// Where all servers are, always in the same order.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        let mut endpoints: Vec<_> = self.all().iter().map(|server| server.endpoint.clone()).collect();
        endpoints.sort_by_key(Endpoint::address);
        endpoints
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Waits until all servers can be used.
    pub(super) async fn ready(&self) {
        match self {
            Self::One(breaker) => breaker.ready().await,
            Self::Cluster(cluster) => cluster.ready().await,
        }
    }

    pub(super) fn connected(&self) -> bool {
        match self {
            Self::One(breaker) => breaker.connected(),
            Self::Cluster(cluster) => cluster.connected(),
        }
    }

    pub(super) fn last_error(&self) -> Option<String> {
        match self {
            Self::One(breaker) => breaker.last_error(),
            Self::Cluster(cluster) => cluster.last_error(),
        }
    }

    /// Changes when calls may go to other servers.
    pub(super) fn generations(&self) -> watch::Receiver<u64> {
        match self {
            Self::One(breaker) => breaker.generations(),
            Self::Cluster(cluster) => cluster.generations(),
        }
    }

    /// Sends a call, and waits for its reply.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn call(&self, request: Request<'_>) -> Result<(Value, Answerer<'_>), StoreError> {
        let started = Instant::now();
        let server = self.of(request.key)?;
        match send(server, &request, false).await {
            Err(moved @ (StoreError::Moved | StoreError::Moving)) => {
                let Self::Cluster(cluster) = self else { return Err(moved) };
                let asking = moved == StoreError::Moving;
                let to = cluster.redirection(request.key, asking).ok_or(moved)?;
                let within = request.within.min(to.breaker.timeout).saturating_sub(started.elapsed());
                send(Target::Shard(to), &Request { within, ..request }, asking).await
            }
            sent => sent,
        }
    }
}

async fn send<'a>(
    server: Target<'a>,
    request: &Request<'_>,
    asking: bool,
) -> Result<(Value, Answerer<'a>), StoreError> {
    let Request { key, kind, lane, within, commands } = *request;
    let connections = server.connections()?;
    let connection = match lane {
        Lane::Lookup { is_large } => server.for_lookup(&connections, key, is_large),
        Lane::Ordered { is_large } => connections.pick(is_large),
    };
    let call = Call { connections: &connections, connection, key, kind, within };
    let value = server.call(call, reply(connection, commands, asking)).await?;
    Ok((value, Answerer { server, connections }))
}

async fn reply(connection: &Connection, commands: Commands<'_>, asking: bool) -> Result<Value, RedisError> {
    match commands {
        Commands::One(command) if asking => connection.send_asking(command).await,
        Commands::One(command) => connection.send(command).await,
        Commands::Together(commands) => connection.send_together(commands).await,
    }
}
