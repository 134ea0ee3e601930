//! What has been retired, and when.
//!
//! Retirements stand in one order, which all replicas share. An entry remembers the place in that order at which
//! its fill began, and is retired where anything that it depends on was retired after that. So a retirement costs
//! the same however many entries it is about, and a fill that is still running when it happens never brings the
//! old answer back.
//!
//! This is each process's copy of the order. Nothing here waits or asks: the in-process store writes it, or the task
//! that reads along with Redis (`store/redis/subscriber.rs`).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use parking_lot::RwLock;

use crate::cache::{invalidation::glob, key::Key, route::kind::Kind};

/// What is kept of the order, in retirements: of what was retired before that, nothing is known, and so every entry
/// whose fill began then counts as retired.
const MAX_TARGETS: usize = 200_000;

/// Patterns are tried on every lookup of an older entry, so there are fewer.
const MAX_PATTERNS: usize = 100;

/// A copy of the order that has not been heard of for this long may be behind, and is not used.
const MAX_AGE: Duration = Duration::from_secs(2);

/// Something that can be retired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every entry.
    All,
    /// The entries of a kind.
    Kind(Kind),
    /// The entry under the key with this digest.
    Key([u8; 32]),
    /// What was got from a path, whatever the scope and the query: a document, or a conversation as seen.
    Path(String),
    /// The answers that were given in a conversation.
    Conversation(String),
    /// The conversation as seen.
    ConversationView(String),
    /// What depends on a document, or on whatever a tag stands for.
    Tag(String),
    /// The entries whose key without its namespace is what this glob pattern describes ([`glob`]).
    Pattern(String),
}

impl Target {
    /// Its id; `None` for a pattern, which has none.
    fn target_id(&self) -> Option<TargetId> {
        Some(match self {
            // Asked for on every lookup, so they take no hashing.
            Self::All => TargetId(0),
            Self::Kind(kind) => TargetId(1 + *kind as u128),
            Self::Key(digest) => TargetId::of(digest),
            Self::Path(path) => TargetId::named(b"p", path),
            Self::Conversation(id) => TargetId::named(b"c", id),
            Self::ConversationView(id) => TargetId::named(b"v", id),
            Self::Tag(tag) => TargetId::named(b"t", tag),
            Self::Pattern(_) => return None,
        })
    }
}

/// The id of a [`Target`] that is no pattern, 128 bits long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetId(u128);

impl TargetId {
    fn named(letter: &[u8], name: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(letter).update(name.as_bytes());
        Self::of(hasher.finalize().as_bytes())
    }

    fn of(digest: &[u8; 32]) -> Self {
        let [half, _] = digest.as_chunks().0 else { return Self(0) };
        Self::from_bytes(*half)
    }

    /// The ids of those subjects that are no patterns.
    pub fn all(targets: &[Target]) -> Vec<Self> {
        targets.iter().filter_map(Target::target_id).collect()
    }

    /// As it is stored.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// From what was stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }
}

/// A place in the order, as far as places of one order can be compared: with Redis, the id of a stream's entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset {
    /// The first number: milliseconds with Redis.
    pub major: u64,
    /// The second number.
    pub minor: u64,
}

/// A place, and the order that it is in. An order is lost with what kept it, and another one begins; then nothing is
/// known of entries that refer to the old one, and they count as retired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// The order.
    pub epoch: u64,
    /// The place in it.
    pub offset: Offset,
}

/// What is retired at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invalidation {
    /// By id.
    pub target_ids: Vec<TargetId>,
    /// By pattern.
    pub patterns: Vec<String>,
    /// Whether a tag is among them: what an answer that is still running depends on is not known, so it may be
    /// this.
    pub by_tag: bool,
}

impl Invalidation {
    /// The retirement of these subjects.
    pub fn of(targets: &[Target]) -> Self {
        let pattern = |target: &Target| match target {
            Target::Pattern(pattern) => Some(pattern.clone()),
            _ => None,
        };
        Self {
            target_ids: TargetId::all(targets),
            patterns: targets.iter().filter_map(pattern).collect(),
            by_tag: targets.iter().any(|target| matches!(target, Target::Tag(_))),
        }
    }

    /// The kind that all entries are of which it is about, where there is one.
    pub fn only_kind(&self) -> Option<Kind> {
        let is_of = |kind: &Kind| {
            self.target_ids == TargetId::all(&[Target::Kind(*kind)]) && self.patterns.is_empty()
        };
        Kind::ALL.into_iter().find(is_of)
    }

    /// Whether it is about what has these dependencies, whenever that began.
    pub fn concerns(&self, of: &Dependencies<'_>) -> bool {
        self.target_ids.iter().any(|target_id| of.target_ids().any(|own| own == *target_id))
            || self.patterns.iter().any(|pattern| glob::matches(pattern, &of.key.local()))
    }
}

/// What an entry depends on.
#[derive(Clone, Copy, Debug)]
pub struct Dependencies<'a> {
    /// Its key.
    pub key: &'a Key,
    /// The rest.
    pub target_ids: &'a [TargetId],
}

impl Dependencies<'_> {
    fn target_ids(&self) -> impl Iterator<Item = TargetId> {
        let by_key = [Target::All, Target::Kind(self.key.kind()), Target::Key(*self.key.digest())];
        by_key.into_iter().filter_map(|target| target.target_id()).chain(self.target_ids.iter().copied())
    }
}

#[derive(Debug, Default)]
struct State {
    /// The order that is mirrored, and how far; `None` before anything is known.
    last: Option<Version>,
    /// What began before this counts as retired.
    floor: Offset,
    /// The last retirement of a tag.
    last_by_tag: Offset,
    invalidated: HashMap<TargetId, Offset>,
    /// The order of `invalidated`, oldest first; some may have been retired anew since.
    by_age: VecDeque<(Offset, TargetId)>,
    patterns: VecDeque<(Offset, String)>,
    /// It is no copy: there are no others.
    is_own: bool,
    /// When the copy was last known to be complete.
    current_at: Option<Instant>,
    /// What could not be told to the others yet: retired, whenever it began.
    pending: Vec<Invalidation>,
}

/// The order of retirements, as far as this process knows it.
#[derive(Debug, Default)]
pub struct InvalidationLog {
    state: RwLock<State>,
    /// Nothing that began here or later is retired. Every lookup asks for it, so it is read without a lock.
    clean_since: ArcSwapOption<Version>,
}

impl InvalidationLog {
    /// The copy of an order that has no others: complete, to begin with.
    pub fn own() -> Self {
        let last = Some(Version { epoch: fastrand::u64(1..), offset: Offset::default() });
        let invalidations = Self::default();
        invalidations.change(|state| *state = State { last, is_own: true, ..State::default() });
        invalidations
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.write();
        let changed = change(&mut state);
        let clean_since = state.clean_since();
        if self.clean_since.load().as_deref() != clean_since.as_ref() {
            self.clean_since.store(clean_since.map(Arc::new));
        }
        changed
    }

    /// How far the copy goes; `None` where it may be behind, or nothing is known.
    pub fn now(&self, now: Instant) -> Option<Version> {
        let state = self.state.read();
        state.last.filter(|_| state.is_current(now))
    }

    /// How far the copy goes, be it behind.
    pub fn last(&self) -> Option<Version> {
        self.state.read().last
    }

    /// Whether an entry whose fill began at `began` is retired, as far as is known.
    pub fn is_invalidated(&self, began: Version, of: Dependencies<'_>) -> bool {
        let is_clean = |since: &Version| since.epoch == began.epoch && since.offset <= began.offset;
        !self.clean_since.load().as_deref().is_some_and(is_clean)
            && self.state.read().is_invalidated(began, &of)
    }

    /// Whether an answer that is still running, and was asked for when the copy went as far as `began`, may turn out to be
    /// retired. Without `began` nothing was known then: whatever is known now may have come since.
    pub fn may_be_invalidated(&self, began: Option<Version>, of: Dependencies<'_>) -> bool {
        let state = self.state.read();
        let is_pending = || state.pending.iter().any(|pending| pending.by_tag || pending.concerns(&of));
        match began {
            None => is_pending() || state.last.is_some(),
            Some(began) => {
                state.is_invalidated(began, &of) || state.last_by_tag > began.offset || is_pending()
            }
        }
    }

    /// The last place at which something was retired that such an answer may depend on.
    pub fn last_concerning(&self, of: Dependencies<'_>) -> Offset {
        let state = self.state.read();
        let target_ids =
            of.target_ids().filter_map(|target_id| state.invalidated.get(&target_id).copied()).max();
        target_ids.unwrap_or_default().max(state.last_by_tag).max(state.floor)
    }

    /// Retires at the next place of an order of one's own.
    pub fn invalidate(&self, invalidation: &Invalidation) -> Version {
        self.change(|state| {
            let mut version = state.last.unwrap_or_default();
            version.offset.minor += 1;
            state.apply(version.offset, invalidation);
            state.last = Some(version);
            version
        })
    }

    /// Takes over what is retired at `version` of the mirrored order. What belongs to another order is left to
    /// [`InvalidationLog::begin`].
    pub fn apply(&self, version: Version, invalidation: &Invalidation) {
        self.change(|state| {
            if state.last.is_some_and(|last| last.epoch == version.epoch) {
                state.apply(version.offset, invalidation);
                state.last =
                    state.last.map(|last| Version { offset: last.offset.max(version.offset), ..last });
            }
        });
    }

    /// The same for what was retired from here, maybe as the first in another order.
    pub fn apply_own(&self, version: Version, invalidation: &Invalidation) {
        if self.last().is_none_or(|last| last.epoch != version.epoch) {
            self.begin(version.epoch);
        }
        self.apply(version, invalidation);
    }

    /// Begins to mirror another order, of which nothing is known so far.
    pub fn begin(&self, epoch: u64) {
        self.change(|state| {
            let pending = std::mem::take(&mut state.pending);
            let last = Some(Version { epoch, offset: Offset::default() });
            *state = State { last, pending, ..State::default() };
        });
    }

    /// Says that nothing is known of what was retired at `offset` and before that.
    pub fn forget_before(&self, offset: Offset) {
        self.change(|state| state.floor = state.floor.max(offset));
    }

    /// Says that the copy was complete at `at`.
    pub fn mark_current(&self, at: Instant) {
        self.change(|state| state.current_at = Some(at));
    }

    /// Retires here what could not be told to others.
    pub fn keep_pending(&self, invalidation: Invalidation) {
        self.change(|state| {
            if state.pending.len() < MAX_PATTERNS {
                state.pending.push(invalidation);
            } else {
                // Too much to remember: everything.
                state.pending = vec![Invalidation::of(&[Target::All, Target::Tag(String::new())])];
            }
        });
    }

    /// The oldest of what could not be told to others.
    pub fn pending(&self) -> Option<Invalidation> {
        self.state.read().pending.first().cloned()
    }

    /// Says that the oldest was told.
    pub fn remove_pending(&self, invalidation: &Invalidation) {
        self.change(|state| {
            if state.pending.first() == Some(invalidation) {
                state.pending.remove(0);
            }
        });
    }
}

impl State {
    /// From which place on nothing is retired, where there is such a place.
    fn clean_since(&self) -> Option<Version> {
        let last = self.last.filter(|_| self.pending.is_empty())?;
        Some(Version { offset: last.offset.max(self.floor), ..last })
    }

    fn is_current(&self, now: Instant) -> bool {
        // An instant later than `now` was taken by another thread meanwhile.
        let is_recent = |current_at| now.saturating_duration_since(current_at) < MAX_AGE;
        self.is_own || self.current_at.is_some_and(is_recent)
    }

    fn is_invalidated(&self, began: Version, of: &Dependencies<'_>) -> bool {
        if self.last.is_none_or(|last| last.epoch != began.epoch) {
            return true;
        }
        if began.offset < self.floor || self.pending.iter().any(|pending| pending.concerns(of)) {
            return true;
        }
        of.target_ids()
            .any(|target_id| self.invalidated.get(&target_id).is_some_and(|offset| *offset > began.offset))
            || self
                .patterns
                .iter()
                .any(|(offset, pattern)| *offset > began.offset && glob::matches(pattern, &of.key.local()))
    }

    fn apply(&mut self, offset: Offset, invalidation: &Invalidation) {
        for target_id in &invalidation.target_ids {
            let known = self.invalidated.entry(*target_id).or_default();
            *known = offset.max(*known);
            self.by_age.push_back((offset, *target_id));
        }
        self.patterns.extend(invalidation.patterns.iter().map(|pattern| (offset, pattern.clone())));
        if invalidation.by_tag {
            self.last_by_tag = self.last_by_tag.max(offset);
        }
        while self.by_age.len() > MAX_TARGETS {
            if let Some((offset, target_id)) = self.by_age.pop_front()
                && self.invalidated.get(&target_id) == Some(&offset)
            {
                self.invalidated.remove(&target_id);
                self.floor = self.floor.max(offset);
            }
        }
        while self.patterns.len() > MAX_PATTERNS {
            if let Some((offset, _)) = self.patterns.pop_front() {
                self.floor = self.floor.max(offset);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: Kind, byte: u8) -> Key {
        Key::new("ns".into(), kind, blake3::Hash::from_bytes([byte; 32]))
    }

    fn tag(name: &str) -> Target {
        Target::Tag(name.to_owned())
    }

    fn now(invalidations: &InvalidationLog) -> Version {
        invalidations.now(Instant::now()).expect("it is current")
    }

    #[test]
    fn what_began_before_is_retired_and_what_began_after_is_not() {
        let key = key(Kind::Query, 7);
        let path = || Target::Path("/d/1".to_owned());
        let target_ids = TargetId::all(&[tag("doc"), path()]);
        let of = Dependencies { key: &key, target_ids: &target_ids };
        for (target, concerned) in [
            (Target::All, true),
            (Target::Kind(Kind::Query), true),
            (Target::Kind(Kind::Document), false),
            (Target::Key([7; 32]), true),
            (Target::Key([8; 32]), false),
            (tag("doc"), true),
            (tag("/d/1"), false),
            (path(), true),
            (Target::Conversation("doc".to_owned()), false),
            (Target::Pattern("query:07*".to_owned()), true),
            (Target::Pattern("query:08*".to_owned()), false),
        ] {
            let invalidations = InvalidationLog::own();
            let before = now(&invalidations);
            let at = invalidations.invalidate(&Invalidation::of(std::slice::from_ref(&target)));
            assert_eq!(invalidations.is_invalidated(before, of), concerned, "{target:?}");
            assert!(!invalidations.is_invalidated(at, of), "{target:?}");
            assert_eq!(now(&invalidations), at);
        }
    }

    #[test]
    fn a_running_answer_may_depend_on_any_tag() {
        let (invalidations, key) = (InvalidationLog::own(), key(Kind::Query, 1));
        let of = Dependencies { key: &key, target_ids: &[] };
        let began = now(&invalidations);
        invalidations.invalidate(&Invalidation::of(&[Target::Path("/d/1".to_owned())]));
        assert!(!invalidations.may_be_invalidated(Some(began), of));
        let at = invalidations.invalidate(&Invalidation::of(&[tag("doc")]));
        assert!(
            invalidations.may_be_invalidated(Some(began), of)
                && !invalidations.may_be_invalidated(Some(at), of)
        );
        assert_eq!(invalidations.last_concerning(of), at.offset);
    }

    #[test]
    fn a_copy_that_was_not_heard_of_is_not_current() {
        let (invalidations, now) = (InvalidationLog::default(), Instant::now());
        assert_eq!(invalidations.now(now), None);
        invalidations.begin(7);
        assert_eq!(invalidations.now(now), None);
        invalidations.mark_current(now);
        let start = Version { epoch: 7, offset: Offset::default() };
        assert_eq!(invalidations.now(now), Some(start));
        assert_eq!(invalidations.now(now + MAX_AGE), None);
        assert_eq!(invalidations.last(), Some(start));
    }

    #[test]
    fn another_order_knows_nothing_of_older_entries() {
        let (invalidations, key) = (InvalidationLog::default(), key(Kind::Query, 1));
        let of = Dependencies { key: &key, target_ids: &[] };
        invalidations.begin(7);
        let version = Version { epoch: 7, offset: Offset { major: 5, minor: 0 } };
        invalidations.apply(version, &Invalidation::default());
        invalidations.apply(Version { epoch: 8, ..version }, &Invalidation::of(&[Target::All]));
        assert!(!invalidations.is_invalidated(version, of), "another order's");
        invalidations.forget_before(Offset { major: 6, minor: 0 });
        assert!(invalidations.is_invalidated(version, of));
        invalidations.begin(8);
        assert!(
            invalidations.is_invalidated(Version { epoch: 7, offset: Offset { major: 9, minor: 0 } }, of)
        );
    }

    #[test]
    fn what_could_not_be_told_is_retired_here_until_it_was() {
        let (invalidations, key) = (InvalidationLog::own(), key(Kind::Query, 1));
        let of = Dependencies { key: &key, target_ids: &TargetId::all(&[tag("doc")]) };
        let invalidation = Invalidation::of(&[tag("doc")]);
        invalidations.keep_pending(invalidation.clone());
        let began = invalidations.last();
        assert!(
            invalidations.is_invalidated(now(&invalidations), of)
                && invalidations.may_be_invalidated(began, of)
        );
        assert_eq!(invalidations.pending(), Some(invalidation.clone()));
        invalidations.remove_pending(&invalidation);
        assert!(
            !invalidations.is_invalidated(now(&invalidations), of)
                && !invalidations.may_be_invalidated(began, of)
        );
        assert!(invalidations.may_be_invalidated(None, of), "what began before anything was known");
        for n in 0..=MAX_PATTERNS {
            invalidations.keep_pending(Invalidation::of(&[tag(&n.to_string())]));
        }
        assert!(invalidations.is_invalidated(now(&invalidations), of), "too much to remember");
    }

    #[test]
    fn forgetting_retires_more_and_never_less() {
        let (invalidations, key) = (InvalidationLog::own(), key(Kind::Query, 1));
        let tags: Vec<_> = (0..10).map(|n| tag(&n.to_string())).collect();
        let is_invalidated = |began, tag: &Target| {
            let target_ids = TargetId::all(std::slice::from_ref(tag));
            invalidations.is_invalidated(began, Dependencies { key: &key, target_ids: &target_ids })
        };
        let before = now(&invalidations);
        for tag in &tags[..5] {
            invalidations.invalidate(&Invalidation::of(std::slice::from_ref(tag)));
        }
        assert!(!is_invalidated(before, &tags[9]));
        let filler = (0..MAX_TARGETS as u128).map(|n| TargetId(n << 64)).collect();
        invalidations.invalidate(&Invalidation { target_ids: filler, ..Invalidation::default() });
        assert!(invalidations.state.read().by_age.len() <= MAX_TARGETS);
        for tag in &tags {
            assert!(is_invalidated(before, tag) && !is_invalidated(now(&invalidations), tag), "{tag:?}");
        }
    }
}
