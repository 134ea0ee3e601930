//! Which feed has which events. Each embedder has feeds of its own: its similarities mean nothing to another one.
//!
//! Some embedders look a little different to each replica, so replicas first tell each other how theirs look, in a feed for
//! all: of those that are near to each other, all take the same name.

use std::time::Duration;

use crate::{
    cache::semantic::event::SemanticEvent,
    store::{Feed, FeedBounds, Feeds},
};

/// What is learned counts for 30 days.
const LIFE: Duration = Duration::from_secs(31 * 24 * 3600);

/// Replicas that do not restart tell no embedder.
const EMBEDDERS_LIFE: Duration = Duration::from_secs(400 * 24 * 3600);

/// The embedders that are told of, of all replicas at their starts.
const MAX_EMBEDDERS: usize = 1_000;

/// The labels that a route's feed holds. A ledger counts no more.
const MAX_LABELS: usize = 10_000;

/// The separated pairs that are remembered.
const MAX_PAIRS: usize = 10_000;

/// The kinds of feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FeedKind {
    /// Stored questions.
    Vectors,
    /// Who asked them.
    Callers,
    /// Questions whose answers may not stand in for each other.
    Pairs,
    /// The labels of one route, and its steps back.
    Labels,
    /// The embedders of all replicas.
    Embedders,
}

impl FeedKind {
    pub(super) const COUNT: usize = 5;

    pub(super) const fn of(event: &SemanticEvent) -> Self {
        match event {
            SemanticEvent::Added(_) => Self::Vectors,
            SemanticEvent::AskedBy { .. } => Self::Callers,
            SemanticEvent::Separated { .. } => Self::Pairs,
            SemanticEvent::Labelled { .. } | SemanticEvent::SteppedBack { .. } => Self::Labels,
            SemanticEvent::Embedder { .. } => Self::Embedders,
        }
    }
}

/// The feeds of all embedders.
pub(super) struct SemanticFeeds {
    pub(super) feeds: Feeds,
    max_entries: usize,
}

impl SemanticFeeds {
    pub(super) const fn new(feeds: Feeds, max_entries: usize) -> Self {
        Self { feeds, max_entries }
    }

    /// The feed of `kind` for an embedder, and for labels, of a route.
    pub(super) fn feed(&self, identity: &str, kind: FeedKind, route: &str) -> Feed {
        let embedder = digest(identity);
        let (name, events) = match kind {
            FeedKind::Vectors => (format!("{embedder}:vectors"), self.max_entries),
            FeedKind::Callers => (format!("{embedder}:callers"), self.max_entries.saturating_mul(2)),
            FeedKind::Pairs => (format!("{embedder}:pairs"), MAX_PAIRS),
            FeedKind::Labels => (format!("{embedder}:labels:{}", digest(route)), MAX_LABELS),
            FeedKind::Embedders => ("embedders".to_owned(), MAX_EMBEDDERS),
        };
        let life = if kind == FeedKind::Embedders { EMBEDDERS_LIFE } else { LIFE };
        self.feeds.feed(&name, FeedBounds { events, life })
    }

    /// The feed that `event` belongs to.
    pub(super) fn of(&self, identity: &str, event: &SemanticEvent) -> Feed {
        let route = match event {
            SemanticEvent::Labelled { route, .. } | SemanticEvent::SteppedBack { route, .. } => route,
            _ => "",
        };
        self.feed(identity, FeedKind::of(event), route)
    }
}

/// Names of models and routes can be long, and can have any characters.
fn digest(name: &str) -> String {
    blake3::hash(name.as_bytes()).to_hex()[..16].to_owned()
}
