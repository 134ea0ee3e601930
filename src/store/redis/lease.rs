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

use super::{
    RedisStore, StoreError,
    breaker::{Call, Kind},
};
use crate::{cache::invalidation::Offset, store::UNSHAREABLE_FOR};

/// The life of a lease, and how often its holder prolongs it.
const LIFE: Duration = Duration::from_millis(1500);
const PROLONGED_EVERY: Duration = Duration::from_millis(500);

/// The holder of a lease whose question has answers for their own callers only.
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
pub struct LeaseReply {
    /// Who asks.
    pub state: LeaseState,
    /// The value that is stored by now.
    pub stored: Option<Bytes>,
}

/// Whose turn it is to ask the upstream.
#[derive(Debug)]
pub enum LeaseState {
    /// This replica's; the lease where there are others.
    Acquired(Option<Lease>),
    /// Another replica's.
    HeldElsewhere,
    /// Everybody's: answers are for their own callers only.
    Unshareable,
}

/// The lease of one question. Dropped, it is given back.
#[derive(Debug)]
pub struct Lease {
    store: Arc<RedisStore>,
    name: String,
    holder: String,
    /// Once it is known to be held.
    prolonging: Option<AbortHandle>,
    given_back: bool,
}

impl RedisStore {
    /// Asks for the lease of the question whose answer is kept under `key` in the form `form`, among those who ask
    /// since the last retirement that concerned it. One round trip, which may take no longer than `within`.
    ///
    /// # Errors
    /// See [`StoreError`]; the upstream may then be asked without a lease.
    pub async fn acquire_lease(
        self: &Arc<Self>,
        key: &str,
        form: u64,
        since: Offset,
        within: Duration,
    ) -> Result<LeaseReply, StoreError> {
        // What could not be stored is not worth waiting for.
        if self.breaker.writes.refusal(Instant::now()).is_some() {
            return Err(StoreError::Refused);
        }
        if within.is_zero() {
            return Err(StoreError::Timeout);
        }
        let (local, Offset { major, minor }) = (&key[self.namespace.len() + 1..], since);
        let name = format!("{}:_:lease:{local}:{form:x}:{major}-{minor}", self.namespace);
        let holder = format!("{:032x}", fastrand::u128(..));
        let mut lease = Lease { store: Arc::clone(self), name, holder, prolonging: None, given_back: false };
        let (held_by, stored) = match self.take(&lease, key, within).await {
            Ok(reply) => reply,
            Err(error) => {
                // What got no reply may be carried out all the same, and is then given back.
                lease.given_back = error != StoreError::Timeout;
                return Err(error);
            }
        };
        let state = match held_by {
            Value::Nil => LeaseState::Acquired(Some(lease.prolonged())),
            other => {
                lease.given_back = true;
                match other {
                    Value::BulkString(holder) if holder == UNSHAREABLE.as_bytes() => LeaseState::Unshareable,
                    Value::BulkString(_) => LeaseState::HeldElsewhere,
                    _ => return Err(StoreError::Protocol),
                }
            }
        };
        let stored = match stored {
            Value::Nil => None,
            Value::BulkString(value) => Some(self.unsealed(key, value)?),
            _ => return Err(StoreError::Protocol),
        };
        Ok(LeaseReply { state, stored })
    }

    /// Tries to take `lease`; who held it before, and the value under `key`.
    async fn take(&self, lease: &Lease, key: &str, within: Duration) -> Result<(Value, Value), StoreError> {
        let life = LIFE.as_millis().to_string();
        let reply = self.script(TAKE, &[&lease.name, key], &[&lease.holder, &life], within).await?;
        let Value::Array(reply) = reply else { return Err(StoreError::Protocol) };
        let [held_by, stored] = <[Value; 2]>::try_from(reply).map_err(|_| StoreError::Protocol)?;
        Ok((held_by, stored))
    }

    async fn script(
        &self,
        script: &str,
        keys: &[&str],
        arguments: &[&str],
        within: Duration,
    ) -> Result<Value, StoreError> {
        let lanes = self.breaker.lanes()?;
        let name = keys.first().copied().unwrap_or_default();
        let mut command = ::redis::cmd("EVAL");
        command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
        let lane = &lanes.small;
        let call = Call { lanes: &lanes, lane, key: name, kind: Kind::Aside, within };
        self.breaker.call(call, lane.send(&command)).await
    }
}

impl Lease {
    /// The same, held until it is dropped.
    fn prolonged(mut self) -> Self {
        let (store, name, holder) = (Arc::clone(&self.store), self.name.clone(), self.holder.clone());
        let prolonging = tokio::spawn(async move {
            let life = LIFE.as_millis().to_string();
            loop {
                tokio::time::sleep(PROLONGED_EVERY).await;
                // Where this fails, others ask too: no harm but to the upstream.
                let _ = store.script(PROLONG, &[&name], &[&holder, &life], store.timeout()).await;
            }
        });
        self.prolonging = Some(prolonging.abort_handle());
        self
    }

    /// Gives the lease back, and tells all replicas that answers are for their own callers only.
    pub async fn mark_unshareable(mut self) {
        self.given_back = true;
        let life = UNSHAREABLE_FOR.as_millis().to_string();
        let arguments = [&*self.holder, &life, UNSHAREABLE];
        let _ = self.store.script(MARK, &[&self.name], &arguments, self.store.timeout()).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(prolonging) = &self.prolonging {
            prolonging.abort();
        }
        if !self.given_back {
            let (store, name, holder) = (Arc::clone(&self.store), self.name.clone(), self.holder.clone());
            tokio::spawn(async move {
                let _ = store.script(RELEASE, &[&name], &[&holder], store.timeout()).await;
            });
        }
    }
}
