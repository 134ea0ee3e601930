//! A walk through the namespace's entries, in small steps on a connection of its own: lookups wait behind no more
//! than one of them.
//!
//! Only what is a key of an entry is seen: neither sidecache's own bookkeeping, nor other people's keys.

use std::{sync::Arc, time::Duration};

use ::redis::{Client, Pipeline, RedisError, Value, aio::MultiplexedConnection, from_redis_value};
use bytes::Bytes;
use tokio::time;

use super::{RedisStore, StoreError, connections::open_connection};
use crate::cache::{
    encryption::{Encryption, PART_ENDS, sealed_length},
    entry::{Entry, codec::Summary},
    invalidation::glob::escape,
    key::{Key, namespace::Namespace},
    route::kind::Kind,
};

/// Keys that Redis looks at in one step.
const STEP: usize = 10;

/// What is read of a value at first, where most summaries end; and of those which do not: one with a thousand tags.
const BEGINNING: usize = PART_ENDS[0];
const LONG_BEGINNING: usize = PART_ENDS[1];

/// For one step: a slow server is given up here much later than on a request's way.
const PATIENCE: Duration = Duration::from_secs(2);

/// A walk under way.
pub struct Walk {
    client: Client,
    connection: Option<MultiplexedConnection>,
    encryption: Option<Arc<Encryption>>,
    namespace: Namespace,
    pattern: String,
    /// `None` at the end.
    cursor: Option<u64>,
}

/// An entry as a walk sees it; no summary where the value is none of this version.
pub type Seen = (Key, Option<Summary>);

impl RedisStore {
    /// A walk through all entries, or those of a kind.
    pub fn walk(&self, namespace: Namespace, kind: Option<Kind>) -> Walk {
        let kind = kind.map_or_else(|| "*".to_owned(), |kind| format!("{kind}:*"));
        Walk {
            client: self.breaker.client.clone(),
            connection: None,
            encryption: self.encryption.clone(),
            namespace,
            pattern: format!("{}:{kind}", escape(&namespace)),
            cursor: Some(0),
        }
    }
}

impl Walk {
    /// What the next step comes by, which may be nothing; `None` at the end. An entry may be seen twice.
    ///
    /// # Errors
    /// Where Redis does not answer, or does not allow it.
    pub async fn step(&mut self) -> Result<Option<Vec<Seen>>, StoreError> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let mut scan = ::redis::pipe();
        scan.cmd("SCAN").arg(cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(STEP);
        let reply = self.ask(&scan, 1).await?.pop().unwrap_or(Value::Nil);
        let (next, names) =
            from_redis_value::<(u64, Vec<Vec<u8>>)>(reply).map_err(|_| StoreError::Protocol)?;
        self.cursor = (next != 0).then_some(next);
        let names = names.iter().filter_map(|name| std::str::from_utf8(name).ok());
        let keys = names.filter_map(|name| Key::parse(self.namespace, name).filter(|key| key.name() == name));
        self.summaries(keys.collect()).await.map(Some)
    }

    /// Reads the beginning of each value.
    async fn summaries(&mut self, keys: Vec<Key>) -> Result<Vec<Seen>, StoreError> {
        let found = self.beginnings(&keys, BEGINNING).await?;
        let mut seen = Vec::with_capacity(keys.len());
        for (key, beginning) in keys.into_iter().zip(found) {
            let mut summary = Entry::summary(&beginning, &key.name());
            if summary.is_none() && beginning.len() == BEGINNING {
                let longer = self.beginnings(std::slice::from_ref(&key), LONG_BEGINNING).await?;
                summary = longer.first().and_then(|longer| Entry::summary(longer, &key.name()));
            }
            // It may have gone meanwhile.
            if !beginning.is_empty() {
                seen.push((key, summary));
            }
        }
        Ok(seen)
    }

    async fn beginnings(&mut self, keys: &[Key], length: usize) -> Result<Vec<Bytes>, StoreError> {
        let length = if self.encryption.is_some() { sealed_length(length) } else { length };
        let mut read = ::redis::pipe();
        for key in keys {
            read.cmd("GETRANGE").arg(key.name()).arg(0).arg(length - 1);
        }
        let replies = self.ask(&read, keys.len()).await?;
        let beginning = |(key, reply): (&Key, Value)| {
            let bytes = from_redis_value::<Vec<u8>>(reply).unwrap_or_default();
            match &self.encryption {
                // What does not open has no summary.
                Some(encryption) => encryption.open_beginning(&key.name(), &bytes).unwrap_or(bytes.into()),
                None => bytes.into(),
            }
        };
        Ok(keys.iter().zip(replies).map(beginning).collect())
    }

    /// The length of each value, in bytes.
    ///
    /// # Errors
    /// See [`Walk::step`].
    pub async fn sizes(&mut self, keys: &[Key]) -> Result<Vec<u64>, StoreError> {
        let mut read = ::redis::pipe();
        for key in keys {
            read.cmd("STRLEN").arg(key.name());
        }
        let replies = self.ask(&read, keys.len()).await?;
        Ok(replies.into_iter().map(|reply| from_redis_value(reply).unwrap_or_default()).collect())
    }

    /// Removes entries; how many there were.
    ///
    /// # Errors
    /// See [`Walk::step`].
    pub async fn remove(&mut self, keys: &[Key]) -> Result<u64, StoreError> {
        let mut remove = ::redis::pipe();
        for key in keys {
            remove.cmd("DEL").arg(key.name());
        }
        let replies = self.ask(&remove, keys.len()).await?;
        Ok(replies.into_iter().map(|reply| from_redis_value::<u64>(reply).unwrap_or_default()).sum())
    }

    /// `count` commands at once. That one key holds no string is that key's affair.
    async fn ask(&mut self, commands: &Pipeline, count: usize) -> Result<Vec<Value>, StoreError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let sent = time::timeout(PATIENCE, async {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                empty => empty.insert(open_connection(&self.client, 1).await?),
            };
            connection.send_packed_commands(commands, 0, count).await
        });
        let replies = sent.await.map_err(|_| StoreError::Timeout)?.map_err(|_| StoreError::Lost)?;
        let refused = |reply: &Value| match reply {
            Value::ServerError(error) => RedisError::from(error.clone()).code() != Some("WRONGTYPE"),
            _ => false,
        };
        if replies.iter().any(refused) { Err(StoreError::Refused) } else { Ok(replies) }
    }
}
