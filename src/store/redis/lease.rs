//! Leases: of all replicas, the one that holds a question's lease asks the upstream.
//!
//! A lease is a key of sidecache's own with a short life, which its holder prolongs. One that dies costs the
//! others no more than that life.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::Value;
use bytes::Bytes;
use tokio::task::AbortHandle;

use super::{RedisStore, StoreError, breaker::Kind};

/// The life of a lease, and how often its holder prolongs it.
const LIFE: Duration = Duration::from_millis(1500);
const PROLONGED_EVERY: Duration = Duration::from_millis(500);

/// How long replicas know of a question whose answers are for their own callers only.
const UNSHAREABLE_FOR: Duration = Duration::from_secs(60);
/// What stands in place of a holder then.
const UNSHAREABLE: &str = "-";

/// Takes the lease KEYS[1] for ARGV[1] where nobody holds it; who held it, and the value under KEYS[2].
const TAKE: &str = "return {redis.call('SET', KEYS[1], ARGV[1], 'NX', 'GET', 'PX', ARGV[2]), \
                    redis.call('GET', KEYS[2])}";
/// Gives KEYS[1], where ARGV[1] holds it, a life of ARGV[2] from now.
const PROLONG: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
                       return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0";
/// Removes KEYS[1] where ARGV[1] holds it.
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
/// Writes ARGV[3] over KEYS[1], for ARGV[2], where ARGV[1] holds it.
const MARK: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
                    redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2]) return 1 end return 0";

/// What came of asking for a lease.
#[derive(Debug)]
pub enum Turn {
    /// The answer is stored by now.
    Stored(Bytes),
    /// It is this replica's turn to ask.
    Mine(Lease),
    /// Another replica is asking.
    Theirs,
    /// The answers are for their own callers only: nobody need wait.
    Unshareable,
}

/// The lease of one question. Dropped, it is given back.
#[derive(Debug)]
pub struct Lease {
    store: Arc<RedisStore>,
    name: String,
    holder: String,
    prolonging: AbortHandle,
    given_back: bool,
}

impl RedisStore {
    /// Asks for the lease of the question whose answer is kept under `key` in the form `form`. One round trip.
    ///
    /// # Errors
    /// See [`StoreError`]; the upstream may then be asked without a lease.
    pub async fn turn(self: &Arc<Self>, key: &str, form: u64) -> Result<Turn, StoreError> {
        // What could not be stored is not worth waiting for.
        if self.breaker.writes.refusal(Instant::now()).is_some() {
            return Err(StoreError::Refused);
        }
        let name = format!("{}:_:lease:{}:{form:x}", self.namespace, &key[self.namespace.len() + 1..]);
        let holder = format!("{:032x}", fastrand::u128(..));
        let life = LIFE.as_millis().to_string();
        let Value::Array(reply) = self.script(TAKE, &[&name, key], &[&holder, &life]).await? else {
            return Err(StoreError::Protocol);
        };
        match &reply[..] {
            [Value::Nil, Value::Nil] => Ok(Turn::Mine(Lease::new(Arc::clone(self), name, holder))),
            [Value::Nil, Value::BulkString(value)] => {
                drop(Lease::new(Arc::clone(self), name, holder));
                Ok(Turn::Stored(Bytes::from(value.clone())))
            }
            [_, Value::BulkString(value)] => Ok(Turn::Stored(Bytes::from(value.clone()))),
            [Value::BulkString(held_by), _] if held_by == UNSHAREABLE.as_bytes() => Ok(Turn::Unshareable),
            [Value::BulkString(_), Value::Nil] => Ok(Turn::Theirs),
            _ => Err(StoreError::Protocol),
        }
    }

    async fn script(&self, script: &str, keys: &[&str], arguments: &[&str]) -> Result<Value, StoreError> {
        let lanes = self.breaker.lanes()?;
        let name = keys.first().copied().unwrap_or_default();
        let mut command = ::redis::cmd("EVAL");
        command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
        let lane = lanes.pick(self.large_keys.hash(name), false);
        self.breaker.call(&lanes, lane, &command, name, Kind::Aside).await
    }
}

impl Lease {
    fn new(store: Arc<RedisStore>, name: String, holder: String) -> Self {
        let prolonging = {
            let (store, name, holder) = (Arc::clone(&store), name.clone(), holder.clone());
            tokio::spawn(async move {
                let life = LIFE.as_millis().to_string();
                loop {
                    tokio::time::sleep(PROLONGED_EVERY).await;
                    // Where this fails, others ask too: no harm but to the upstream.
                    let _ = store.script(PROLONG, &[&name], &[&holder, &life]).await;
                }
            })
            .abort_handle()
        };
        Self { store, name, holder, prolonging, given_back: false }
    }

    /// Gives the lease back, and tells all replicas that answers are for their own callers only.
    pub async fn mark_unshareable(mut self) {
        self.given_back = true;
        let life = UNSHAREABLE_FOR.as_millis().to_string();
        let _ = self.store.script(MARK, &[&self.name], &[&self.holder, &life, UNSHAREABLE]).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.prolonging.abort();
        if !self.given_back {
            let (store, name, holder) = (Arc::clone(&self.store), self.name.clone(), self.holder.clone());
            tokio::spawn(async move {
                let _ = store.script(RELEASE, &[&name], &[&holder]).await;
            });
        }
    }
}
