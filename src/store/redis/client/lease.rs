//! Leases: of all replicas, the one that holds the lease of a question asks the upstream.
//!
//! A lease is a key of sidecache's own with a short life, which its holder prolongs: `SET NX PX GET`, the
//! pattern of Redis' own documentation, with a random holder so that nobody prolongs or releases the lease of
//! another. If the holder dies, the others wait no longer than that life.

use std::{sync::Arc, time::Duration};

use ::redis::Value;
use bytes::Bytes;
use tokio::task::AbortHandle;

use super::{RedisClient, StoreError};
use crate::{cache::invalidation::Offset, store::UNSHAREABLE_FOR};

/// The life of a lease, and how often its holder prolongs it.
const LIFE: Duration = Duration::from_millis(1500);
const PROLONG_EVERY: Duration = Duration::from_millis(500);

/// The holder of a lease whose question has answers for their own callers only.
const UNSHAREABLE: &str = "-";

/// Takes the lease KEYS[1] for ARGV[1] if nobody holds it; returns who held it, and the value under KEYS[2].
const TAKE: &str = "return {redis.call('SET', KEYS[1], ARGV[1], 'NX', 'GET', 'PX', ARGV[2]), \
                    redis.call('GET', KEYS[2])}";
/// The value under KEYS[2]; if there is none, takes the lease KEYS[1] for ARGV[1] as above. A server that takes no writes
/// says so in place of the holder.
const LOOK: &str = "local value = redis.call('GET', KEYS[2]) if value then return {value, false} end \
                    return {false, redis.pcall('SET', KEYS[1], ARGV[1], 'NX', 'GET', 'PX', ARGV[2])}";
/// Gives KEYS[1], if ARGV[1] holds it, a life of ARGV[2] from now.
const PROLONG: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
                       return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0";
/// Removes KEYS[1] if ARGV[1] holds it.
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
/// Writes ARGV[3] over KEYS[1], for ARGV[2], if ARGV[1] holds it.
const MARK_UNSHAREABLE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
                                redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2]) return 1 end return 0";

/// Who may ask the upstream, and what is stored by now: bytes or an entry.
#[derive(Debug)]
pub struct LeaseReply<T> {
    /// Who may ask the upstream.
    pub state: LeaseState,
    /// What is stored by now, of use to the request or not.
    pub stored: Option<T>,
}

/// What a look found: the value, or who may ask the upstream. Neither, if the server takes no writes.
#[derive(Debug)]
pub(crate) struct LookReply {
    pub(crate) stored: Option<Bytes>,
    pub(crate) state: Option<LeaseState>,
}

/// Who may ask the upstream.
#[derive(Debug)]
pub enum LeaseState {
    /// This replica; with the lease if there may be others.
    Acquired(Option<Lease>),
    /// Another replica.
    HeldElsewhere,
    /// Everybody: answers are for their own callers only.
    Unshareable,
}

/// The lease of one question. Dropped, it is released.
#[derive(Debug)]
pub struct Lease {
    client: Arc<RedisClient>,
    name: String,
    holder: String,
    /// Set once the lease is known to be held.
    prolonging: Option<AbortHandle>,
    is_released: bool,
}

impl Lease {
    /// Asks for the lease of the question whose answer is stored under `key` in the form `form`, among those
    /// who ask since the last invalidation that concerned it. One round trip, which may take no longer than
    /// `within`.
    ///
    /// # Errors
    /// See [`StoreError`]; the upstream may then be asked without a lease.
    pub async fn acquire(
        client: &Arc<RedisClient>,
        key: &str,
        form: u64,
        since: Offset,
        within: Duration,
    ) -> Result<LeaseReply<Bytes>, StoreError> {
        // What could not be stored is not worth waiting for.
        if client.refuses_writes(key) {
            return Err(StoreError::Refused);
        }
        if within.is_zero() {
            return Err(StoreError::Timeout);
        }
        let mut lease = Self::unacquired(client, key, form, since);
        let (holder, stored) = match lease.take(key, within).await {
            Ok(reply) => reply,
            Err(error) => {
                // A command without a reply may be carried out all the same: then the lease is released.
                lease.is_released = error != StoreError::Timeout;
                return Err(error);
            }
        };
        let state = lease.held_by(holder).ok_or(StoreError::Protocol)?;
        let stored = match stored {
            Value::Nil => None,
            Value::BulkString(value) => Some(value.into()),
            _ => return Err(StoreError::Protocol),
        };
        Ok(LeaseReply { state, stored })
    }

    /// The value under `key`; if there is none, asks for its lease in the same round trip.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) async fn look(
        client: &Arc<RedisClient>,
        key: &str,
        form: u64,
        since: Offset,
    ) -> Result<LookReply, StoreError> {
        let mut lease = Self::unacquired(client, key, form, since);
        let reply = lease.run(LOOK, key, client.timeout()).await.inspect_err(|error| {
            // A command without a reply may be carried out all the same: then the lease is released.
            lease.is_released = *error != StoreError::Timeout;
        });
        let [stored, holder] = reply?;
        match stored {
            Value::BulkString(value) => {
                lease.is_released = true;
                client.keys.note(client.keys.hash(key), value.len());
                Ok(LookReply { stored: Some(value.into()), state: None })
            }
            Value::Nil => Ok(LookReply { stored: None, state: lease.held_by(holder) }),
            _ => Err(StoreError::Protocol),
        }
    }

    /// What the former `holder` of the lease means, after this one tried to take it; `None` if the server does not say.
    fn held_by(mut self, holder: Value) -> Option<LeaseState> {
        if holder == Value::Nil {
            return Some(LeaseState::Acquired(Some(self.prolonged())));
        }
        self.is_released = true;
        match holder {
            Value::BulkString(holder) if holder == UNSHAREABLE.as_bytes() => Some(LeaseState::Unshareable),
            Value::BulkString(_) => Some(LeaseState::HeldElsewhere),
            _ => None,
        }
    }

    fn unacquired(client: &Arc<RedisClient>, key: &str, form: u64, since: Offset) -> Self {
        let Offset { major, minor } = since;
        Self {
            client: Arc::clone(client),
            // In a cluster, it is in the slot of `key`.
            name: format!("{}:_:lease:{{{key}}}:{form:x}:{major}-{minor}", client.namespace),
            holder: format!("{:032x}", fastrand::u128(..)),
            prolonging: None,
            is_released: false,
        }
    }

    /// Tries to take the lease; who held it before, and the value under `key`.
    async fn take(&self, key: &str, within: Duration) -> Result<(Value, Value), StoreError> {
        let [holder, stored] = self.run(TAKE, key, within).await?;
        Ok((holder, stored))
    }

    /// Runs a script with the lease and `key`.
    async fn run(&self, script: &str, key: &str, within: Duration) -> Result<[Value; 2], StoreError> {
        let life = LIFE.as_millis().to_string();
        let reply = self.client.script(script, &[&self.name, key], &[&self.holder, &life], within).await?;
        let Value::Array(reply) = reply else { return Err(StoreError::Protocol) };
        reply.try_into().map_err(|_| StoreError::Protocol)
    }

    /// The same lease, prolonged until it is dropped.
    fn prolonged(mut self) -> Self {
        let client = Arc::clone(&self.client);
        let name = self.name.clone();
        let holder = self.holder.clone();
        let prolonging = tokio::spawn(async move {
            let life = LIFE.as_millis().to_string();
            loop {
                tokio::time::sleep(PROLONG_EVERY).await;
                // If this fails, others ask too: that costs the upstream a call, and nothing else.
                let _ = client.script(PROLONG, &[&name], &[&holder, &life], client.timeout()).await;
            }
        });
        self.prolonging = Some(prolonging.abort_handle());
        self
    }

    /// Releases the lease, and lets all replicas know that answers are for their own callers only.
    pub(crate) async fn mark_unshareable(mut self) {
        self.is_released = true;
        let life = UNSHAREABLE_FOR.as_millis().to_string();
        let arguments = [&*self.holder, &life, UNSHAREABLE];
        let within = self.client.timeout();
        let _ = self.client.script(MARK_UNSHAREABLE, &[&self.name], &arguments, within).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(prolonging) = &self.prolonging {
            prolonging.abort();
        }
        if !self.is_released {
            let client = Arc::clone(&self.client);
            let name = self.name.clone();
            let holder = self.holder.clone();
            tokio::spawn(async move {
                let _ = client.script(RELEASE, &[&name], &[&holder], client.timeout()).await;
            });
        }
    }
}
