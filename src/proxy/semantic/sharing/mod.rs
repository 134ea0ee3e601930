//! What other replicas, and the next process, hear of labels and stored questions.
//!
//! ```text
//! with Redis     outbox.rs → writer.rs → feeds in Redis → reader.rs → heard.rs → Semantic::apply
//! without        semantic.state: keeper.rs reads it at the start, and writes it now and then and at the end
//! ```
//!
//! An event changes this process before it comes here, so that nothing waits for a network or a disk.

mod feeds;
mod heard;
mod keeper;
mod outbox;
mod reader;
mod state_file;
mod writer;

use std::{
    sync::{Arc, Weak, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
    time,
};

use self::{
    feeds::SemanticFeeds, keeper::Keeper, outbox::Outbox, reader::Reader, state_file::StateFile,
    writer::Writer,
};
use super::state::{Semantic, Surroundings};
use crate::{
    cache::semantic::event::SemanticEvent,
    config::Config,
    store::{RedisStore, Store},
};

/// How long the end of a process waits until Redis has what this replica has learned last.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The way of events to other replicas, or to the next process.
#[derive(Clone, Debug)]
enum Way {
    /// By Redis.
    Replicas(Arc<Outbox>),
    /// By the state file.
    File(Arc<Keeper>),
    /// Nobody hears of it, and the end of this process is the end of it.
    Nowhere,
}

/// The sharing of what hits by meaning learn. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Sharing {
    way: Way,
    /// Where events come from, to see whether some are on their way.
    events: mpsc::WeakSender<SemanticEvent>,
    _tasks: JoinSet<()>,
}

/// Begins to share the `events` that `semantic` publishes, and to apply what others say ([`Semantic::apply`]) or what was
/// kept ([`Semantic::restore`]). With a state file, it is read before this returns.
pub(super) fn start(
    semantic: Weak<Semantic>,
    events: (mpsc::WeakSender<SemanticEvent>, mpsc::Receiver<SemanticEvent>),
    around: &Surroundings<'_>,
    config: &Config,
) -> Sharing {
    let (sender, events) = events;
    let mut tasks = JoinSet::new();
    let semantic_config = config.semantic.as_ref();
    let way = match (around.store, semantic_config.and_then(|semantic| semantic.state.clone())) {
        (Store::Redis(store), _) => {
            let max_entries = semantic_config.map_or(0, |semantic| semantic.max_entries);
            let outbox = Arc::new(Outbox::new(Arc::clone(around.stats)));
            share_by(store, max_entries, &outbox, semantic, &mut tasks);
            Way::Replicas(outbox)
        }
        (Store::Memory(store), Some(path)) => {
            let file = StateFile::new(path, config.store.encryption());
            let keeper = Arc::new(Keeper::open(file, store.clone(), around.namespace, config));
            tasks.spawn(Arc::clone(&keeper).run(semantic));
            Way::File(keeper)
        }
        (Store::Memory(_), None) => Way::Nowhere,
    };
    tasks.spawn(forward(events, way.clone()));
    Sharing { way, events: sender, _tasks: tasks }
}

/// Begins to write to Redis and to read from it.
fn share_by(
    store: &RedisStore,
    max_entries: usize,
    outbox: &Arc<Outbox>,
    semantic: Weak<Semantic>,
    tasks: &mut JoinSet<()>,
) {
    let life = Arc::<AtomicU64>::default();
    let feeds = || SemanticFeeds::new(store.feeds(), max_entries);
    tasks.spawn(Writer::new(feeds(), Arc::clone(outbox), Arc::clone(&life)).run());
    tasks.spawn(Reader::new(feeds(), Arc::clone(outbox), life, semantic).run());
}

async fn forward(mut events: mpsc::Receiver<SemanticEvent>, way: Way) {
    while let Some(event) = events.recv().await {
        match &way {
            Way::Replicas(outbox) => outbox.put(event),
            Way::File(keeper) => keeper.note(event),
            Way::Nowhere => {}
        }
    }
}

impl Sharing {
    /// Takes other settings: the epoch may be another one.
    pub(super) fn reconfigure(&self, config: &Config) {
        if let Way::File(keeper) = &self.way {
            keeper.set_epoch(config.epoch.as_deref());
        }
    }

    /// Leaves to other replicas, or to the next process, what they do not have yet. For the end of a process: nothing is
    /// invalidated after this.
    pub(super) async fn leave(&self, semantic: &Arc<Semantic>) {
        let _ = time::timeout(LAST_WORDS, self.nothing_waits()).await;
        if let Way::File(keeper) = &self.way {
            let (keeper, semantic) = (Arc::clone(keeper), Arc::clone(semantic));
            let _ = spawn_blocking(move || keeper.write_last(&semantic)).await;
        }
    }

    async fn nothing_waits(&self) {
        let is_on_its_way = |events: mpsc::Sender<_>| events.capacity() < events.max_capacity();
        while self.events.upgrade().is_some_and(is_on_its_way) {
            time::sleep(LOOK_EVERY).await;
        }
        if let Way::Replicas(outbox) = &self.way {
            outbox.emptied().await;
        }
    }
}
