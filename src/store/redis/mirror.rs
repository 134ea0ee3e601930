//! The order of retirements that all replicas share: one stream in Redis, which each replica reads along.
//!
//! Two keys, in one slot of a cluster: the stream, and the name of the order that it holds. Where either is lost
//! (evicted, or a Redis that came back empty), another order begins, and what was stored under the old one counts
//! as retired. The stream is bounded; a replica that was away for longer than it reaches back takes nothing for
//! current that is older.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::{
    Client, Cmd, ErrorKind, FromRedisValue, RedisError, Value, aio::MultiplexedConnection, from_redis_value,
};
use tokio::{sync::watch, time};

use super::{
    error::PROTOCOL,
    lanes::{open_connection, send},
};
use crate::generations::{Generations, Mark, Place, Point, Retirement};

/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(200);

/// The same after an error reply.
const REFUSED_RETRY: Duration = Duration::from_secs(1);

/// How long Redis holds back the answer of a read while nothing is retired: how often it is heard of.
const SILENCE: Duration = Duration::from_millis(500);

/// For an answer, beyond that.
const PATIENCE: Duration = Duration::from_millis(1000);

/// The retirements that the stream reaches back, about.
const STREAM_LENGTH: usize = 200_000;

/// Read at a time.
const PAGE: usize = 5000;

/// Neither key outlives its use for ever, and none that is in use ends: every script prolongs both.
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

/// The two keys.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) stream: String,
    order: String,
}

impl Keys {
    pub(super) fn of(namespace: &str) -> Self {
        let name = |of: &str| format!("{namespace}:_:{{retired}}:{of}");
        Self { stream: name("stream"), order: name("order") }
    }

    /// The command that tells everybody of `retirement`.
    pub(super) fn retire(&self, retirement: &Retirement) -> Cmd {
        let marks: Vec<u8> = retirement.marks.iter().flat_map(|mark| mark.to_bytes()).collect();
        let mut command = self.script(RETIRE, None);
        command.arg(&marks[..]).arg(u8::from(retirement.by_tag)).arg(STREAM_LENGTH);
        command.arg(&retirement.patterns);
        command
    }

    fn script(&self, then: &str, instead_of: Option<u64>) -> Cmd {
        let mut command = ::redis::cmd("EVAL");
        command.arg(format!("{ORDER}{then}")).arg(2).arg(&self.stream).arg(&self.order);
        command.arg(fastrand::u64(1..).to_string());
        command.arg(instead_of.map_or_else(String::new, |order| order.to_string())).arg(LIFE_MS);
        command
    }
}

/// The point that [`Keys::retire`] tells.
pub(super) fn retired_at(reply: Value) -> Option<Point> {
    let (order, place) = from_redis_value::<(u64, String)>(reply).ok()?;
    Some(Point { order, place: place_of(&place)? })
}

/// Reads the stream along, for as long as the task runs.
pub(super) struct Mirror {
    client: Client,
    keys: Keys,
    generations: Arc<Generations>,
    /// How far it has read.
    read: Point,
    synced: watch::Sender<bool>,
}

impl Mirror {
    pub(super) fn new(client: Client, keys: Keys, generations: Arc<Generations>) -> Self {
        Self { client, keys, generations, read: Point::default(), synced: watch::Sender::new(false) }
    }

    /// Changes once the copy is complete for the first time.
    pub(super) fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    pub(super) async fn run(mut self) {
        loop {
            let mut refused = false;
            if let Ok(mut connection) = open_connection(&self.client, 4).await {
                // However it ends, what helps is to connect anew: after a fail-over, to another server.
                refused = loop {
                    if let Err(error) = self.follow(&mut connection).await {
                        break error.code().is_some();
                    }
                };
            }
            time::sleep(if refused { REFUSED_RETRY } else { RETRY }).await;
        }
    }

    async fn follow(&mut self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        self.look(connection).await?;
        while let Some(unsent) = self.generations.unsent() {
            let reply = ask(connection, &self.keys.retire(&unsent)).await?;
            // First the one, then the other: what is no longer unsent must be known to be retired.
            self.generations.told(retired_at(reply).ok_or_else(protocol)?, &unsent);
            self.generations.sent(&unsent);
        }
        self.read(connection).await
    }

    /// Makes sure that the order is the one that is being read, and reads on from where it can be. Writes only where
    /// there is none: a Redis that takes no writes is still read.
    async fn look(&mut self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let mut seen = self.seen(connection).await?;
        // After a fail-over the end of the order may be lost, and its places would be given anew.
        let is_cut = |seen: &Seen| seen.order == self.read.order && seen.last < self.read.place;
        while seen.as_ref().is_none_or(is_cut) {
            let instead_of = seen.map(|seen| seen.order);
            ask(connection, &self.keys.script("", instead_of)).await?;
            seen = self.seen(connection).await?;
        }
        let Some(Seen { order, last, lost_before }) = seen else { return Ok(()) };
        if order != self.read.order {
            self.read = Point { order, place: Place::default() };
        }
        if self.generations.last().is_none_or(|last| last.order != order) {
            self.generations.begin(order);
        }
        if let Some(first) = lost_before.filter(|first| *first > self.read.place) {
            self.generations.forget_before(first);
        }
        if last == self.read.place {
            self.complete();
        }
        Ok(())
    }

    /// What there is; `None` where there is no order.
    async fn seen(&self, connection: &mut MultiplexedConnection) -> Result<Option<Seen>, RedisError> {
        let order = ask(connection, ::redis::cmd("GET").arg(&self.keys.order)).await?;
        let Some(order) = parse::<Option<u64>>(order)? else { return Ok(None) };
        let info = ask(connection, ::redis::cmd("XINFO").arg("STREAM").arg(&self.keys.stream)).await;
        match info {
            Ok(info) => Ok(Some(Seen::of(order, info).ok_or_else(protocol)?)),
            // There is no such key.
            Err(error) if error.code() == Some("ERR") => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn complete(&self) {
        self.generations.heard(Instant::now());
        self.synced.send_replace(true);
    }

    async fn read(&mut self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let Place { major, minor } = self.read.place;
        let mut command = ::redis::cmd("XREAD");
        command.arg("COUNT").arg(PAGE).arg("BLOCK").arg(SILENCE.as_millis() as u64);
        command.arg("STREAMS").arg(&self.keys.stream).arg(format!("{major}-{minor}"));
        let streams: Option<Vec<(String, Vec<Event>)>> = parse(ask(connection, &command).await?)?;
        let events = streams.into_iter().flatten().flat_map(|(_, events)| events);
        let mut count = 0;
        for (id, fields) in events {
            let place = place(&id)?;
            let (order, retirement) = retirement(&fields).ok_or_else(protocol)?;
            if order != self.read.order {
                // The stream is another one by now.
                return Ok(());
            }
            self.generations.apply(Point { order, place }, &retirement);
            self.read.place = place;
            count += 1;
        }
        if count < PAGE {
            self.complete();
        }
        Ok(())
    }
}

/// What there is of an order.
struct Seen {
    order: u64,
    /// How far it has come.
    last: Place,
    /// The first place that the stream still holds, where it held others before that.
    lost_before: Option<Place>,
}

impl Seen {
    /// From the reply to `XINFO STREAM`.
    fn of(order: u64, info: Value) -> Option<Self> {
        let Value::Array(info) = info else { return None };
        let member = |name: &str| {
            let mut pairs = info.as_chunks::<2>().0.iter();
            let is = |key: &Value| matches!(key, Value::BulkString(key) if key == name.as_bytes());
            pairs.find(|[key, _]| is(key)).map(|[_, value]| value.clone())
        };
        let number = |name| from_redis_value::<u64>(member(name)?).ok();
        let (added, length) = (number("entries-added")?, number("length")?);
        let first = || from_redis_value::<Option<Event>>(member("first-entry")?).ok()?;
        let lost_before = if added > length { Some(place_of(&first()?.0)?) } else { None };
        let last = from_redis_value::<String>(member("last-generated-id")?).ok()?;
        Some(Self { order, last: place_of(&last)?, lost_before })
    }
}

/// The id and the fields, each name before its value.
type Event = (String, Vec<Vec<u8>>);

/// One command; an error reply is an error.
async fn ask(connection: &mut MultiplexedConnection, command: &Cmd) -> Result<Value, RedisError> {
    match time::timeout(SILENCE + PATIENCE, send(connection, command)).await {
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        Ok(reply) => reply,
    }
}

fn parse<T: FromRedisValue>(reply: Value) -> Result<T, RedisError> {
    from_redis_value(reply).map_err(|_| protocol())
}

fn place(id: &str) -> Result<Place, RedisError> {
    place_of(id).ok_or_else(protocol)
}

fn place_of(id: &str) -> Option<Place> {
    let (major, minor) = id.split_once('-')?;
    Some(Place { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

fn retirement(fields: &[Vec<u8>]) -> Option<(u64, Retirement)> {
    let (mut order, mut retirement) = (None, Retirement::default());
    for pair in fields.chunks_exact(2) {
        match &pair[0][..] {
            b"o" => order = std::str::from_utf8(&pair[1]).ok()?.parse().ok(),
            b"m" => {
                let (marks, rest) = pair[1].as_chunks::<16>();
                if !rest.is_empty() {
                    return None;
                }
                retirement.marks = marks.iter().copied().map(Mark::from_bytes).collect();
            }
            b"t" => retirement.by_tag = pair[1] == b"1",
            b"p" => retirement.patterns.push(String::from_utf8(pair[1].clone()).ok()?),
            _ => return None,
        }
    }
    Some((order?, retirement))
}

fn protocol() -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, PROTOCOL))
}
