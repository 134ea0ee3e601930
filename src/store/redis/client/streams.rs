//! The two streams in Redis that all replicas read, as commands and replies.
//!
//! The invalidation log takes two keys, in one slot of a cluster: the stream, and the epoch that it belongs
//! to. If either is lost (evicted, or Redis came back empty), another epoch begins, and what was stored under
//! the old one counts as invalidated. The stream is bounded: if a replica was away for longer than the stream
//! reaches back, nothing older counts as current there.
//!
//! Writes are announced in a stream of their own: they are many, and would push invalidations out. That
//! stream exists only if a replica with a near cache has begun it.

use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, Pipeline, RedisError, Value, from_redis_value};

use super::error::protocol;
use crate::cache::invalidation::{Invalidation, Offset, TargetId, Version};

/// About how many invalidations the log holds.
const LOG_LENGTH: usize = 200_000;

/// About how many writes their stream holds. A replica that is further behind empties its near cache.
const WRITES_LENGTH: usize = 10_000;

/// Events that are read at a time, of each stream.
pub(crate) const PAGE: usize = 5000;

/// The life of the streams' keys. Scripts prolong it, so no key in use ends, and none is left for ever.
const LIFE_MS: u64 = 400 * 24 * 3600 * 1000;

/// Makes sure that there is an epoch: begins ARGV[1] if there is none, or if it is ARGV[2]. Its keys live for
/// ARGV[3]. A full Redis runs it too: an invalidation must not wait.
const ENSURE_EPOCH: &str = "#!lua flags=allow-oom\n\
    local order = redis.call('GET', KEYS[2])\n\
    if not order or order == ARGV[2] or redis.call('EXISTS', KEYS[1]) == 0 then\n\
        order = ARGV[1]\n\
        redis.call('DEL', KEYS[1])\n\
        redis.call('SET', KEYS[2], order)\n\
        redis.call('XADD', KEYS[1], '*', 'o', order)\n\
    end\n\
    redis.call('PEXPIRE', KEYS[1], ARGV[3]) redis.call('PEXPIRE', KEYS[2], ARGV[3])\n";

/// Appends an invalidation of the ids ARGV[4], by tag or not (ARGV[5]), and of the patterns that follow, to
/// the last ARGV[6] or so; returns the epoch and the position. That is behind the milliseconds ARGV[7], even if the
/// server's clock is not.
const INVALIDATE: &str = "local event = {'o', order, 'm', ARGV[4], 't', ARGV[5]}\n\
    for i = 8, #ARGV do event[#event + 1] = 'p' event[#event + 1] = ARGV[i] end\n\
    local function add(id) return redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[6], id, unpack(event)) end\n\
    local added = nil\n\
    local behind = tonumber(ARGV[7])\n\
    if behind > 0 then\n\
        local now = redis.call('TIME')\n\
        if now[1] * 1000 + math.floor(now[2] / 1000) <= behind then\n\
            added = add(string.format('%.0f-0', behind + 1))\n\
            if type(added) == 'table' then added = nil end\n\
        end\n\
    end\n\
    added = added or add('*')\n\
    if type(added) == 'table' then return added end\n\
    return {order, added}";

/// Begins the stream of writes, KEYS[1], if there is none, with an announcement of nothing.
const BEGIN_WRITES: &str = "#!lua flags=allow-oom\n\
    if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('XADD', KEYS[1], '*', 'k', '') end\n\
    redis.call('PEXPIRE', KEYS[1], ARGV[1])";

/// Removes KEYS[1], and announces that as ARGV[1] in KEYS[2], to the last ARGV[2] or so. A full Redis can
/// remove.
const REMOVE: &str = "#!lua flags=allow-oom\n\
    redis.call('XADD', KEYS[2], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[2], '*', 'k', ARGV[1])\n\
    return redis.call('DEL', KEYS[1])";

/// The streams of one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    namespace: String,
    pub(super) log: String,
    epoch: String,
    pub(super) writes: String,
}

impl Streams {
    pub(super) fn new(namespace: &str) -> Self {
        let name = |part: &str| format!("{namespace}:_:{{retired}}:{part}");
        Self {
            log: name("stream"),
            epoch: name("order"),
            writes: name("writes"),
            namespace: namespace.to_owned(),
        }
    }

    /// The command that appends `invalidation` to the log.
    pub(crate) fn invalidate(&self, invalidation: &Invalidation) -> Cmd {
        self.invalidate_behind(invalidation, Offset::default())
    }

    /// The command that appends `invalidation` to the log, at a position behind `offset`.
    pub(crate) fn invalidate_behind(&self, invalidation: &Invalidation, offset: Offset) -> Cmd {
        let target_ids: Vec<u8> =
            invalidation.target_ids.iter().flat_map(|target_id| target_id.to_bytes()).collect();
        let mut command = self.epoch_script(INVALIDATE, None);
        command.arg(&target_ids[..]).arg(u8::from(invalidation.by_tag)).arg(LOG_LENGTH);
        command.arg(offset.major);
        command.arg(&invalidation.patterns);
        command
    }

    /// The command that reads `count` events of the log, from the position `first` on.
    pub(crate) fn events_from(&self, first: Offset, count: usize) -> Cmd {
        let Offset { major, minor } = first;
        let before = match minor {
            0 => Offset { major: major.saturating_sub(1), minor: u64::MAX },
            minor => Offset { major, minor: minor - 1 },
        };
        let mut command = ::redis::cmd("XREAD");
        command.arg("COUNT").arg(count).arg("STREAMS").arg(&self.log).arg(id(before));
        command
    }

    /// The command that counts the keys of the log, and of the writes or not; and the reply if all are there.
    pub(crate) fn exist(&self, writes: bool) -> (Cmd, Value) {
        let mut command = ::redis::cmd("EXISTS");
        command.arg(&self.log).arg(&self.epoch).arg(writes.then_some(&self.writes));
        (command, Value::Int(if writes { 3 } else { 2 }))
    }

    /// The command that waits in Redis until there is an event after `invalidated` or `written`, or for `wait`.
    pub(crate) fn wait(&self, invalidated: Offset, written: Option<Offset>, wait: Duration) -> Cmd {
        let mut command = ::redis::cmd("XREAD");
        command.arg("COUNT").arg(1).arg("BLOCK").arg(wait.as_millis() as u64).arg("STREAMS").arg(&self.log);
        command.arg(written.map(|_| &self.writes)).arg(id(invalidated)).arg(written.map(id));
        command
    }

    /// The command that begins an epoch if there is none, or if it is `instead_of`.
    pub(crate) fn begin_epoch(&self, instead_of: Option<u64>) -> Cmd {
        self.epoch_script("", instead_of)
    }

    fn epoch_script(&self, then: &str, instead_of: Option<u64>) -> Cmd {
        let mut command = ::redis::cmd("EVAL");
        command.arg(format!("{ENSURE_EPOCH}{then}")).arg(2).arg(&self.log).arg(&self.epoch);
        command.arg(fastrand::u64(1..).to_string());
        command.arg(instead_of.map_or_else(String::new, |epoch| epoch.to_string())).arg(LIFE_MS);
        command
    }

    /// The command that begins the stream of writes: from then on they are announced.
    pub(crate) fn begin_writes(&self) -> Cmd {
        let mut command = ::redis::cmd("EVAL");
        command.arg(BEGIN_WRITES).arg(1).arg(&self.writes).arg(LIFE_MS);
        command
    }

    /// The commands that carry out `write`, of `key`, and announce it: both or neither. (A script would have
    /// Lua copy the value.)
    pub(super) fn write_and_announce(&self, key: &str, write: Cmd) -> Pipeline {
        let mut transaction = ::redis::pipe();
        transaction.cmd("MULTI").add_command(write);
        transaction.cmd("XADD").arg(&self.writes).arg("NOMKSTREAM").arg("MAXLEN").arg("~").arg(WRITES_LENGTH);
        transaction.arg("*").arg("k").arg(self.local(key));
        transaction.cmd("EXEC");
        transaction
    }

    /// The command that announces a write of `key` in the stream of writes, if there is that stream.
    pub(super) fn announce(&self, key: &str) -> Cmd {
        let mut command = ::redis::cmd("XADD");
        command.arg(&self.writes).arg("NOMKSTREAM").arg("MAXLEN").arg("~").arg(WRITES_LENGTH);
        command.arg("*").arg("k").arg(self.local(key));
        command
    }

    /// The command that removes `key` and announces that.
    pub(super) fn remove_and_announce(&self, key: &str) -> Cmd {
        let mut command = ::redis::cmd("EVAL");
        command.arg(REMOVE).arg(2).arg(key).arg(&self.writes).arg(self.local(key)).arg(WRITES_LENGTH);
        command
    }

    fn local<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(&self.namespace).and_then(|key| key.strip_prefix(':')).unwrap_or_default()
    }

    /// The commands that ask how far the streams reach (that of writes too, or not), and for the events after
    /// `from`. All of it goes at once, so that nothing is cut off between the replies.
    pub(crate) fn read(&self, writes: bool, from: Option<&ReadFrom>) -> Pipeline {
        let mut read = ::redis::pipe();
        read.cmd("GET").arg(&self.epoch);
        read.cmd("XINFO").arg("STREAM").arg(&self.log);
        if writes {
            read.cmd("XINFO").arg("STREAM").arg(&self.writes);
        }
        if let Some(ReadFrom { invalidated, written }) = from {
            read.cmd("XREAD").arg("COUNT").arg(PAGE).arg("STREAMS").arg(&self.log);
            read.arg(written.map(|_| &self.writes)).arg(id(*invalidated)).arg(written.map(id));
        }
        read
    }

    /// The replies to [`Streams::read`].
    ///
    /// # Errors
    /// If a reply is an error, or of the wrong kind.
    pub(crate) fn parse(&self, writes: bool, replies: Vec<Value>) -> Result<StreamsRead, RedisError> {
        let mut replies = replies.into_iter();
        let mut next = || replies.next();
        let epoch = reply_as(next().ok_or_else(protocol)?)?;
        let invalidated = extent(next().ok_or_else(protocol)?)?;
        let written = if writes { extent(next().ok_or_else(protocol)?)? } else { None };
        let streams = next().map_or(Ok(Vec::new()), by_stream)?;
        let mut read =
            StreamsRead { epoch, invalidated, written, invalidations: Vec::new(), writes: Vec::new() };
        for (name, events) in streams {
            if name == self.log { read.invalidations = events } else { read.writes = events }
        }
        Ok(read)
    }
}

#[derive(Debug)]
pub(crate) struct ReadFrom {
    pub(crate) invalidated: Offset,
    pub(crate) written: Option<Offset>,
}

/// How far the streams reach, and the events that have come.
#[derive(Debug)]
pub(crate) struct StreamsRead {
    pub(crate) epoch: Option<u64>,
    pub(crate) invalidated: Option<Extent>,
    pub(crate) written: Option<Extent>,
    pub(crate) invalidations: Vec<Event>,
    pub(crate) writes: Vec<Event>,
}

/// How far a stream reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// How many events were ever added.
    pub(crate) added: u64,
    pub(crate) length: u64,
    pub(crate) first: Option<Offset>,
    /// The position of the last event that was added.
    pub(crate) last: Offset,
}

impl Extent {
    /// How many events it does not hold any more.
    pub(crate) fn gone(&self) -> u64 {
        self.added.saturating_sub(self.length)
    }

    /// The first position that it still holds, if it held others before that.
    pub(crate) fn lost_before(&self) -> Option<Offset> {
        self.first.filter(|_| self.gone() > 0)
    }
}

/// An id and its fields, each name before its value.
pub(crate) type Event = (String, Vec<Vec<u8>>);

/// From the reply to `XINFO STREAM`; `None` if there is no such key.
fn extent(info: Value) -> Result<Option<Extent>, RedisError> {
    let info = match info {
        Value::Array(info) => info,
        Value::ServerError(error) => {
            let error = RedisError::from(error);
            return if error.code() == Some("ERR") { Ok(None) } else { Err(error) };
        }
        _ => return Err(protocol()),
    };
    let member = |name: &str| {
        let mut pairs = info.as_chunks::<2>().0.iter();
        let has_name = |key: &Value| matches!(key, Value::BulkString(key) if key == name.as_bytes());
        pairs.find(|[key, _]| has_name(key)).map(|[_, value]| value.clone()).ok_or_else(protocol)
    };
    let first: Option<Event> = reply_as(member("first-entry")?)?;
    Ok(Some(Extent {
        added: reply_as(member("entries-added")?)?,
        length: reply_as(member("length")?)?,
        first: first.map(|(id, _)| offset(&id)).transpose()?,
        last: offset(&reply_as::<String>(member("last-generated-id")?)?)?,
    }))
}

/// The positions in the reply to [`Streams::events_from`].
///
/// # Errors
/// If the reply is of the wrong kind.
pub(crate) fn positions(reply: Value) -> Result<Vec<Offset>, RedisError> {
    let events = by_stream(reply)?.into_iter().flat_map(|(_, events)| events);
    events.map(|(id, _)| offset(&id)).collect()
}

/// The events in the reply to `XREAD`, under the names of their streams.
///
/// # Errors
/// If the reply is of the wrong kind.
pub(crate) fn by_stream(reply: Value) -> Result<Vec<(String, Vec<Event>)>, RedisError> {
    reply_as::<Option<_>>(reply).map(Option::unwrap_or_default)
}

/// The position in the reply to [`Streams::invalidate`].
pub(crate) fn invalidated_at(reply: Value) -> Option<Version> {
    let (epoch, id) = from_redis_value::<(u64, String)>(reply).ok()?;
    Some(Version { epoch, offset: offset(&id).ok()? })
}

/// The position in the reply to [`Streams::announce`]; `None` if there is no stream of writes.
///
/// # Errors
/// If the reply is of the wrong kind.
pub(super) fn written_at(reply: Value) -> Result<Option<Offset>, RedisError> {
    let id: Option<String> = reply_as(reply)?;
    id.map(|id| offset(&id)).transpose()
}

/// From the reply to [`Streams::write_and_announce`]: the reply to the write itself, and the position in the
/// stream of writes, if there is that stream.
pub(super) fn announced_at(reply: Value) -> Option<(Value, Option<Offset>)> {
    let Value::Array(replies) = reply else { return None };
    let [written, id] = <[Value; 2]>::try_from(replies).ok()?;
    let id = from_redis_value::<Option<String>>(id).ok().flatten();
    Some((written, id.and_then(|id| offset(&id).ok())))
}

/// The position of an event of the log, its epoch, and what it invalidates.
///
/// # Errors
/// If it is no such event.
pub(crate) fn invalidation((id, fields): &Event) -> Result<(Offset, u64, Invalidation), RedisError> {
    let (epoch, invalidation) = parse_fields(fields).ok_or_else(protocol)?;
    Ok((offset(id)?, epoch, invalidation))
}

fn parse_fields(fields: &[Vec<u8>]) -> Option<(u64, Invalidation)> {
    let mut epoch = None;
    let mut invalidation = Invalidation::default();
    for pair in fields.chunks_exact(2) {
        match &pair[0][..] {
            b"o" => epoch = std::str::from_utf8(&pair[1]).ok()?.parse().ok(),
            b"m" => {
                let (target_ids, rest) = pair[1].as_chunks::<16>();
                if !rest.is_empty() {
                    return None;
                }
                invalidation.target_ids = target_ids.iter().copied().map(TargetId::from_bytes).collect();
            }
            b"t" => invalidation.by_tag = pair[1] == b"1",
            b"p" => invalidation.patterns.push(String::from_utf8(pair[1].clone()).ok()?),
            _ => return None,
        }
    }
    Some((epoch?, invalidation))
}

/// The position of an event of the stream of writes, and the key without its namespace.
///
/// # Errors
/// If it is no such event.
pub(crate) fn written((id, fields): &Event) -> Result<(Offset, &str), RedisError> {
    let [name, key] = &fields[..] else { return Err(protocol()) };
    let key = std::str::from_utf8(key).ok().filter(|_| name == b"k").ok_or_else(protocol)?;
    Ok((offset(id)?, key))
}

/// An id as Redis writes it.
pub(crate) fn id(Offset { major, minor }: Offset) -> String {
    format!("{major}-{minor}")
}

/// The position that an id says.
///
/// # Errors
/// If it is no id.
pub(crate) fn offset(id: &str) -> Result<Offset, RedisError> {
    let offset = || {
        let (major, minor) = id.split_once('-')?;
        Some(Offset { major: major.parse().ok()?, minor: minor.parse().ok()? })
    };
    offset().ok_or_else(protocol)
}

fn reply_as<T: FromRedisValue>(reply: Value) -> Result<T, RedisError> {
    match reply {
        Value::ServerError(error) => Err(error.into()),
        reply => from_redis_value(reply).map_err(|_| protocol()),
    }
}
