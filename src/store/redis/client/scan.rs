//! A walk through the names in Redis that match a pattern, in small steps on a connection of its own: lookups
//! wait behind no more than one of them.

use std::time::Duration;

use ::redis::{Pipeline, RedisError, Value, from_redis_value};
use tokio::time;

use super::{
    StoreError,
    endpoint::{Endpoint, OpenConnection},
};

/// Keys that Redis looks at in one step.
const STEP: usize = 10;

/// For one step: a slow server is given up here much later than on a request's way.
const PATIENCE: Duration = Duration::from_secs(2);

/// A walk under way.
pub(crate) struct Scan {
    redis: Endpoint,
    connection: Option<OpenConnection>,
    pattern: String,
    /// `None` at the end.
    cursor: Option<u64>,
}

impl Scan {
    /// A walk that begins at the cursor `from`.
    pub(super) fn new(redis: Endpoint, pattern: String, from: u64) -> Self {
        Self { redis, connection: None, pattern, cursor: Some(from) }
    }

    /// The cursor of the next step; `None` at the end.
    pub(crate) const fn cursor(&self) -> Option<u64> {
        self.cursor
    }

    /// The names that the next step finds, which may be none; `None` at the end. A name may come twice.
    ///
    /// # Errors
    /// If Redis does not answer, or does not allow it.
    pub(crate) async fn step(&mut self) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let mut scan = ::redis::pipe();
        scan.cmd("SCAN").arg(cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(STEP);
        let reply = self.send(&scan, 1).await?.pop().unwrap_or(Value::Nil);
        let (next, names) =
            from_redis_value::<(u64, Vec<Vec<u8>>)>(reply).map_err(|_| StoreError::Protocol)?;
        self.cursor = (next != 0).then_some(next);
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
        let mut read = ::redis::pipe();
        for name in names {
            read.cmd("GETRANGE").arg(name).arg(0).arg(length - 1);
        }
        let replies = self.send(&read, names.len()).await?;
        Ok(replies.into_iter().map(|reply| from_redis_value(reply).unwrap_or_default()).collect())
    }

    /// The length of each value, in bytes.
    ///
    /// # Errors
    /// See [`Scan::step`].
    pub(crate) async fn sizes(&mut self, names: &[String]) -> Result<Vec<u64>, StoreError> {
        let mut read = ::redis::pipe();
        for name in names {
            read.cmd("STRLEN").arg(name);
        }
        let replies = self.send(&read, names.len()).await?;
        Ok(replies.into_iter().map(|reply| from_redis_value(reply).unwrap_or_default()).collect())
    }

    /// Removes values; how many there were.
    ///
    /// # Errors
    /// See [`Scan::step`].
    pub(crate) async fn remove(&mut self, names: &[String]) -> Result<u64, StoreError> {
        let mut remove = ::redis::pipe();
        for name in names {
            remove.cmd("DEL").arg(name);
        }
        let replies = self.send(&remove, names.len()).await?;
        Ok(replies.into_iter().map(|reply| from_redis_value::<u64>(reply).unwrap_or_default()).sum())
    }

    /// Sends `count` commands at once. A key without a string is no failure of the others.
    async fn send(&mut self, commands: &Pipeline, count: usize) -> Result<Vec<Value>, StoreError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let sent = time::timeout(PATIENCE, async {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                empty => empty.insert(self.redis.connect(1).await?),
            };
            connection.send_packed_commands(commands, 0, count).await
        });
        let replies = sent.await.map_err(|_| StoreError::Timeout)?.map_err(|_| StoreError::Lost)?;
        let is_refusal = |reply: &Value| match reply {
            Value::ServerError(error) => RedisError::from(error.clone()).code() != Some("WRONGTYPE"),
            _ => false,
        };
        if replies.iter().any(is_refusal) { Err(StoreError::Refused) } else { Ok(replies) }
    }
}
