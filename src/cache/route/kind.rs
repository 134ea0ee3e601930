//! What a route's answers are: the second part of every key, with a default TTL for each.

use std::{fmt, time::Duration};

/// What a route's answers are; the second part of every key.
///
/// The log of invalidations names a kind by its place in this list, in Redis too: a new one comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The answer of a model or a RAG service to a question.
    Query,
    /// Vectors for texts.
    Embedding,
    /// A document's metadata.
    Document,
    /// A conversation's messages.
    Conversation,
    /// Anything else.
    Other,
    /// Documents ranked by their scores.
    Rerank,
}

impl Kind {
    /// Every kind, in the order in which `/health` shows them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Query, Self::Embedding, Self::Document, Self::Conversation, Self::Other, Self::Rerank];

    /// Whether answers are a model's, whatever is asked: they depend on nothing but the request, and services say of them
    /// by habit what they do not mean.
    pub(crate) const fn is_a_models(self) -> bool {
        matches!(self, Self::Query | Self::Embedding | Self::Rerank)
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The name in keys, logs and settings.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Embedding => "embedding",
            Self::Rerank => "rerank",
            Self::Document => "document",
            Self::Conversation => "conversation",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The TTLs of routes that set none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KindTtls {
    /// For `query`.
    pub(crate) query: Duration,
    /// For `embedding`.
    pub(crate) embedding: Duration,
    /// For `rerank`.
    pub(crate) rerank: Duration,
    /// For `document`.
    pub(crate) document: Duration,
    /// For `conversation`.
    pub(crate) conversation: Duration,
    /// For `other`.
    pub(crate) default: Duration,
}

impl KindTtls {
    pub(crate) const fn ttl(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Query => self.query,
            Kind::Embedding => self.embedding,
            Kind::Rerank => self.rerank,
            Kind::Document => self.document,
            Kind::Conversation => self.conversation,
            Kind::Other => self.default,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replicas of several versions share one log of invalidations.
    #[test]
    fn a_kind_keeps_its_place() {
        let places = Kind::ALL.map(|kind| (kind as usize, kind.as_str()));
        let known = ["query", "embedding", "document", "conversation", "other", "rerank"];
        assert!(places.into_iter().eq(known.into_iter().enumerate()));
    }
}
