//! What a route's answers are: the second part of every key, with a default TTL for each.

use std::{fmt, time::Duration};

/// What a route's answers are; the second part of every key.
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
}

impl Kind {
    /// Every kind, in the order in which `/health` shows them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Query, Self::Embedding, Self::Document, Self::Conversation, Self::Other];

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The name in keys, logs and settings.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Embedding => "embedding",
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
            Kind::Document => self.document,
            Kind::Conversation => self.conversation,
            Kind::Other => self.default,
        }
    }
}
