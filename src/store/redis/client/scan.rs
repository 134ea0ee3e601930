//! A walk through the names in Redis that match a pattern, in small steps on a connection of its own: lookups
//! wait behind no more than one of them.

use std::{sync::Arc, time::Duration};

use ::redis::{Pipeline, RedisError, Value, from_redis_value};
use tokio::time;

use super::{StoreError, endpoint::Endpoint, nodes::Nodes, open_connection::OpenConnection};

/// Keys that Redis looks at in one step.
const STEP: usize = 10;

/// For one step: a slow server is given up here much later than on a request's way.
const PATIENCE: Duration = Duration::from_secs(2);

/// In the cursor of a walk, the place of the server begins at this bit. Below it is the server's own cursor.
const PLACE: u32 = 56;

/// A walk under way, through one server after the other.
pub(crate) struct Scan {
    nodes: Arc<Nodes>,
    servers: Vec<Server>,
    pattern: String,
    /// The place of the server that the walk is at, and that server's cursor; `None` at the end.
    next: Option<(usize, u64)>,
}

/// A server, and a connection to it once there is one.
struct Server {
    endpoint: Endpoint,
    connection: Option<OpenConnection>,
}

impl Scan {
    /// A walk that begins at the cursor `from`.
    pub(super) fn new(nodes: Arc<Nodes>, pattern: String, from: u64) -> Self {
        let server = |endpoint| Server { endpoint, connection: None };
        let servers: Vec<_> = nodes.endpoints().into_iter().map(server).collect();
        let place = usize::try_from(from >> PLACE).unwrap_or(usize::MAX);
        let next = Some((place, from & ((1 << PLACE) - 1))).filter(|_| place < servers.len());
        Self { nodes, servers, pattern, next }
    }

    /// The cursor of the next step; `None` at the end.
    pub(crate) fn cursor(&self) -> Option<u64> {
        // A list of more servers than have a place in the cursor ends before them.
        let next = self.next.filter(|(place, _)| *place < 256);
        next.map(|(place, cursor)| (place as u64) << PLACE | cursor)
    }

    /// The names that the next step finds, which may be none; `None` at the end. A name may come twice.
    ///
    /// # Errors
    /// If Redis does not answer, or does not allow it.
    pub(crate) async fn step(&mut self) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        let Some((place, cursor)) = self.next else { return Ok(None) };
        let mut scan = ::redis::pipe();
        scan.cmd("SCAN").arg(cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(STEP);
        let reply = self.send(place, &scan, 1).await?.pop().unwrap_or(Value::Nil);
        let (cursor, names) =
            from_redis_value::<(u64, Vec<Vec<u8>>)>(reply).map_err(|_| StoreError::Protocol)?;
        self.next = match cursor {
            0 => Some((place + 1, 0)).filter(|(place, _)| *place < self.servers.len()),
            cursor => Some((place, cursor)),
        };
        Ok(Some(names))
    }

    /// The first `length` bytes of each value; empty if there is no value.
    ///
    /// # Errors
    /// See [`Scan::step`].
    pub(crate) async fn beginnings(
        &mut self,
        names: &[String],
        length: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let read = |name: &str, commands: &mut Pipeline| {
            commands.cmd("GETRANGE").arg(name).arg(0).arg(length - 1);
        };
        let replies = self.of_each(names, read).await?;
        Ok(replies.into_iter().map(|reply| from_redis_value(reply).unwrap_or_default()).collect())
    }

    /// The length of each value, in bytes.
    ///
    /// # Errors
    /// See [`Scan::step`].
    pub(crate) async fn sizes(&mut self, names: &[String]) -> Result<Vec<u64>, StoreError> {
        let read = |name: &str, commands: &mut Pipeline| {
            commands.cmd("STRLEN").arg(name);
        };
        let replies = self.of_each(names, read).await?;
        Ok(replies.into_iter().map(|reply| from_redis_value(reply).unwrap_or_default()).collect())
    }

    /// Removes values; how many there were.
    ///
    /// # Errors
    /// See [`Scan::step`].
    pub(crate) async fn remove(&mut self, names: &[String]) -> Result<u64, StoreError> {
        let remove = |name: &str, commands: &mut Pipeline| {
            commands.cmd("DEL").arg(name);
        };
        let replies = self.of_each(names, remove).await?;
        Ok(replies.into_iter().map(|reply| from_redis_value::<u64>(reply).unwrap_or_default()).sum())
    }

    /// Sends a command for each name to the server that has it; the replies in the order of the names.
    async fn of_each(
        &mut self,
        names: &[String],
        command: impl Fn(&str, &mut Pipeline),
    ) -> Result<Vec<Value>, StoreError> {
        let places: Vec<_> = names.iter().map(|name| self.place_of(name)).collect();
        let mut replies = vec![Value::Nil; names.len()];
        for place in 0..self.servers.len() {
            let here: Vec<_> = (0..names.len()).filter(|index| places[*index] == place).collect();
            let mut commands = ::redis::pipe();
            here.iter().for_each(|index| command(&names[*index], &mut commands));
            for (index, reply) in here.iter().zip(self.send(place, &commands, here.len()).await?) {
                replies[*index] = reply;
            }
        }
        Ok(replies)
    }

    /// The place of the server that has `name`; the first one, if none of them has it by now.
    fn place_of(&self, name: &str) -> usize {
        if self.servers.len() == 1 {
            return 0;
        }
        let endpoint = self.nodes.endpoint(name).ok();
        let has_it = |server: &Server| endpoint.as_ref().is_some_and(|it| it.is_same(&server.endpoint));
        self.servers.iter().position(has_it).unwrap_or(0)
    }

    /// Sends `count` commands at once. A key without a string, or one that has moved to another server, is no failure of
    /// the others.
    async fn send(
        &mut self,
        place: usize,
        commands: &Pipeline,
        count: usize,
    ) -> Result<Vec<Value>, StoreError> {
        let Some(Server { endpoint, connection }) = self.servers.get_mut(place).filter(|_| count > 0) else {
            return Ok(Vec::new());
        };
        let sent = time::timeout(PATIENCE, async {
            let connection = match connection {
                Some(connection) => connection,
                empty => empty.insert(endpoint.open(1).await?),
            };
            connection.send_packed_commands(commands, 0, count).await
        });
        let replies = sent.await.map_err(|_| StoreError::Timeout)?.map_err(|_| StoreError::Lost)?;
        let is_refusal = |reply: &Value| match reply {
            Value::ServerError(error) => {
                !matches!(RedisError::from(error.clone()).code(), Some("WRONGTYPE" | "MOVED" | "ASK"))
            }
            _ => false,
        };
        if replies.iter().any(is_refusal) { Err(StoreError::Refused) } else { Ok(replies) }
    }
}
