//! The task that reads what all replicas share: the invalidation log, and the stream of writes.
//!
//! It has two connections of its own. One waits in Redis for the next event, and says only that there is one. Over the
//! other, the task then reads how far the streams reach and what came, all at once. So an idle Redis gets a command a
//! second, and a change is known here a millisecond after it.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::{Cmd, RedisError, Value, aio::MultiplexedConnection};
use tokio::{sync::watch, time};

use super::{
    announcements::Announcements,
    client::{
        Health, RedisClient,
        connections::send,
        endpoint::Endpoint,
        error::{protocol, within},
        open_connection::OpenConnection,
        streams::{Extent, PAGE, ReadFrom, Streams, StreamsRead, invalidated_at, invalidation},
    },
    near_cache::NearCache,
    replicas::Replicas,
    restore::{KnownLog, Restored},
};
use crate::cache::invalidation::{InvalidationLog, Offset, Version};

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(200);

/// Before the next attempt after an error reply.
const REFUSED_RETRY: Duration = Duration::from_secs(1);

/// Before the next attempt if the connection had been of use.
const LOST_RETRY: Duration = Duration::from_millis(10);

/// Between two reads while there are events: many are read at once then.
const PAUSE: Duration = Duration::from_millis(20);

/// How often it is read how far the streams reach, even if no event comes.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// The longest that Redis waits for an event.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// What a reply may take longer than the wait, two times: an idle Redis looks at its clock ten times a second.
const SLACK: Duration = Duration::from_millis(500);

/// Connections that lived for less than this count as of no use.
const STEADY: Duration = Duration::from_secs(1);

/// How often the task looks for invalidations that Redis has not received yet. That asks nobody.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// For a reply, beyond the time that Redis waits with it.
const PATIENCE: Duration = Duration::from_millis(1000);

/// What Redis is asked for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextRead {
    /// How far the streams reach: nothing is known for certain.
    Extent,
    /// That, and the events that have come.
    Events,
    /// Whether there are events.
    Wait,
}

/// The connections to one server.
struct Connections {
    server: Endpoint,
    /// For all but the wait.
    read: OpenConnection,
    /// Waits in Redis for the next event.
    wait: OpenConnection,
}

/// What the task keeps up to date.
pub(super) struct Shared {
    pub(super) invalidations: Arc<InvalidationLog>,
    pub(super) near: Option<Arc<NearCache>>,
    pub(super) replicas: Arc<Replicas>,
}

/// Reads the streams for as long as the task runs.
pub(super) struct Subscriber {
    health: Health,
    /// The passwords of Redis, if they are in a file.
    passwords: Option<watch::Receiver<String>>,
    /// Whether the present password was not taken yet.
    must_log_in: bool,
    streams: Streams,
    invalidations: Arc<InvalidationLog>,
    announcements: Option<Announcements>,
    replicas: Arc<Replicas>,
    /// How long Redis waits for an event.
    wait: Duration,
    /// How far the log was read.
    read: Version,
    /// When the streams were read last.
    read_at: Instant,
    next: NextRead,
    synced: watch::Sender<bool>,
}

impl Subscriber {
    pub(super) fn new(client: &RedisClient, shared: Shared, staleness: Duration) -> Self {
        let Shared { invalidations, near, replicas } = shared;
        Self {
            replicas,
            health: client.health(),
            passwords: None,
            must_log_in: false,
            streams: client.streams().clone(),
            invalidations,
            announcements: near.map(|near| Announcements::new(near, client.namespace())),
            wait: wait_for(staleness),
            read: Version::default(),
            read_at: Instant::now(),
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
            if let Ok(mut connections) = self.connect().await {
                let began = Instant::now();
                self.next = NextRead::Extent;
                // Whatever the error is, the remedy is a new connection: after a fail-over, to another
                // server.
                let error = loop {
                    if let Err(error) = self.read_once(&mut connections).await {
                        break error;
                    }
                };
                retry = retry_after(&error, began.elapsed());
                self.health.report_loss();
                self.lose_near();
            }
            time::sleep(retry).await;
        }
    }

    async fn connect(&mut self) -> Result<Connections, RedisError> {
        self.health.mark_seen();
        let server = self.health.endpoint()?;
        self.passwords = server.passwords();
        self.must_log_in = false;
        Ok(Connections { read: server.open(8).await?, wait: server.open(1).await?, server })
    }

    /// Empties the near cache, if there is one: announcements may be missed.
    fn lose_near(&mut self) {
        if let Some(announcements) = &mut self.announcements {
            announcements.lose();
        }
    }

    async fn read_once(&mut self, connections: &mut Connections) -> Result<(), RedisError> {
        if self.next == NextRead::Wait && !self.is_due(connections).await? {
            return Ok(());
        }
        let asked = Instant::now();
        let read = self.read_streams(&mut connections.read).await?;
        self.read_at = Instant::now();
        self.next = self.apply(&mut connections.read, read, asked).await?;
        self.send_pending(&mut connections.read).await
    }

    /// Waits for an event; whether the streams are to be read now.
    async fn is_due(&mut self, connections: &mut Connections) -> Result<bool, RedisError> {
        let asked = Instant::now();
        let has_event = self.event(connections).await?;
        self.log_in(connections).await;
        self.note_replica(&mut connections.read).await?;
        if has_event {
            time::sleep_until((self.read_at + PAUSE).into()).await;
            return Ok(true);
        }
        // Until then Redis had seen no event. The reply comes early if its clock jumps.
        let at = (asked + self.wait).min(Instant::now());
        self.invalidations.mark_current(at);
        self.mark_near_current(at);
        // A key that is deleted wakes nobody.
        let (count, whole) = self.streams.exist(self.announcements.is_some());
        let is_whole = request(&mut connections.read, &count).await? == whole;
        Ok(!is_whole || self.read_at.elapsed() >= CHECK_EVERY)
    }

    /// Waits for an event, or for some time; whether there is an event.
    async fn event(&mut self, connections: &mut Connections) -> Result<bool, RedisError> {
        let Connections { read, wait, server } = connections;
        let written = self.announcements.as_ref().and_then(Announcements::offset);
        let command = self.streams.wait(self.read.offset, written, self.wait);
        let mut waiting = pin!(within(self.wait + PATIENCE, send(wait, &command)));
        loop {
            tokio::select! {
                reply = &mut waiting => return Ok(reply? != Value::Nil),
                // Calls go to another server now, perhaps: so does this task.
                () = self.health.server_changed(server) => return Err(protocol()),
                () = time::sleep(LOOK_EVERY) => self.send_pending(read).await?,
            }
        }
    }

    /// Logs in again if there is another password. If Redis does not take it yet, the next time does it.
    async fn log_in(&mut self, connections: &mut Connections) {
        let is_other = |passwords: &mut watch::Receiver<String>| {
            let is_other = passwords.has_changed().unwrap_or(false);
            passwords.mark_unchanged();
            is_other
        };
        self.must_log_in |= self.passwords.as_mut().is_some_and(is_other);
        let Some(login) = connections.server.login().filter(|_| self.must_log_in) else { return };
        let mut is_done = true;
        for connection in [&mut connections.read, &mut connections.wait] {
            is_done &= request(connection, &login).await.is_ok();
        }
        self.must_log_in = !is_done;
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

    /// Sends the invalidations that Redis has not received yet.
    async fn send_pending(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        while let Some(pending) = self.invalidations.pending() {
            let reply = request(connection, &self.streams.invalidate(&pending)).await?;
            // In this order: what is no longer pending must be known to be invalidated.
            self.invalidations.apply_own(invalidated_at(reply).ok_or_else(protocol)?, &pending);
            self.invalidations.remove_pending(&pending);
        }
        Ok(())
    }

    async fn read_streams(&self, connection: &mut MultiplexedConnection) -> Result<StreamsRead, RedisError> {
        let from = (self.next != NextRead::Extent).then(|| ReadFrom {
            invalidated: self.read.offset,
            written: self.announcements.as_ref().and_then(Announcements::offset),
        });
        let read = self.streams.read(self.announcements.is_some(), from.as_ref());
        let replies = within(PATIENCE, connection.send_packed_commands(&read, 0, read.len())).await?;
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
        let Some((epoch, extent)) = read.epoch.zip(read.invalidated) else {
            return self.begin_epoch(connection, read.epoch).await;
        };
        if self.is_cut(epoch, &extent) {
            self.lose_near();
            self.next = NextRead::Extent;
        }
        if self.next == NextRead::Extent {
            let known = KnownLog { streams: &self.streams, invalidations: &self.invalidations };
            match known.restore(connection, epoch, &extent).await? {
                Restored::Whole => {}
                Restored::From(offset) => self.read = Version { epoch, offset },
                Restored::Lost => return self.begin_epoch(connection, read.epoch).await,
            }
        }
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
        self.invalidations.mark_current(asked);
        self.synced.send_replace(true);
        if !is_end {
            return Ok(NextRead::Events);
        }
        self.mark_near_current(asked);
        Ok(NextRead::Wait)
    }

    fn mark_near_current(&self, at: Instant) {
        if let Some(announcements) = &self.announcements {
            announcements.mark_current(at);
        }
    }

    /// Begins another epoch instead of `lost`.
    async fn begin_epoch(
        &mut self,
        connection: &mut MultiplexedConnection,
        lost: Option<u64>,
    ) -> Result<NextRead, RedisError> {
        self.lose_near();
        request(connection, &self.streams.begin_epoch(lost)).await?;
        Ok(NextRead::Extent)
    }

    /// Goes on with `epoch`, whose stream has this extent; whether it is a new epoch.
    fn follow_epoch(&mut self, epoch: u64, extent: &Extent) -> bool {
        let is_new = epoch != self.read.epoch;
        if is_new {
            self.read = Version { epoch, offset: Offset::default() };
        }
        if self.invalidations.last().is_none_or(|last| last.epoch != epoch) {
            self.invalidations.begin(epoch);
            self.read = Version { epoch, offset: Offset::default() };
            return true;
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

/// The pause after `error`, on connections that lived for so long.
fn retry_after(error: &RedisError, lived: Duration) -> Duration {
    match error.code() {
        // The log is at another server by now.
        Some("MOVED" | "ASK" | "UNBLOCKED" | "READONLY" | "CLUSTERDOWN") => RETRY,
        Some(_) => REFUSED_RETRY,
        None if lived >= STEADY => LOST_RETRY,
        None => RETRY,
    }
}

/// How long Redis waits for an event, so that what is known stays current for `staleness` from one reply to the next.
fn wait_for(staleness: Duration) -> Duration {
    (staleness * 9 / 20).max(staleness.saturating_sub(SLACK)).min(MAX_WAIT)
}

/// Sends one command; an error reply is an error.
pub(super) async fn request(
    connection: &mut MultiplexedConnection,
    command: &Cmd,
) -> Result<Value, RedisError> {
    within(PATIENCE, send(connection, command)).await
}
