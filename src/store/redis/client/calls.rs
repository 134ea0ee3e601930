//! The calls about one key: read, write, remove, append to the log, run a script.

use std::time::{Duration, Instant};

use ::redis::{Cmd, Value};
use bytes::Bytes;

use super::{
    RedisClient, StoreError,
    announcement::Announcement,
    breaker::CallKind,
    connections::{LARGE, get},
    nodes::{Commands, Lane, Request},
    streams,
};
use crate::{
    cache::invalidation::{Invalidation, Offset, Version},
    store::MAX_TTL,
};

/// How a value is put.
#[derive(Clone, Copy, Default)]
pub(super) struct PutOptions {
    /// It is one of many, and goes over the connection for large values.
    pub(super) is_bulk: bool,
    /// It does not replace another value.
    pub(super) if_absent: bool,
}

impl RedisClient {
    /// The value under `key`; `None` if there is none.
    ///
    /// # Errors
    /// See [`StoreError`]; all of them are misses.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let hash = self.keys.hash(key);
        let lane = Lane::Lookup { is_large: self.keys.is_large(hash) };
        let command = get(key);
        let commands = Commands::One(&command);
        let request = Request { key, kind: CallKind::Read, lane, within: Duration::MAX, commands };
        let (reply, answerer) = self.nodes.call(request).await?;
        match reply {
            Value::Nil => {
                self.keys.note_missing(hash);
                Ok(None)
            }
            Value::BulkString(value) => {
                self.keys.note(hash, value.len());
                Ok(Some(value.into()))
            }
            _ => Err(answerer.bad_reply()),
        }
    }

    /// Stores `value` under `key` for `ttl`, rounded up to whole milliseconds, and announces it. Returns its
    /// position in the stream of writes, if some replica listens. A call that times out, or whose future is
    /// dropped, may still store the value, even later.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Refused`] also without asking Redis, if it refused lately.
    pub async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<Option<Offset>, StoreError> {
        self.put_with(key, value, ttl, PutOptions::default()).await
    }

    /// As [`Self::put`], unless there is a value by now.
    ///
    /// # Errors
    /// See [`Self::put`].
    pub(crate) async fn put_if_absent(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
    ) -> Result<Option<Offset>, StoreError> {
        self.put_with(key, value, ttl, PutOptions { if_absent: true, ..PutOptions::default() }).await
    }

    /// Whether `key` is likely to have a value: it lately had one.
    pub(crate) fn expects(&self, key: &str) -> bool {
        self.keys.was_found(self.keys.hash(key))
    }

    /// Fails if a write of `key` would fail at once, before anything is done for it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] and [`StoreError::Refused`].
    pub(crate) fn check_writable(&self, key: &str) -> Result<(), StoreError> {
        let server = self.nodes.of(key)?;
        if !server.connected() {
            return Err(StoreError::Unavailable);
        }
        if server.writes.is_closed(Instant::now()) { Err(StoreError::Refused) } else { Ok(()) }
    }

    /// Whether the server of `key` refuses writes, or did a moment ago.
    pub(crate) fn refuses_writes(&self, key: &str) -> bool {
        self.nodes.of(key).is_ok_and(|server| server.writes.refusal(Instant::now()).is_some())
    }

    pub(super) async fn put_with(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        options: PutOptions,
    ) -> Result<Option<Offset>, StoreError> {
        if !self.nodes.of(key)?.writes.admits(Instant::now()) {
            return Err(StoreError::Refused);
        }
        let hash = self.keys.hash(key);
        // If the value before this one was large, this write uses the same connection, so that it cannot
        // overtake that one's.
        let is_large = options.is_bulk || value.len() >= LARGE || self.keys.is_large(hash);
        let mut command = ::redis::cmd("SET");
        command.arg(key).arg(&value[..]).arg("PX").arg(millis(ttl));
        if options.if_absent {
            command.arg("NX");
        }
        let (written, offset) = self.write(key, is_large, command).await?;
        // If not, there was a value, and `NX`.
        if written == Value::Okay {
            self.keys.note(hash, value.len());
        }
        Ok(offset)
    }

    /// Carries out a write of `key`, and announces it: together on one server, one after the other in a cluster. The
    /// reply to the write is an OK or, where it depends on what is there, nil.
    async fn write(
        &self,
        key: &str,
        is_large: bool,
        command: Cmd,
    ) -> Result<(Value, Option<Offset>), StoreError> {
        let (kind, lane) = (CallKind::Put, Lane::Ordered { is_large });
        let request = |commands| Request { key, kind, lane, within: Duration::MAX, commands };
        let (written, answerer, announcement) = if self.nodes.is_cluster() {
            let announcement = Announcement::of(self, key);
            let sent = self.nodes.call(request(Commands::One(&command))).await;
            let (reply, answerer) = announcement.unless_refused(sent)?;
            (Some((reply, None)), answerer, Some(announcement))
        } else {
            let commands = self.streams.write_and_announce(key, command);
            let (reply, answerer) = self.nodes.call(request(Commands::Together(&commands))).await?;
            (streams::announced_at(reply), answerer, None)
        };
        let Some((written @ (Value::Okay | Value::Nil), offset)) = written else {
            return Err(answerer.bad_reply());
        };
        if written == Value::Okay {
            answerer.server.writes.open();
        }
        match announcement {
            Some(announcement) => Ok((written, announcement.send(self).await)),
            None => Ok((written, offset)),
        }
    }

    pub(super) async fn announce(&self, key: &str) -> Result<Option<Offset>, StoreError> {
        let command = self.streams.announce(key);
        let (kind, lane) = (CallKind::Aside, Lane::Ordered { is_large: false });
        let (key, commands) = (&*self.streams.writes, Commands::One(&command));
        let request = Request { key, kind, lane, within: Duration::MAX, commands };
        let (reply, answerer) = self.nodes.call(request).await?;
        streams::written_at(reply).map_err(|_| answerer.bad_reply())
    }

    /// Removes `key`, and announces that; whether the key was there. Sent even while other writes are
    /// refused: a full Redis can remove.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        let is_large = self.keys.is_large(self.keys.hash(key));
        let is_cluster = self.nodes.is_cluster();
        let mut command = ::redis::cmd("DEL");
        command.arg(key);
        if !is_cluster {
            command = self.streams.remove_and_announce(key);
        }
        let (kind, lane) = (CallKind::Aside, Lane::Ordered { is_large });
        let request = Request { key, kind, lane, within: Duration::MAX, commands: Commands::One(&command) };
        let announcement = is_cluster.then(|| Announcement::of(self, key));
        let sent = self.nodes.call(request).await;
        let (reply, answerer) = match &announcement {
            Some(announcement) => announcement.unless_refused(sent)?,
            None => sent?,
        };
        let Value::Int(removed) = reply else { return Err(answerer.bad_reply()) };
        if let Some(announcement) = announcement {
            announcement.send(self).await;
        }
        Ok(removed > 0)
    }

    /// Appends `invalidation` to the log that all replicas read; its position there.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) async fn append(
        &self,
        invalidation: &Invalidation,
        within: Duration,
    ) -> Result<Version, StoreError> {
        let command = self.streams.invalidate(invalidation);
        let (kind, lane) = (CallKind::Aside, Lane::Ordered { is_large: false });
        let request =
            Request { key: &self.streams.log, kind, lane, within, commands: Commands::One(&command) };
        let (reply, answerer) = self.nodes.call(request).await?;
        streams::invalidated_at(reply).ok_or_else(|| answerer.bad_reply())
    }

    /// Runs `script` with `keys`, which are in one slot, and `arguments`, and waits for its reply no longer than
    /// `within`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn script(
        &self,
        script: &str,
        keys: &[&str],
        arguments: &[&str],
        within: Duration,
    ) -> Result<Value, StoreError> {
        let mut command: Cmd = ::redis::cmd("EVAL");
        command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
        let key = keys.first().copied().unwrap_or_default();
        let (kind, lane) = (CallKind::Aside, Lane::Lookup { is_large: false });
        let request = Request { key, kind, lane, within, commands: Commands::One(&command) };
        self.nodes.call(request).await.map(|(reply, _)| reply)
    }
}

fn millis(ttl: Duration) -> u64 {
    let whole = ttl.min(MAX_TTL).as_nanos().div_ceil(1_000_000);
    u64::try_from(whole).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_never_zero_nor_too_long() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_micros(1500)), 2);
        assert_eq!(millis(Duration::from_secs(60)), 60_000);
        assert_eq!(millis(Duration::MAX), 3_153_600_000_000);
    }
}
