//! How many replicas share this Redis and namespace: each notes itself in one sorted set, now and then.
//!
//! Nothing else says so: leases and announcements do not name who wrote them, and an idle replica writes none. The
//! clock is that of Redis, so the clocks of replicas may differ.

use std::time::{Duration, Instant};

use ::redis::{Cmd, Value, from_redis_value};
use parking_lot::Mutex;

/// A replica notes itself this often: one command.
const INTERVAL: Duration = Duration::from_secs(15);

/// A replica that has not noted itself for so long is gone.
const LIFE: Duration = Duration::from_secs(45);

/// Notes ARGV[1] in KEYS[1] at the time of Redis, forgets those that were noted more than ARGV[2] seconds ago, and
/// returns how many are left. The key lives no longer than they do.
const NOTE: &str = "#!lua flags=allow-oom\n\
    local now = tonumber(redis.call('TIME')[1])\n\
    redis.call('ZADD', KEYS[1], now, ARGV[1])\n\
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])\n\
    redis.call('PEXPIRE', KEYS[1], ARGV[2] * 1000)\n\
    return redis.call('ZCARD', KEYS[1])";

/// This replica among the others.
#[derive(Debug)]
pub(super) struct Replicas {
    key: String,
    /// A name that no other process has.
    own: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether this process serves requests: `check` is no replica.
    joined: bool,
    /// When this replica noted itself last, or tried to.
    noted: Option<Instant>,
    /// How many there were, and when.
    seen: Option<(Instant, u64)>,
}

impl Replicas {
    pub(super) fn new(namespace: &str) -> Self {
        let own = format!("{:032x}", fastrand::u128(..));
        Self { key: format!("{namespace}:_:{{retired}}:replicas"), own, state: Mutex::default() }
    }

    /// From now on this process is one of them.
    pub(super) fn join(&self) {
        self.state.lock().joined = true;
    }

    /// The command with which this replica notes itself, if it is time for that.
    pub(super) fn note(&self, now: Instant) -> Option<Cmd> {
        let mut state = self.state.lock();
        if !state.joined || state.noted.is_some_and(|noted| now.duration_since(noted) < INTERVAL) {
            return None;
        }
        state.noted = Some(now);
        let mut command = ::redis::cmd("EVAL");
        command.arg(NOTE).arg(1).arg(&self.key).arg(&self.own).arg(LIFE.as_secs());
        Some(command)
    }

    /// Takes the reply. An error says nothing: the user of Redis may lack the right, or Redis takes no writes.
    pub(super) fn noted(&self, reply: Value, now: Instant) {
        if let Ok(count) = from_redis_value::<u64>(reply) {
            self.state.lock().seen = Some((now, count));
        }
    }

    /// How many replicas there are, this one included; `None` if that is not known.
    pub(super) fn seen(&self, now: Instant) -> Option<u64> {
        self.state.lock().seen.filter(|(at, _)| now.duration_since(*at) < LIFE).map(|(_, count)| count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_notes_itself_now_and_then_and_old_counts_are_forgotten() {
        let replicas = Replicas::new("ns");
        let start = Instant::now();
        assert!(replicas.note(start).is_none(), "it does not serve yet");
        replicas.join();
        assert!(replicas.note(start).is_some() && replicas.note(start).is_none());
        assert_eq!(replicas.seen(start), None);
        replicas.noted(Value::Int(3), start);
        replicas.noted(Value::Nil, start);
        assert!(replicas.note(start + INTERVAL - Duration::from_millis(1)).is_none());
        assert!(replicas.note(start + INTERVAL).is_some());
        assert_eq!(replicas.seen(start + INTERVAL), Some(3));
        assert_eq!(replicas.seen(start + LIFE), None);
    }
}
