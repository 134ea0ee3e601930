//! Reads what all replicas have learned: at the start from the beginning, then as it comes.
//!
//! An idle replica sends Redis three commands a minute for it. A step back and a wrong report of another replica are known
//! here within a quarter of a second.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::watch, time};

use super::{
    feeds::{FeedKind, SemanticFeeds},
    heard::{Heard, Message},
    outbox::{Direction, Outbox, Sender},
};
use crate::{
    cache::{invalidation::Offset, semantic::event::SemanticEvent},
    proxy::semantic::state::Semantic,
    store::{Feed, FeedConnection, FeedError, FeedEvent},
    time::unix_millis,
};

/// Events that are read at once, of each feed: some hundred kilobytes.
const PAGE: usize = 200;

/// How long Redis waits for an event.
const WAIT: Duration = Duration::from_secs(20);

/// All feeds, in the order in which one of them may need another one.
const ALL: [FeedKind; FeedKind::COUNT] =
    [FeedKind::Embedders, FeedKind::Pairs, FeedKind::Labels, FeedKind::Vectors, FeedKind::Callers];

/// Between two reads: many events are read at once then.
const PAUSE: Duration = Duration::from_millis(250);

/// How often it is looked whether the embedder is known by now.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Before the next attempt to connect.
const RETRY: Duration = Duration::from_secs(1);

/// After a loss of the connection, events of the last minute are read again: the next server may have other ones there, and
/// its clock may be behind. In milliseconds.
const AGAIN: u64 = 60_000;

pub(super) struct Reader {
    feeds: SemanticFeeds,
    outbox: Arc<Outbox>,
    /// As in the writer.
    life: Arc<AtomicU64>,
    learner: Weak<Semantic>,
    sender: watch::Receiver<Option<Sender>>,
    /// By the names of feeds.
    progress: HashMap<String, Progress>,
    /// Of the entries that were heard of, in milliseconds.
    longest_life: u64,
    /// Whether everything was read once: what comes from then on is news.
    is_current: bool,
}

/// How far a feed was read.
#[derive(Debug, Default)]
struct Progress {
    offset: Offset,
    heard: Heard,
}

/// Why reading ended.
enum End {
    Failed(FeedError),
    /// The feeds are on another server now.
    Moved,
    /// The embedder is another one.
    OtherEmbedder,
    /// Nobody listens any more.
    Over,
}

impl From<FeedError> for End {
    fn from(error: FeedError) -> Self {
        Self::Failed(error)
    }
}

impl Reader {
    pub(super) fn new(
        feeds: SemanticFeeds,
        outbox: Arc<Outbox>,
        life: Arc<AtomicU64>,
        learner: Weak<Semantic>,
    ) -> Self {
        Self {
            sender: outbox.sender(),
            feeds,
            outbox,
            life,
            learner,
            progress: HashMap::new(),
            longest_life: 0,
            is_current: false,
        }
    }

    /// Reads for as long as there is somebody who learns.
    pub(super) async fn run(mut self) {
        loop {
            match self.follow().await {
                Ok(never) => match never {},
                Err(End::Over) => return,
                Err(End::OtherEmbedder) => {
                    self.progress.clear();
                    self.is_current = false;
                }
                Err(End::Moved) => self.rewind(),
                Err(End::Failed(error)) => {
                    self.outbox.attempted(Direction::FromRedis, Some(&error));
                    self.feeds.feeds.lost();
                    self.rewind();
                    time::sleep(RETRY).await;
                }
            }
        }
    }

    /// This process with its embedder, once that is known.
    async fn sender(&mut self) -> Result<Sender, End> {
        loop {
            self.learner.upgrade().ok_or(End::Over)?.note_embedder();
            let known = self.sender.wait_for(Option::is_some);
            if let Ok(sender) = time::timeout(LOOK_EVERY, known).await {
                return sender.map_err(|_| End::Over)?.clone().ok_or(End::Over);
            }
        }
    }

    /// Reads the last minute again.
    fn rewind(&mut self) {
        for Progress { offset, .. } in self.progress.values_mut() {
            *offset = Offset { major: offset.major.saturating_sub(AGAIN), minor: 0 };
        }
    }

    /// Reads the feeds of the embedder until that ends.
    async fn follow(&mut self) -> Result<Infallible, End> {
        let sender = &self.sender().await?;
        let mut connection = self.feeds.feeds.connect().await?;
        // First the name of the embedder, then what certifies a threshold, then the questions, then who asked them.
        let certificates = &[FeedKind::Pairs, FeedKind::Labels][..];
        for kinds in [&[FeedKind::Embedders][..], certificates, &[FeedKind::Vectors], &[FeedKind::Callers]] {
            loop {
                let began = Instant::now();
                let is_full = self.read_page(&mut connection, sender, kinds, Duration::ZERO).await?;
                // What else this thread and Redis have to do comes first.
                time::sleep(began.elapsed().min(PAUSE)).await;
                if !is_full {
                    break;
                }
            }
        }
        self.is_current = true;
        self.note_life(1);
        self.outbox.attempted(Direction::FromRedis, None);
        loop {
            self.read_page(&mut connection, sender, &ALL, WAIT).await?;
            time::sleep(PAUSE).await;
        }
    }

    /// Reads some events of these feeds and applies them; whether there may be more.
    async fn read_page(
        &mut self,
        connection: &mut FeedConnection,
        sender: &Sender,
        kinds: &[FeedKind],
        wait: Duration,
    ) -> Result<bool, End> {
        let feeds = self.feeds_of(&sender.identity, kinds)?;
        let offset =
            |feed: &Feed| self.progress.get(feed.name()).map_or(Offset::default(), |read| read.offset);
        let from: Vec<_> = feeds.iter().map(|feed| (feed, offset(feed))).collect();
        if from.is_empty() {
            return Ok(false);
        }
        let server = connection.server();
        let events = tokio::select! {
            events = connection.read(&from, PAGE, wait) => events?,
            () = self.feeds.feeds.moved(&server) => return Err(End::Moved),
            _ = self.sender.changed() => return Err(End::OtherEmbedder),
        };
        let learner = self.learner.upgrade().ok_or(End::Over)?;
        let mut counts = vec![0; feeds.len()];
        for event in &events {
            counts[event.feed] += 1;
            self.apply(&learner, sender, feeds[event.feed].name(), event);
        }
        // Of several names for it, they may have chosen another one.
        let name = learner.identity();
        match name.filter(|name| self.outbox.begin(name)) {
            Some(_) => Err(End::OtherEmbedder),
            None => Ok(counts.contains(&PAGE)),
        }
    }

    fn feeds_of(&self, identity: &str, kinds: &[FeedKind]) -> Result<Vec<Feed>, End> {
        let learner = self.learner.upgrade().ok_or(End::Over)?;
        let mut feeds = Vec::new();
        for kind in kinds {
            match kind {
                FeedKind::Labels => {
                    let feed = |route: Box<str>| self.feeds.feed(identity, *kind, &route);
                    feeds.extend(learner.routes().into_iter().map(feed));
                }
                kind => feeds.push(self.feeds.feed(identity, *kind, "")),
            }
        }
        Ok(feeds)
    }

    /// Applies an event, unless this replica has it already.
    fn apply(&mut self, learner: &Semantic, sender: &Sender, feed: &str, event: &FeedEvent) {
        if !self.progress.contains_key(feed) {
            self.progress.insert(feed.to_owned(), Progress::default());
        }
        let Some(progress) = self.progress.get_mut(feed) else { return };
        progress.offset = event.offset;
        let Some(message) = event.value.as_deref().and_then(Message::from_bytes) else { return };
        if message.origin == sender.origin || !progress.heard.note(message.origin, message.number) {
            return;
        }
        let Some(said) = SemanticEvent::decode(message.event) else { return };
        if let SemanticEvent::Added(record) = &said {
            self.note_life(record.expires_at.saturating_sub(event.offset.major));
            if record.expires_at <= unix_millis(SystemTime::now()) {
                return;
            }
        }
        if self.is_current { learner.apply(&said) } else { learner.restore([&said]) }
    }

    /// Notes the life of an entry. The writer hears of it once all are known.
    fn note_life(&mut self, millis: u64) {
        self.longest_life = self.longest_life.max(millis);
        if self.is_current {
            self.life.fetch_max(self.longest_life, Ordering::Relaxed);
        }
    }
}
