//! The task that reads along what all replicas share: the order of retirements, and what is written.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::{Client, Cmd, RedisError, Value, aio::MultiplexedConnection};
use tokio::{sync::watch, time};

use super::{
    announcements::{Announcements, PAUSE},
    connections::{open_connection, send},
    error::{protocol, within},
    stream::{Extent, Keys, PAGE, Reading, Seen, invalidated_at, invalidation},
};
use crate::cache::invalidation::{InvalidationLog, Offset, Version};

/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(200);

/// The same after an error reply.
const REFUSED_RETRY: Duration = Duration::from_secs(1);

/// The same where the connection had been of use.
const LOST_RETRY: Duration = Duration::from_millis(10);

/// How long Redis holds back the answer of a read while nothing is retired: how often it is heard of. With a near tier
/// it is asked every [`PAUSE`] instead.
const SILENCE: Duration = Duration::from_millis(500);

/// For an answer, beyond that.
const PATIENCE: Duration = Duration::from_millis(1000);

/// What is asked of Redis next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// What there is: nothing is known for certain.
    Look,
    /// That, and what has come.
    Read,
    /// That, once there is more or some time has passed.
    Wait,
}

/// Reads the streams along, for as long as the task runs.
pub(super) struct Subscriber {
    client: Client,
    keys: Keys,
    invalidations: Arc<InvalidationLog>,
    announced: Option<Announcements>,
    /// How far it has read.
    read: Version,
    step: Step,
    synced: watch::Sender<bool>,
}

impl Subscriber {
    pub(super) fn new(
        client: Client,
        keys: Keys,
        invalidations: Arc<InvalidationLog>,
        announced: Option<Announcements>,
    ) -> Self {
        let synced = watch::Sender::new(false);
        Self { client, keys, invalidations, announced, read: Version::default(), step: Step::Look, synced }
    }

    /// Changes once the copy is complete for the first time.
    pub(super) fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    pub(super) async fn run(mut self) {
        loop {
            let mut retry = RETRY;
            if let Ok(mut connection) = open_connection(&self.client, 8).await {
                self.step = Step::Look;
                // However it ends, what helps is to connect anew: after a fail-over, to another server.
                let error = loop {
                    match self.follow(&mut connection).await {
                        Ok(()) => retry = LOST_RETRY,
                        Err(error) => break error,
                    }
                };
                if error.code().is_some() {
                    retry = REFUSED_RETRY;
                }
                self.missed();
            }
            time::sleep(retry).await;
        }
    }

    fn missed(&mut self) {
        if let Some(announced) = &mut self.announced {
            announced.lost();
        }
    }

    async fn follow(&mut self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        if self.step == Step::Wait && self.announced.is_some() {
            time::sleep(PAUSE).await;
        }
        let asked = Instant::now();
        let seen = self.look(connection).await?;
        self.step = self.take(connection, seen, asked).await?;
        while let Some(pending) = self.invalidations.pending() {
            let reply = ask(connection, &self.keys.invalidate(&pending)).await?;
            // First the one, then the other: what is no longer unsent must be known to be retired.
            self.invalidations.apply_own(invalidated_at(reply).ok_or_else(protocol)?, &pending);
            self.invalidations.remove_pending(&pending);
        }
        Ok(())
    }

    async fn look(&self, connection: &mut MultiplexedConnection) -> Result<Seen, RedisError> {
        let wait = (self.step == Step::Wait && self.announced.is_none()).then_some(SILENCE);
        let reading = (self.step != Step::Look).then(|| Reading {
            invalidated: self.read.offset,
            written: self.announced.as_ref().and_then(Announcements::offset),
            wait,
        });
        let look = self.keys.look(self.announced.is_some(), reading.as_ref());
        let silence = wait.unwrap_or_default();
        let replies =
            within(silence + PATIENCE, connection.send_packed_commands(&look, 0, look.len())).await?;
        self.keys.seen(self.announced.is_some(), replies)
    }

    /// Takes over what was seen, when it was asked for at `asked`; what is to be asked for next.
    ///
    /// Writes only where there is nothing to read: a Redis that takes no writes is still read.
    async fn take(
        &mut self,
        connection: &mut MultiplexedConnection,
        seen: Seen,
        asked: Instant,
    ) -> Result<Step, RedisError> {
        let is_whole = |(epoch, extent): &(u64, Extent)| !self.is_cut(*epoch, extent);
        let Some((epoch, extent)) = seen.epoch.zip(seen.invalidated).filter(is_whole) else {
            self.missed();
            ask(connection, &self.keys.begin(seen.epoch)).await?;
            return Ok(Step::Look);
        };
        let is_new = self.adopt(epoch, &extent);
        let mut is_end = true;
        if let Some(announced) = &mut self.announced {
            is_end = announced.take(&seen)?;
            if seen.written.is_none() {
                // Who takes no writes announces none: then nothing is near.
                let _ = ask(connection, &self.keys.listen()).await;
            }
        }
        if is_new || self.step == Step::Look {
            return Ok(Step::Read);
        }
        if !self.invalidate(&seen)? {
            return Ok(Step::Read);
        }
        self.invalidations.mark_current(Instant::now());
        self.synced.send_replace(true);
        if let Some(announced) = self.announced.as_ref().filter(|_| is_end) {
            announced.heard(asked);
        }
        Ok(if is_end { Step::Wait } else { Step::Read })
    }

    /// Reads `epoch`, which reaches so far, from where it can be; whether it is another one.
    fn adopt(&mut self, epoch: u64, extent: &Extent) -> bool {
        let is_new = epoch != self.read.epoch;
        if is_new {
            self.read = Version { epoch, offset: Offset::default() };
        }
        if self.invalidations.last().is_none_or(|last| last.epoch != epoch) {
            self.invalidations.begin(epoch);
        }
        if let Some(first) = extent.lost_before().filter(|first| *first > self.read.offset) {
            self.invalidations.forget_before(first);
        }
        is_new
    }

    /// After a fail-over the end of the order may be lost, and its places would be given anew.
    fn is_cut(&self, epoch: u64, extent: &Extent) -> bool {
        epoch == self.read.epoch && extent.last < self.read.offset
    }

    /// Takes over what was retired; whether that is all there is.
    fn invalidate(&mut self, seen: &Seen) -> Result<bool, RedisError> {
        for event in &seen.invalidations {
            let (offset, epoch, invalidation) = invalidation(event)?;
            if epoch != self.read.epoch {
                // The stream is another one by now.
                return Ok(false);
            }
            self.invalidations.apply(Version { epoch, offset }, &invalidation);
            self.read.offset = offset;
        }
        Ok(seen.invalidations.len() < PAGE)
    }
}

/// One command; an error reply is an error.
async fn ask(connection: &mut MultiplexedConnection, command: &Cmd) -> Result<Value, RedisError> {
    within(PATIENCE, send(connection, command)).await
}
