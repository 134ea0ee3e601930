//! What an invalidation names, and what an entry depends on: the surrogate keys of the [log](super).

use crate::cache::{invalidation::glob, key::Key, route::kind::Kind};

/// Something that can be invalidated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every entry.
    All,
    /// The entries of a kind.
    Kind(Kind),
    /// The entry under the key with this digest.
    Key([u8; 32]),
    /// The answers to a path, for any scope and query: a document, or what a `GET` of a conversation returns.
    Path(String),
    /// The answers that were given in a conversation.
    Conversation(String),
    /// What a `GET` of the conversation returns.
    ConversationView(String),
    /// What depends on a document, or on anything else that has a tag.
    Tag(String),
    /// The entries whose key, without its namespace, matches this glob pattern (`glob.rs`).
    Pattern(String),
}

impl Target {
    /// The id; `None` for a pattern, which has none.
    fn id(&self) -> Option<TargetId> {
        Some(match self {
            // Every lookup asks for these two, so they need no hashing.
            Self::All => TargetId(0),
            Self::Kind(kind) => TargetId(1 + *kind as u128),
            Self::Key(digest) => TargetId::from_digest(digest),
            Self::Path(path) => TargetId::from_name(b"p", path),
            Self::Conversation(id) => TargetId::from_name(b"c", id),
            Self::ConversationView(id) => TargetId::from_name(b"v", id),
            Self::Tag(tag) => TargetId::from_name(b"t", tag),
            Self::Pattern(_) => return None,
        })
    }
}

/// The id of a [`Target`] that is not a pattern, 128 bits long. Entries and Redis have it as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetId(pub(super) u128);

impl TargetId {
    fn from_name(letter: &[u8], name: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(letter).update(name.as_bytes());
        Self::from_digest(hasher.finalize().as_bytes())
    }

    fn from_digest(digest: &[u8; 32]) -> Self {
        let [half, _] = digest.as_chunks().0 else { return Self(0) };
        Self::from_bytes(*half)
    }

    /// The ids of all targets that are not patterns.
    pub fn from_targets(targets: &[Target]) -> Vec<Self> {
        targets.iter().filter_map(Target::id).collect()
    }

    pub(crate) const fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// From the bytes in an entry or in Redis.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }
}

/// What becomes invalid at one position of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Invalidation {
    pub(crate) target_ids: Vec<TargetId>,
    pub(crate) patterns: Vec<String>,
    /// Whether a tag is among the targets. The tags of an answer that is still running are not known, so this
    /// may be one of them.
    pub(crate) by_tag: bool,
}

impl Invalidation {
    pub(crate) fn new(targets: &[Target]) -> Self {
        let pattern = |target: &Target| match target {
            Target::Pattern(pattern) => Some(pattern.clone()),
            _ => None,
        };
        Self {
            target_ids: TargetId::from_targets(targets),
            patterns: targets.iter().filter_map(pattern).collect(),
            by_tag: targets.iter().any(|target| matches!(target, Target::Tag(_))),
        }
    }

    /// The kind of all the entries that this concerns, if they have only one.
    pub(crate) fn only_kind(&self) -> Option<Kind> {
        let names_only = |kind: &Kind| {
            self.target_ids == TargetId::from_targets(&[Target::Kind(*kind)]) && self.patterns.is_empty()
        };
        Kind::ALL.into_iter().find(names_only)
    }

    /// Whether this concerns an entry with these dependencies, whenever its fill began.
    pub(crate) fn concerns(&self, dependencies: &Dependencies<'_>) -> bool {
        self.target_ids.iter().any(|target_id| dependencies.target_ids().any(|own| own == *target_id))
            || self.patterns.iter().any(|pattern| glob::matches(pattern, &dependencies.key.local()))
    }
}

/// What an entry depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dependencies<'a> {
    pub(crate) key: &'a Key,
    /// What it depends on besides its key.
    pub(crate) target_ids: &'a [TargetId],
}

impl Dependencies<'_> {
    pub(super) fn target_ids(&self) -> impl Iterator<Item = TargetId> {
        let by_key = [Target::All, Target::Kind(self.key.kind()), Target::Key(*self.key.digest())];
        by_key.into_iter().filter_map(|target| target.id()).chain(self.target_ids.iter().copied())
    }
}
