//! Writes to Redis what this replica has learned.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::time;

use super::{
    feeds::{FeedKind, SemanticFeeds},
    heard::Message,
    outbox::{Direction, Outbox, Waiting},
};
use crate::{
    cache::semantic::event::{MAX_LEN, SemanticEvent},
    store::{Appended, FeedConnection, FeedError},
    time::unix_millis,
};

/// Events that are sent together.
const BATCH: usize = 64;

/// Before the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// A connection that is idle for longer is given up, before Redis does it.
const IDLE: Duration = Duration::from_secs(15);

/// A master that goes may take with it what its replicas did not have yet: that is not older than this.
const UNSURE_FOR: Duration = Duration::from_secs(10);

/// So many events that are not sure to stay are kept.
const MAX_UNSURE: usize = 2_000;

/// Between two removals of questions whose entries have ended.
const CLEAR_EVERY: Duration = Duration::from_secs(60);

/// Clocks of replicas differ by less, in milliseconds.
const CLOCKS_APART: u64 = 10 * 60 * 1000;

pub(super) struct Writer {
    feeds: SemanticFeeds,
    outbox: Arc<Outbox>,
    /// The longest life of an entry that this replica has heard of, in milliseconds; 0 before it has heard of all.
    life: Arc<AtomicU64>,
    /// What Redis has taken lately.
    unsure: VecDeque<(Instant, Waiting)>,
    cleared: Instant,
}

impl Writer {
    pub(super) fn new(feeds: SemanticFeeds, outbox: Arc<Outbox>, life: Arc<AtomicU64>) -> Self {
        Self { feeds, outbox, life, unsure: VecDeque::new(), cleared: Instant::now() }
    }

    /// Writes for as long as the task runs.
    pub(super) async fn run(mut self) {
        loop {
            self.outbox.filled().await;
            let Ok(mut connection) = self.connect().await else { continue };
            while self.write(&mut connection).await.is_ok() {}
            // Another server may lack what this one took last. Who has it already knows it by its number.
            let unsure = std::mem::take(&mut self.unsure);
            let recent = unsure.into_iter().filter(|(at, _)| at.elapsed() < UNSURE_FOR);
            self.outbox.put_back(recent.map(|(_, waiting)| waiting).collect::<Vec<_>>().into_iter());
        }
    }

    /// Connects; an attempt that fails takes a while.
    async fn connect(&mut self) -> Result<FeedConnection, FeedError> {
        let connected = self.feeds.feeds.connect().await;
        if let Err(error) = &connected {
            self.outbox.attempted(Direction::ToRedis, Some(error));
            self.feeds.feeds.lost();
            time::sleep(RETRY).await;
        }
        connected
    }

    /// Waits for events and writes them.
    ///
    /// # Errors
    /// If the connection is of no use any more. What Redis did not take stays in the outbox.
    async fn write(&mut self, connection: &mut FeedConnection) -> Result<(), ()> {
        let server = connection.server();
        tokio::select! {
            () = self.outbox.filled() => {}
            () = self.feeds.feeds.moved(&server) => return Err(()),
            () = time::sleep(IDLE) => return Err(()),
        }
        let batch = self.outbox.take(BATCH);
        let appended = self.append(connection, &batch).await;
        self.outbox.attempted(Direction::ToRedis, appended.as_ref().err());
        if appended.is_err() {
            self.outbox.put_back(batch.into_iter());
            self.feeds.feeds.lost();
            time::sleep(RETRY).await;
            return Err(());
        }
        self.outbox.sent();
        let now = Instant::now();
        self.unsure.extend(batch.into_iter().map(|waiting| (now, waiting)));
        let too_many = self.unsure.len().saturating_sub(MAX_UNSURE);
        self.unsure.drain(..too_many);
        self.unsure.retain(|(at, _)| now.duration_since(*at) < UNSURE_FOR);
        Ok(())
    }

    async fn append(&mut self, connection: &mut FeedConnection, batch: &[Waiting]) -> Result<(), FeedError> {
        let now = unix_millis(SystemTime::now());
        let mut useless_before = self.useless_before(now);
        let mut messages = Vec::with_capacity(batch.len());
        for Waiting { sender, number, kind, event } in batch {
            self.note_life(event, now);
            let bytes = event.encode();
            // Nobody would take it.
            if bytes.len() > MAX_LEN {
                continue;
            }
            let feed = self.feeds.of(&sender.identity, event);
            let message = Message { origin: sender.origin, number: *number, event: &bytes };
            let useless_before = if *kind == FeedKind::Vectors { useless_before.take() } else { None };
            messages.push((feed, message.to_bytes(), useless_before));
        }
        let appended: Vec<_> = messages
            .iter()
            .map(|(feed, value, useless_before)| Appended { feed, value, useless_before: *useless_before })
            .collect();
        if appended.is_empty() { Ok(()) } else { connection.append(&appended).await }
    }

    /// Questions that were told before this have no entries any more. It says so now and then: Redis has work with it.
    fn useless_before(&mut self, now: u64) -> Option<u64> {
        let life = self.life.load(Ordering::Relaxed);
        if life == 0 || self.cleared.elapsed() < CLEAR_EVERY {
            return None;
        }
        self.cleared = Instant::now();
        Some(now.saturating_sub(life).saturating_sub(CLOCKS_APART))
    }

    fn note_life(&self, event: &SemanticEvent, now: u64) {
        let SemanticEvent::Added(record) = event else { return };
        // 0 says that it is not known yet.
        let longest = |known: u64| (known > 0).then(|| known.max(record.expires_at.saturating_sub(now)));
        let _ = self.life.fetch_update(Ordering::Relaxed, Ordering::Relaxed, longest);
    }
}
