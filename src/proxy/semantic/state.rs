//! What hits by meaning keep: the stored questions, the labels, and what was served lately.
//!
//! Each change is a [`SemanticEvent`]. What happens here is published: it is applied, and told to the other replicas, or to
//! the state file. What they say is applied and not told again.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};

use super::{
    embedder::{Embedder, EmbedderError, NoVector, Terms},
    judge::Judge,
    ledgers::{Ledgers, RouteLedger},
    recent::RecentHits,
    served::ServedPairs,
    status::SemanticStatus,
};
use crate::{
    cache::{
        key::namespace::Namespace,
        semantic::{
            event::SemanticEvent,
            index::{Index, Record},
            ledger::{Change, Label},
            question::CallerId,
            vector::Vector,
        },
    },
    config::{Config, SemanticConfig},
    store::Store,
    telemetry::{
        log::events,
        stats::{EmbeddingOutcome, Stats},
    },
    time::unix_millis,
};

/// How many questions may be embedded and searched for at once; each waits for its vector `semantic.timeout` at most.
const MAX_SEARCHES: usize = 256;

/// How many answers may be compared at once; each may wait for a judge.
const MAX_COMPARISONS: usize = 64;

/// Everything about hits by meaning. It lasts until the settings switch them off.
#[derive(Debug)]
pub(crate) struct Semantic {
    config: ArcSwap<SemanticConfig>,
    pub(super) embedder: Embedder,
    /// Asked where nothing else says whether two answers are the same.
    pub(super) judge: Option<Judge>,
    pub(super) index: Index,
    pub(super) ledgers: Ledgers,
    pub(super) served: ServedPairs,
    pub(crate) recent: RecentHits,
    /// The embedder that the index and the labels are of; `None` until one is known.
    identity: Mutex<Option<Box<str>>>,
    /// The searches that may run at once.
    pub(super) searches: Arc<Semaphore>,
    /// The answers that may be compared at once.
    pub(super) comparisons: Arc<Semaphore>,
    pub(super) stats: Arc<Stats>,
    /// The way to the other replicas, or to the state file.
    outbox: mpsc::Sender<SemanticEvent>,
}

/// What lasts as long as the process beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) store: &'a Store,
    pub(crate) namespace: Namespace,
    pub(crate) stats: &'a Arc<Stats>,
}

impl Semantic {
    /// `config` is what `all` says of hits by meaning. What is published here goes to `outbox`.
    ///
    /// # Errors
    /// If the model cannot be loaded, or an endpoint's settings are of no use.
    pub(super) fn new(
        config: &SemanticConfig,
        all: &Config,
        stats: Arc<Stats>,
        outbox: mpsc::Sender<SemanticEvent>,
    ) -> Result<Self, EmbedderError> {
        let semantic = Self {
            config: ArcSwap::from_pointee(config.clone()),
            embedder: Embedder::open(config)?,
            judge: config.judge.as_ref().map(Judge::open).transpose()?,
            index: Index::new(config.max_entries),
            ledgers: Ledgers::default(),
            served: ServedPairs::default(),
            recent: RecentHits::default(),
            identity: Mutex::new(None),
            searches: Arc::new(Semaphore::new(MAX_SEARCHES)),
            comparisons: Arc::new(Semaphore::new(MAX_COMPARISONS)),
            outbox,
            stats,
        };
        semantic.know_routes(all);
        Ok(semantic)
    }

    /// Takes other settings; those that need a restart are as before.
    pub(super) fn reconfigure(&self, config: &SemanticConfig, all: &Config) {
        let former = self.config.swap(Arc::new(config.clone()));
        let limits = |config: &SemanticConfig| (config.max_false_hits, config.audit);
        if limits(config) != limits(&former) {
            self.ledgers.judge_by(config);
        }
        self.know_routes(all);
    }

    fn know_routes(&self, all: &Config) {
        let routes = all.routes.iter().filter(|route| route.semantic.is_some());
        let names = routes.map(|route| route.name.as_str().into()).collect();
        self.ledgers.take_part(names, &self.config());
    }

    pub(super) fn config(&self) -> Guard<Arc<SemanticConfig>> {
        self.config.load()
    }

    /// The labels of a route; `None` if there are too many routes.
    pub(super) fn ledger(&self, route: &str) -> Option<Arc<RouteLedger>> {
        self.ledgers.of(route, &self.config())
    }

    /// The embedder that the index and the labels are of. What others say counts only if theirs is the same: they send their
    /// [`SemanticEvent::Embedder`] first.
    pub(crate) fn identity(&self) -> Option<Box<str>> {
        self.identity.lock().clone()
    }

    /// The names of the routes that take part, or did.
    pub(super) fn routes(&self) -> Vec<Box<str>> {
        self.ledgers.names()
    }

    /// All stored questions, for the state file.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.index.records()
    }

    /// All labels, with their route's name, for the state file.
    pub(crate) fn labels(&self) -> Vec<(Box<str>, Vec<Label>)> {
        self.ledgers.labels()
    }

    /// Something has happened here: it counts, and the others hear of it.
    pub(super) fn publish(&self, event: SemanticEvent) {
        let next = self.take(&event, true);
        // The others may lack what does not fit: that costs them hits.
        let _ = self.outbox.try_send(event);
        if let Some(next) = next {
            self.publish(next);
        }
    }

    /// Somebody has asked the question under `key`; the others hear of it if that is news.
    pub(super) fn asked_by(&self, key: Box<str>, caller: CallerId) {
        if self.index.asked_by(&key, caller) {
            let _ = self.outbox.try_send(SemanticEvent::AskedBy { key, caller });
        }
    }

    /// Something has happened at another replica.
    pub(crate) fn apply(&self, event: &SemanticEvent) {
        self.take(event, true);
    }

    /// What was kept from before, oldest first: it is no news.
    pub(crate) fn restore<'a>(&self, events: impl IntoIterator<Item = &'a SemanticEvent>) {
        events.into_iter().for_each(|event| drop(self.take(event, false)));
    }

    /// Applies an event. Returns what follows from it: a route may step back.
    fn take(&self, event: &SemanticEvent, is_news: bool) -> Option<SemanticEvent> {
        match event {
            SemanticEvent::Embedder { identity } => self.change_embedder(identity),
            SemanticEvent::Separated { asked, original } => {
                self.index.separate(asked, original);
                self.served.forget(asked, original);
                self.recent.forget(asked, original);
            }
            SemanticEvent::AskedBy { key, caller } => drop(self.index.asked_by(key, *caller)),
            // Of an embedder that is not known.
            SemanticEvent::Added(_) | SemanticEvent::Labelled { .. } if self.identity.lock().is_none() => {}
            SemanticEvent::Added(record) => {
                self.index.insert(record.clone(), unix_millis(SystemTime::now()));
            }
            SemanticEvent::Labelled { route, label } => return self.record(route, label, is_news),
            SemanticEvent::SteppedBack { route, at } => {
                let step_back = |ledger: Arc<RouteLedger>| ledger.step_back(&self.config(), *at);
                let stepped_back = self.ledger(route).is_some_and(step_back);
                if stepped_back && is_news {
                    events::semantic_stepped_back(route);
                }
            }
        }
        None
    }

    fn record(&self, route: &str, label: &Label, is_news: bool) -> Option<SemanticEvent> {
        let ledger = self.ledger(route)?;
        match ledger.record(label.clone())? {
            Change::Certified { .. } => {
                if is_news {
                    events::semantic_certified(route, &ledger.ledger.lock().status());
                }
                None
            }
            Change::SteppedBack => {
                if is_news {
                    events::semantic_stepped_back(route);
                }
                Some(SemanticEvent::SteppedBack { route: route.into(), at: label.at })
            }
            // The other replicas look at the same labels.
            Change::Lapsed => {
                if is_news {
                    events::semantic_stepped_back(route);
                }
                None
            }
        }
    }

    /// Vectors of another embedder, and the labels that were made with them, are worthless. If the embedder here is
    /// another one, what others say of theirs does not count.
    fn change_embedder(&self, identity: &str) {
        let is_ours = self.embedder.recognises(identity);
        let mut known = self.identity.lock();
        match (known.clone(), is_ours) {
            (_, Some(false)) | (Some(_), None) => {}
            (None, None) => *known = Some(identity.into()),
            (former, Some(true)) => {
                let is_same = former.is_none_or(|former| self.embedder.recognises(&former) == Some(true));
                // Of two names for it, it has chosen one.
                *known = self.embedder.identity().map(String::into_boxed_str);
                drop(known);
                if !is_same {
                    let removed = self.index.entries();
                    self.index.clear();
                    self.ledgers.clear(&self.config());
                    events::embedder_changed(identity, removed);
                }
            }
        }
    }

    /// The vector of `text`, and the embedder that made it; `None` if there is none in time.
    pub(super) async fn embed(&self, terms: &Terms<'_>, text: &str) -> Option<(Vector, Box<str>)> {
        let began = Instant::now();
        let before = self.embedder.identity();
        let made = self.embedder.embed(terms, text).await;
        let outcome = match &made {
            Ok(embedded) if embedded.is_stored => EmbeddingOutcome::Stored,
            Ok(_) => EmbeddingOutcome::Ok,
            Err(NoVector::TimedOut) => EmbeddingOutcome::TimedOut,
            Err(NoVector::Failed) => EmbeddingOutcome::Failed,
            Err(NoVector::Odd) => EmbeddingOutcome::Odd,
            Err(NoVector::Busy) => EmbeddingOutcome::Busy,
        };
        self.stats.here().semantic.embedding(outcome, began.elapsed());
        let vector = made.ok()?.vector;
        // It has changed meanwhile: nobody knows which one made the vector.
        let identity = self.embedder.identity().filter(|identity| before.as_ref() == Some(identity))?;
        self.note(&identity);
        Some((vector, self.identity()?))
    }

    /// Notes which embedder it is, if that is known and new.
    pub(super) fn note_embedder(&self) {
        if let Some(identity) = self.embedder.identity() {
            self.note(&identity);
        }
    }

    fn note(&self, identity: &str) {
        if self.identity.lock().as_deref() != Some(identity) {
            self.publish(SemanticEvent::Embedder { identity: identity.into() });
        }
    }

    /// What operators see.
    pub(crate) fn status(&self) -> SemanticStatus {
        let config = self.config();
        SemanticStatus {
            mode: config.mode,
            limit: config.max_false_hits,
            embedder: self.embedder.identity(),
            problem: self.embedder.problem(),
            entries: self.index.entries(),
            max_entries: config.max_entries,
            partitions: self.index.partitions(),
            routes: self.ledgers.status(),
        }
    }
}
