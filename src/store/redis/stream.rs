//! The streams in Redis that all replicas read along, as commands and replies.
//!
//! The order of retirements takes two keys, in one slot of a cluster: the stream, and the name of the order that it
//! holds. Where either is lost (evicted, or a Redis that came back empty), another order begins, and what was stored
//! under the old one counts as retired. The stream is bounded; a replica that was away for longer than it reaches back
//! takes nothing for current that is older.
//!
//! Writes are announced in a stream of their own: they are many, and would push retirements out. It is there only
//! where a replica with a near tier has begun it.

use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, Pipeline, RedisError, Value, from_redis_value};

use super::error::protocol;
use crate::cache::invalidation::{Invalidation, Offset, TargetId, Version};

/// The retirements that the stream reaches back, about.
const STREAM_LENGTH: usize = 200_000;

/// The same for announced writes. Who is further behind drops what it has near.
const WRITES_LENGTH: usize = 10_000;

/// Read at a time, of each stream.
pub(super) const PAGE: usize = 5000;

/// No key outlives its use for ever, and none that is in use ends: scripts prolong them.
const LIFE_MS: u64 = 400 * 24 * 3600 * 1000;

/// Makes sure that there is an order: ARGV[1] where there is none, or where ARGV[2] is the one that there is. Its
/// keys live for ARGV[3]. It may be called when Redis is full: what is retired must go.
const ORDER: &str = "#!lua flags=allow-oom\n\
    local order = redis.call('GET', KEYS[2])\n\
    if not order or order == ARGV[2] or redis.call('EXISTS', KEYS[1]) == 0 then\n\
        order = ARGV[1]\n\
        redis.call('DEL', KEYS[1])\n\
        redis.call('SET', KEYS[2], order)\n\
        redis.call('XADD', KEYS[1], '*', 'o', order)\n\
    end\n\
    redis.call('PEXPIRE', KEYS[1], ARGV[3]) redis.call('PEXPIRE', KEYS[2], ARGV[3])\n";

/// Appends a retirement of the ids ARGV[4], by tag or not (ARGV[5]), of the patterns that follow, to the last ARGV[6]
/// or so; the order, and the place.
const RETIRE: &str = "local event = {'o', order, 'm', ARGV[4], 't', ARGV[5]}\n\
    for i = 7, #ARGV do event[#event + 1] = 'p' event[#event + 1] = ARGV[i] end\n\
    return {order, redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[6], '*', unpack(event))}";

/// Begins the stream of writes, KEYS[1], where there is none, with an announcement of nothing.
const LISTEN: &str = "#!lua flags=allow-oom\n\
    if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('XADD', KEYS[1], '*', 'k', '') end\n\
    redis.call('PEXPIRE', KEYS[1], ARGV[1])";

/// Removes KEYS[1], and announces that as ARGV[1] in KEYS[2], to the last ARGV[2] or so. A full Redis can remove.
const REMOVE: &str = "#!lua flags=allow-oom\n\
    redis.call('XADD', KEYS[2], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[2], '*', 'k', ARGV[1])\n\
    return redis.call('DEL', KEYS[1])";

/// The keys.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    namespace: String,
    pub(super) stream: String,
    epoch: String,
    writes: String,
}

impl Keys {
    pub(super) fn of(namespace: &str) -> Self {
        let name = |of: &str| format!("{namespace}:_:{{retired}}:{of}");
        let namespace = namespace.to_owned();
        Self { stream: name("stream"), epoch: name("order"), writes: name("writes"), namespace }
    }

    /// The command that tells everybody of `invalidation`.
    pub(super) fn invalidate(&self, invalidation: &Invalidation) -> Cmd {
        let target_ids: Vec<u8> =
            invalidation.target_ids.iter().flat_map(|target_id| target_id.to_bytes()).collect();
        let mut command = self.order_script(RETIRE, None);
        command.arg(&target_ids[..]).arg(u8::from(invalidation.by_tag)).arg(STREAM_LENGTH);
        command.arg(&invalidation.patterns);
        command
    }

    /// The command that sees to it that there is an order, and not `instead_of`.
    pub(super) fn begin(&self, instead_of: Option<u64>) -> Cmd {
        self.order_script("", instead_of)
    }

    fn order_script(&self, then: &str, instead_of: Option<u64>) -> Cmd {
        let mut command = ::redis::cmd("EVAL");
        command.arg(format!("{ORDER}{then}")).arg(2).arg(&self.stream).arg(&self.epoch);
        command.arg(fastrand::u64(1..).to_string());
        command.arg(instead_of.map_or_else(String::new, |epoch| epoch.to_string())).arg(LIFE_MS);
        command
    }

    /// The command that sees to it that writes are announced.
    pub(super) fn listen(&self) -> Cmd {
        let mut command = ::redis::cmd("EVAL");
        command.arg(LISTEN).arg(1).arg(&self.writes).arg(LIFE_MS);
        command
    }

    /// What carries out `write`, of `key`, and announces it: both or neither. (In a script, Lua would copy the value.)
    pub(super) fn announced(&self, key: &str, write: Cmd) -> Pipeline {
        let mut together = ::redis::pipe();
        together.cmd("MULTI").add_command(write);
        together.cmd("XADD").arg(&self.writes).arg("NOMKSTREAM").arg("MAXLEN").arg("~").arg(WRITES_LENGTH);
        together.arg("*").arg("k").arg(self.local(key));
        together.cmd("EXEC");
        together
    }

    /// The command that removes `key` and announces it.
    pub(super) fn remove(&self, key: &str) -> Cmd {
        let mut command = ::redis::cmd("EVAL");
        command.arg(REMOVE).arg(2).arg(key).arg(&self.writes).arg(self.local(key)).arg(WRITES_LENGTH);
        command
    }

    fn local<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(&self.namespace).and_then(|key| key.strip_prefix(':')).unwrap_or_default()
    }

    /// Asks what there is, of the writes too or not, and for what comes after these places. All of it goes at once, so
    /// that nothing is cut off between the answers.
    pub(super) fn look(&self, writes: bool, reading: Option<&Reading>) -> Pipeline {
        let mut look = ::redis::pipe();
        look.cmd("GET").arg(&self.epoch);
        look.cmd("XINFO").arg("STREAM").arg(&self.stream);
        if writes {
            look.cmd("XINFO").arg("STREAM").arg(&self.writes);
        }
        if let Some(Reading { invalidated, written, wait }) = reading {
            look.cmd("XREAD").arg("COUNT").arg(PAGE);
            if let Some(wait) = wait {
                look.arg("BLOCK").arg(wait.as_millis() as u64);
            }
            look.arg("STREAMS").arg(&self.stream);
            look.arg(written.map(|_| &self.writes)).arg(id(*invalidated)).arg(written.map(id));
        }
        look
    }

    /// What Redis says to [`Keys::look`].
    pub(super) fn seen(&self, writes: bool, replies: Vec<Value>) -> Result<Seen, RedisError> {
        let mut replies = replies.into_iter();
        let mut next = || replies.next();
        let epoch = parse(next().ok_or_else(protocol)?)?;
        let invalidated = extent(next().ok_or_else(protocol)?)?;
        let written = if writes { extent(next().ok_or_else(protocol)?)? } else { None };
        let streams: Option<Vec<(String, Vec<Event>)>> = next().map_or(Ok(None), parse)?;
        let mut seen = Seen { epoch, invalidated, written, invalidations: Vec::new(), writes: Vec::new() };
        for (name, events) in streams.into_iter().flatten() {
            if name == self.stream { seen.invalidations = events } else { seen.writes = events }
        }
        Ok(seen)
    }
}

/// Where to read on.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) invalidated: Offset,
    pub(super) written: Option<Offset>,
    /// How long Redis may hold back its answer while there is nothing.
    pub(super) wait: Option<Duration>,
}

/// What there is, and what has come.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) epoch: Option<u64>,
    pub(super) invalidated: Option<Extent>,
    pub(super) written: Option<Extent>,
    pub(super) invalidations: Vec<Event>,
    pub(super) writes: Vec<Event>,
}

/// How far a stream reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// All that was ever added.
    pub(super) added: u64,
    pub(super) length: u64,
    pub(super) first: Option<Offset>,
    /// How far it has come.
    pub(super) last: Offset,
}

impl Extent {
    /// How many it does not hold any more.
    pub(super) fn gone(&self) -> u64 {
        self.added.saturating_sub(self.length)
    }

    /// The first place that it still holds, where it held others before that.
    pub(super) fn lost_before(&self) -> Option<Offset> {
        self.first.filter(|_| self.gone() > 0)
    }
}

/// An id and its fields, each name before its value.
type Event = (String, Vec<Vec<u8>>);

/// From the reply to `XINFO STREAM`; `None` where there is no such key.
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
        let is = |key: &Value| matches!(key, Value::BulkString(key) if key == name.as_bytes());
        pairs.find(|[key, _]| is(key)).map(|[_, value]| value.clone()).ok_or_else(protocol)
    };
    let first: Option<Event> = parse(member("first-entry")?)?;
    Ok(Some(Extent {
        added: parse(member("entries-added")?)?,
        length: parse(member("length")?)?,
        first: first.map(|(id, _)| offset(&id)).transpose()?,
        last: offset(&parse::<String>(member("last-generated-id")?)?)?,
    }))
}

/// The point that [`Keys::invalidate`] tells.
pub(super) fn invalidated_at(reply: Value) -> Option<Version> {
    let (epoch, id) = from_redis_value::<(u64, String)>(reply).ok()?;
    Some(Version { epoch, offset: offset(&id).ok()? })
}

/// The place that [`Keys::announced`] tells, and what came of the write itself; no place where nobody listens.
pub(super) fn announced_at(reply: Value) -> Option<(Value, Option<Offset>)> {
    let Value::Array(replies) = reply else { return None };
    let [written, id] = <[Value; 2]>::try_from(replies).ok()?;
    let id = from_redis_value::<Option<String>>(id).ok().flatten();
    Some((written, id.and_then(|id| offset(&id).ok())))
}

/// The place of an event of the stream of retirements, its order, and what is retired.
pub(super) fn invalidation((id, fields): &Event) -> Result<(Offset, u64, Invalidation), RedisError> {
    let (epoch, invalidation) = told(fields).ok_or_else(protocol)?;
    Ok((offset(id)?, epoch, invalidation))
}

fn told(fields: &[Vec<u8>]) -> Option<(u64, Invalidation)> {
    let (mut epoch, mut invalidation) = (None, Invalidation::default());
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

/// The place of an event of the stream of writes, and the key without its namespace.
pub(super) fn written((id, fields): &Event) -> Result<(Offset, &str), RedisError> {
    let [name, key] = &fields[..] else { return Err(protocol()) };
    let key = std::str::from_utf8(key).ok().filter(|_| name == b"k").ok_or_else(protocol)?;
    Ok((offset(id)?, key))
}

fn id(Offset { major, minor }: Offset) -> String {
    format!("{major}-{minor}")
}

fn offset(id: &str) -> Result<Offset, RedisError> {
    let offset = || {
        let (major, minor) = id.split_once('-')?;
        Some(Offset { major: major.parse().ok()?, minor: minor.parse().ok()? })
    };
    offset().ok_or_else(protocol)
}

fn parse<T: FromRedisValue>(reply: Value) -> Result<T, RedisError> {
    match reply {
        Value::ServerError(error) => Err(error.into()),
        reply => from_redis_value(reply).map_err(|_| protocol()),
    }
}
