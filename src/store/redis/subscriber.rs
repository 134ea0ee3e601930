//! The task that reads what all replicas share: the invalidation log, and the stream of writes.
//!
//! It has a connection of its own, over which this replica also notes that it is there, and which waits in Redis for the next event. With a near cache it asks every
//! [`PAUSE`] instead, because the near cache needs to know that nothing came.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::{Cmd, RedisError, Value, aio::MultiplexedConnection};
use tokio::{sync::watch, time};

use super::{
    announcements::{Announcements, PAUSE},
    client::{
        RedisClient,
        connections::send,
        endpoint::Endpoint,
        error::{protocol, within},
        streams::{Extent, PAGE, ReadFrom, Streams, StreamsRead, invalidated_at, invalidation},
    },
    near_cache::NearCache,
    replicas::Replicas,
};
use crate::cache::invalidation::{InvalidationLog, Offset, Version};

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(200);

/// Before the next attempt after an error reply.
const REFUSED_RETRY: Duration = Duration::from_secs(1);

/// Before the next attempt if the connection had been of use.
const LOST_RETRY: Duration = Duration::from_millis(10);

/// How long Redis waits with the reply to a read while nothing is invalidated. Without a near cache, this is
/// how often Redis is known to be there.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// For a reply, beyond that.
const PATIENCE: Duration = Duration::from_millis(1000);

/// What Redis is asked for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextRead {
    /// How far the streams reach: nothing is known for certain.
    Extent,
    /// That, and the events that have come.
    Events,
    /// That, once there are more events or some time has passed.
    EventsLater,
}

/// What the task keeps up to date.
pub(super) struct Shared {
    pub(super) invalidations: Arc<InvalidationLog>,
    pub(super) near: Option<Arc<NearCache>>,
    pub(super) replicas: Arc<Replicas>,
}

/// Reads the streams for as long as the task runs.
pub(super) struct Subscriber {
    redis: Endpoint,
    streams: Streams,
    invalidations: Arc<InvalidationLog>,
    announcements: Option<Announcements>,
    replicas: Arc<Replicas>,
    /// How far the log was read.
    read: Version,
    next: NextRead,
    synced: watch::Sender<bool>,
}

impl Subscriber {
    pub(super) fn new(client: &RedisClient, shared: Shared) -> Self {
        let Shared { invalidations, near, replicas } = shared;
        Self {
            redis: client.redis().clone(),
            streams: client.streams().clone(),
            invalidations,
            announcements: near.map(|near| Announcements::new(near, client.namespace())),
            replicas,
            read: Version::default(),
            next: NextRead::Extent,
            synced: watch::Sender::new(false),
        }
    }

    /// Becomes true once the copy of the log is complete for the first time.
    pub(super) fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    pub(super) async fn run(mut self) {
        loop {
            let mut retry = RETRY;
            if let Ok(mut connection) = self.redis.connect(8).await {
                self.next = NextRead::Extent;
                // Whatever the error is, the remedy is a new connection: after a fail-over, to another
                // server.
                let error = loop {
                    match self.read_once(&mut connection).await {
                        Ok(()) => retry = LOST_RETRY,
                        Err(error) => break error,
                    }
                };
                if error.code().is_some() {
                    retry = REFUSED_RETRY;
                }
                self.lose_near();
            }
            time::sleep(retry).await;
        }
    }

    /// Empties the near cache, if there is one: announcements may be missed.
    fn lose_near(&mut self) {
        if let Some(announcements) = &mut self.announcements {
            announcements.lose();
        }
    }

    async fn read_once(&mut self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        if self.next == NextRead::EventsLater && self.announcements.is_some() {
            time::sleep(PAUSE).await;
        }
        let asked = Instant::now();
        let read = self.read_streams(connection).await?;
        self.next = self.apply(connection, read, asked).await?;
        while let Some(pending) = self.invalidations.pending() {
            let reply = request(connection, &self.streams.invalidate(&pending)).await?;
            // In this order: what is no longer pending must be known to be invalidated.
            self.invalidations.apply_own(invalidated_at(reply).ok_or_else(protocol)?, &pending);
            self.invalidations.remove_pending(&pending);
        }
        // Before that, nothing of Redis is of use yet.
        if *self.synced.borrow() {
            self.note_replica(connection).await?;
        }
        Ok(())
    }

    /// Notes that this replica is there, now and then. Redis may refuse that.
    async fn note_replica(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let Some(command) = self.replicas.note(Instant::now()) else { return Ok(()) };
        match request(connection, &command).await {
            Ok(reply) => self.replicas.noted(reply, Instant::now()),
            Err(error) if error.code().is_none() => return Err(error),
            Err(_) => {}
        }
        Ok(())
    }

    async fn read_streams(&self, connection: &mut MultiplexedConnection) -> Result<StreamsRead, RedisError> {
        let wait = (self.next == NextRead::EventsLater && self.announcements.is_none()).then_some(MAX_WAIT);
        let from = (self.next != NextRead::Extent).then(|| ReadFrom {
            invalidated: self.read.offset,
            written: self.announcements.as_ref().and_then(Announcements::offset),
            wait,
        });
        let read = self.streams.read(self.announcements.is_some(), from.as_ref());
        let patience = wait.unwrap_or_default() + PATIENCE;
        let replies = within(patience, connection.send_packed_commands(&read, 0, read.len())).await?;
        self.streams.parse(self.announcements.is_some(), replies)
    }

    /// Applies what was read, and asked for at `asked`; what to ask for next.
    ///
    /// It writes only if there is nothing to read: a Redis that takes no writes is still read.
    async fn apply(
        &mut self,
        connection: &mut MultiplexedConnection,
        read: StreamsRead,
        asked: Instant,
    ) -> Result<NextRead, RedisError> {
        let is_whole = |(epoch, extent): &(u64, Extent)| !self.is_cut(*epoch, extent);
        let Some((epoch, extent)) = read.epoch.zip(read.invalidated).filter(is_whole) else {
            self.lose_near();
            request(connection, &self.streams.begin_epoch(read.epoch)).await?;
            return Ok(NextRead::Extent);
        };
        let is_new_epoch = self.follow_epoch(epoch, &extent);
        let mut is_end = true;
        if let Some(announcements) = &mut self.announcements {
            is_end = announcements.apply(&read)?;
            if read.written.is_none() {
                // If Redis takes no writes, this fails, and nothing becomes near.
                let _ = request(connection, &self.streams.begin_writes()).await;
            }
        }
        if is_new_epoch || self.next == NextRead::Extent {
            return Ok(NextRead::Events);
        }
        if !self.apply_invalidations(&read)? {
            return Ok(NextRead::Events);
        }
        self.invalidations.mark_current(Instant::now());
        self.synced.send_replace(true);
        if let Some(announcements) = self.announcements.as_ref().filter(|_| is_end) {
            announcements.mark_current(asked);
        }
        Ok(if is_end { NextRead::EventsLater } else { NextRead::Events })
    }

    /// Goes on with `epoch`, whose stream has this extent; whether it is a new epoch.
    fn follow_epoch(&mut self, epoch: u64, extent: &Extent) -> bool {
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

    /// Whether the end of the log is lost, as may be after a fail-over: its positions would be used again.
    fn is_cut(&self, epoch: u64, extent: &Extent) -> bool {
        epoch == self.read.epoch && extent.last < self.read.offset
    }

    /// Applies the invalidations that were read; whether those are all there are.
    fn apply_invalidations(&mut self, read: &StreamsRead) -> Result<bool, RedisError> {
        for event in &read.invalidations {
            let (offset, epoch, invalidation) = invalidation(event)?;
            if epoch != self.read.epoch {
                // Another epoch began meanwhile.
                return Ok(false);
            }
            self.invalidations.apply(Version { epoch, offset }, &invalidation);
            self.read.offset = offset;
        }
        Ok(read.invalidations.len() < PAGE)
    }
}

/// Sends one command; an error reply is an error.
async fn request(connection: &mut MultiplexedConnection, command: &Cmd) -> Result<Value, RedisError> {
    within(PATIENCE, send(connection, command)).await
}
