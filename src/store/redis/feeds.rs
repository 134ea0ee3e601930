//! Streams of bytes that replicas share besides the invalidation log: what they have learned of hits by meaning.
//!
//! A feed has connections of its own, which no request waits for, and needs no right that the invalidation log does not
//! need. All feeds are in one slot of a cluster, so that one command reads them. Losing a feed loses what was learned, and
//! nothing else.

use std::{sync::Arc, time::Duration};

use ::redis::{Cmd, Pipeline, RedisError, Value};
use bytes::Bytes;

use super::{
    RedisStore,
    client::{
        Health,
        endpoint::Endpoint,
        error::{describe, protocol, within},
        open_connection::OpenConnection,
        streams::{by_stream, id, offset},
    },
};
use crate::{
    cache::{encryption::Encryption, invalidation::Offset},
    time::millis,
};

/// For a reply, beyond the time that Redis waits with it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The name of an event's only field.
const FIELD: &str = "e";

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Feed {
    name: String,
    bounds: FeedBounds,
}

/// The bounds of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeedBounds {
    /// About how many events it holds.
    pub(crate) events: usize,
    /// How long it lives if nobody appends to it.
    pub(crate) life: Duration,
}

impl Feed {
    /// The stream's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// An event to be appended.
#[derive(Debug)]
pub(crate) struct Appended<'a> {
    pub(crate) feed: &'a Feed,
    pub(crate) value: &'a [u8],
    /// What was appended before this, in milliseconds since the Unix epoch, is of no use any more. It is removed in place of
    /// what is beyond the feed's bound.
    pub(crate) useless_before: Option<u64>,
}

/// An event that was read.
#[derive(Debug)]
pub(crate) struct FeedEvent {
    /// The place of its feed among those that were asked for.
    pub(crate) feed: usize,
    pub(crate) offset: Offset,
    /// `None` if it is no event of a feed, or sealed with another key.
    pub(crate) value: Option<Bytes>,
}

/// Why a feed could not be read or appended to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct FeedError(String);

impl From<RedisError> for FeedError {
    fn from(error: RedisError) -> Self {
        Self(describe(&error))
    }
}

/// The way to the feeds of a namespace.
pub(crate) struct Feeds {
    health: Health,
    /// The beginning of their names.
    prefix: String,
    encryption: Option<Arc<Encryption>>,
}

/// A connection to the server that has the feeds.
pub(crate) struct FeedConnection {
    server: Endpoint,
    connection: OpenConnection,
    encryption: Option<Arc<Encryption>>,
}

impl RedisStore {
    /// The feeds of the store's namespace.
    pub(crate) fn feeds(&self) -> Feeds {
        let prefix = format!("{}:_:{{semantic}}:", self.client.namespace());
        Feeds { health: self.client.health_of(prefix.clone()), prefix, encryption: self.encryption.clone() }
    }
}

impl Feeds {
    /// The feed of that name.
    pub(crate) fn feed(&self, name: &str, bounds: FeedBounds) -> Feed {
        Feed { name: format!("{}{name}", self.prefix), bounds }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// If the server is not reached.
    pub(crate) async fn connect(&mut self) -> Result<FeedConnection, FeedError> {
        self.health.mark_seen();
        let server = self.health.endpoint()?;
        let connection = server.open(1).await?;
        Ok(FeedConnection { server, connection, encryption: self.encryption.clone() })
    }

    /// Waits until the feeds may be on another server than this one.
    pub(crate) async fn moved(&mut self, server: &Endpoint) {
        self.health.server_changed(server).await;
    }

    /// Notes that a connection failed: in a cluster, the feeds may be on another server.
    pub(crate) fn lost(&self) {
        self.health.ask_refresh();
    }
}

impl FeedConnection {
    /// The server that it leads to.
    pub(crate) fn server(&self) -> Endpoint {
        self.server.clone()
    }

    /// Appends all of them, or none. If there is no reply, nobody knows.
    ///
    /// # Errors
    /// If Redis does not take them, or does not answer in time.
    pub(crate) async fn append(&mut self, events: &[Appended<'_>]) -> Result<(), FeedError> {
        let commands = append(events, self.encryption.as_deref())?;
        let sent = self.connection.send_packed_commands(&commands, 0, commands.len());
        for reply in within(PATIENCE, sent).await? {
            match reply {
                Value::ServerError(error) => return Err(RedisError::from(error).into()),
                // What the transaction replies: an error in it is one of its elements.
                Value::Array(replies) => {
                    for reply in replies {
                        if let Value::ServerError(error) = reply {
                            return Err(RedisError::from(error).into());
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads up to `count` events of each feed that come after its position. If there are none, Redis waits for one, but no
    /// longer than `wait`.
    ///
    /// # Errors
    /// If Redis does not answer in time, or with an error.
    pub(crate) async fn read(
        &mut self,
        from: &[(&Feed, Offset)],
        count: usize,
        wait: Duration,
    ) -> Result<Vec<FeedEvent>, FeedError> {
        let commands = read(from, count, wait);
        let reply = within(wait + PATIENCE, self.connection.send_packed_command(&commands)).await?;
        let mut found = Vec::new();
        for (name, events) in by_stream(reply)? {
            let feed = from.iter().position(|(feed, _)| feed.name == name).ok_or_else(protocol)?;
            for (id, fields) in events {
                let value = self.open(&name, fields);
                found.push(FeedEvent { feed, offset: offset(&id)?, value });
            }
        }
        Ok(found)
    }

    fn open(&self, name: &str, fields: Vec<Vec<u8>>) -> Option<Bytes> {
        let [field, value] = <[Vec<u8>; 2]>::try_from(fields).ok()?;
        let value = (field == FIELD.as_bytes()).then_some(value)?;
        match &self.encryption {
            Some(encryption) => encryption.open(name, &value),
            None => Some(value.into()),
        }
    }
}

/// The transaction that appends `events`.
fn append(events: &[Appended<'_>], encryption: Option<&Encryption>) -> Result<Pipeline, FeedError> {
    let mut commands = ::redis::pipe();
    commands.cmd("MULTI");
    let mut feeds: Vec<&Feed> = Vec::new();
    for Appended { feed, value, useless_before } in events {
        let Feed { name, bounds } = feed;
        let add = commands.cmd("XADD").arg(name);
        match useless_before {
            Some(millis) => add.arg("MINID").arg("~").arg(*millis),
            None => add.arg("MAXLEN").arg("~").arg(bounds.events),
        };
        add.arg("*").arg(FIELD);
        match encryption {
            Some(encryption) => {
                let sealed = encryption.seal(name, value);
                let sealed =
                    sealed.ok_or_else(|| FeedError("the system gives no random numbers".to_owned()))?;
                add.arg(&sealed[..])
            }
            None => add.arg(*value),
        };
        if !feeds.contains(feed) {
            feeds.push(feed);
        }
    }
    for Feed { name, bounds } in feeds {
        commands.cmd("PEXPIRE").arg(name).arg(millis(bounds.life));
    }
    commands.cmd("EXEC");
    Ok(commands)
}

fn read(from: &[(&Feed, Offset)], count: usize, wait: Duration) -> Cmd {
    let mut command = ::redis::cmd("XREAD");
    command.arg("COUNT").arg(count);
    // Redis takes 0 for ever.
    if !wait.is_zero() {
        command.arg("BLOCK").arg(wait.as_millis() as u64);
    }
    command.arg("STREAMS");
    from.iter().for_each(|(feed, _)| {
        command.arg(&feed.name);
    });
    from.iter().for_each(|(_, offset)| {
        command.arg(id(*offset));
    });
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::encryption::EncryptionKey;

    fn feed(name: &str) -> Feed {
        let bounds = FeedBounds { events: 7, life: Duration::from_secs(9) };
        Feed { name: format!("ns:_:{{semantic}}:{name}"), bounds }
    }

    fn packed(commands: &Pipeline) -> String {
        String::from_utf8_lossy(&commands.get_packed_pipeline()).replace("\r\n", " ")
    }

    #[test]
    fn events_are_appended_together_to_streams_that_are_bounded_and_end() {
        let (a, b) = (feed("a"), feed("b"));
        let appended = |feed, useless_before| Appended { feed, value: b"event", useless_before };
        let events = [appended(&a, None), appended(&b, Some(5)), appended(&a, None)];
        let text = packed(&append(&events, None).expect("commands"));
        assert!(text.starts_with("*1 $5 MULTI ") && text.ends_with("*1 $4 EXEC "), "{text}");
        assert_eq!(text.matches("XADD").count(), 3, "{text}");
        assert_eq!(text.matches("MAXLEN $1 ~ $1 7 ").count(), 2, "{text}");
        assert_eq!(text.matches("MINID $1 ~ $1 5 ").count(), 1, "{text}");
        assert_eq!(text.matches("PEXPIRE").count(), 2, "{text}");
        assert_eq!(text.matches(" $4 9000 ").count(), 2, "{text}");
        let slots = text.matches("{semantic}").count();
        assert_eq!(slots, 5, "every key is in one slot: {text}");
    }

    #[test]
    fn with_a_key_events_are_sealed_for_their_feed() {
        let key = EncryptionKey::parse(&"1".repeat(64)).expect("a key");
        let encryption = Encryption::new(&key, None);
        let a = feed("a");
        let events = [Appended { feed: &a, value: b"a canary", useless_before: None }];
        let text = packed(&append(&events, Some(&encryption)).expect("commands"));
        assert!(!text.contains("canary") && text.contains("scX"), "{text}");
    }

    #[test]
    fn feeds_are_read_together() {
        let (a, b) = (feed("a"), feed("b"));
        let from = [(&a, Offset { major: 1, minor: 2 }), (&b, Offset::default())];
        let text = |wait| {
            let packed = read(&from, 10, wait).get_packed_command();
            String::from_utf8_lossy(&packed).replace("\r\n", " ")
        };
        let waiting = text(Duration::from_secs(1));
        assert!(waiting.contains("COUNT $2 10 $5 BLOCK $4 1000 "), "{waiting}");
        assert!(waiting.ends_with("{semantic}:b $3 1-2 $3 0-0 "), "{waiting}");
        assert!(!text(Duration::ZERO).contains("BLOCK"), "0 would be for ever");
    }
}
