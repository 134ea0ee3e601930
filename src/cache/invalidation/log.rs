//! This process's copy of the invalidation log.
//!
//! Nothing here waits, and nothing asks Redis. The in-process store writes the copy itself; for Redis, a task
//! that reads the stream of invalidations does (`store/redis/subscriber.rs`). The copy has a bound: of what
//! was invalidated before its oldest record nothing is known, so every entry whose fill began before that
//! counts as invalid.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use parking_lot::RwLock;

use super::{Dependencies, Invalidation, Offset, Target, TargetId, Version, glob};

/// How many invalidated targets the log remembers.
const MAX_TARGETS: usize = 200_000;

/// How many patterns, and how many pending invalidations, the log remembers. Every lookup of an older entry tries them
/// all, so there are fewer.
const MAX_PATTERNS: usize = 100;

/// How many positions of the log are remembered, to find out what a new master lacks.
const MAX_POSITIONS: usize = 10_000;

/// The targets of one invalidation that is sent once more.
const MAX_PART: usize = 10_000;

#[derive(Debug, Default)]
struct State {
    /// The log that is mirrored, and how far; `None` before anything is known.
    last: Option<Version>,
    /// Fills that began before this count as invalidated.
    floor: Offset,
    /// The last invalidation of a tag.
    last_by_tag: Offset,
    invalidated: HashMap<TargetId, Offset>,
    /// What is in `invalidated`, oldest first; some may have been invalidated again since.
    by_age: VecDeque<(Offset, TargetId)>,
    patterns: VecDeque<(Offset, String)>,
    /// The last positions, in the order in which they became known.
    positions: VecDeque<Offset>,
    /// A copy that had no news from Redis for this long may be behind, and is not used. `None` if this is the only copy,
    /// so that it is never behind.
    max_age: Option<Duration>,
    /// When the copy was last known to be complete.
    current_at: Option<Instant>,
    /// What Redis has not received yet. It counts for every entry, whenever its fill began.
    pending: Vec<Invalidation>,
}

/// The invalidation log, as far as this process knows it.
#[derive(Debug, Default)]
pub(crate) struct InvalidationLog {
    state: RwLock<State>,
    /// No fill that began here or later is invalidated. Every lookup asks for it, so it is read without a
    /// lock.
    clean_since: ArcSwapOption<Version>,
}

impl InvalidationLog {
    /// A log that no other process shares: complete from the beginning.
    pub(crate) fn standalone() -> Self {
        let last = Some(Version { epoch: fastrand::u64(1..), offset: Offset::default() });
        let invalidations = Self::default();
        invalidations.change(|state| *state = State { last, ..State::default() });
        invalidations
    }

    /// A copy of a log that other processes write. Without news for `max_age`, it may be behind and is not used.
    pub(crate) fn mirror(max_age: Duration) -> Self {
        let invalidations = Self::default();
        invalidations.change(|state| state.max_age = Some(max_age));
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

    /// How far the copy reaches; `None` if it may be behind, or nothing is known.
    pub(crate) fn now(&self, now: Instant) -> Option<Version> {
        let state = self.state.read();
        state.last.filter(|_| state.is_current(now))
    }

    /// How far the copy reaches, even if it is behind.
    pub(crate) fn last(&self) -> Option<Version> {
        self.state.read().last
    }

    /// Whether an entry whose fill began at `began` is invalidated, as far as is known.
    pub(crate) fn is_invalidated(&self, began: Version, dependencies: Dependencies<'_>) -> bool {
        let is_clean = |since: &Version| since.epoch == began.epoch && since.offset <= began.offset;
        !self.clean_since.load().as_deref().is_some_and(is_clean)
            && self.state.read().is_invalidated(began, &dependencies)
    }

    /// Whether an answer that is still running may turn out to be invalidated. It was asked for when the copy
    /// reached `began`; without `began`, nothing was known then, and all that is known now may have come
    /// since.
    pub(crate) fn may_be_invalidated(&self, began: Option<Version>, dependencies: Dependencies<'_>) -> bool {
        let state = self.state.read();
        let may_be_pending =
            || state.pending.iter().any(|pending| pending.by_tag || pending.concerns(&dependencies));
        match began {
            None => may_be_pending() || state.last.is_some(),
            Some(began) => {
                state.is_invalidated(began, &dependencies)
                    || state.last_by_tag > began.offset
                    || may_be_pending()
            }
        }
    }

    /// The last position at which something was invalidated that a running answer may depend on.
    pub(crate) fn last_concerning(&self, dependencies: Dependencies<'_>) -> Offset {
        let state = self.state.read();
        let last = |target_id| state.invalidated.get(&target_id).copied();
        let by_id = dependencies.target_ids().filter_map(last).max();
        by_id.unwrap_or_default().max(state.last_by_tag).max(state.floor)
    }

    /// Adds an invalidation to a standalone log, at the next position.
    pub(crate) fn invalidate(&self, invalidation: &Invalidation) -> Version {
        self.change(|state| {
            let mut version = state.last.unwrap_or_default();
            version.offset.minor += 1;
            state.apply(version.offset, invalidation);
            state.last = Some(version);
            version
        })
    }

    /// Copies what was invalidated at `version` of the mirrored log. A version of another log changes
    /// nothing: that one starts with [`InvalidationLog::begin`].
    pub(crate) fn apply(&self, version: Version, invalidation: &Invalidation) {
        self.change(|state| {
            if state.last.is_some_and(|last| last.epoch == version.epoch) {
                state.apply(version.offset, invalidation);
                state.last =
                    state.last.map(|last| Version { offset: last.offset.max(version.offset), ..last });
            }
        });
    }

    /// Copies what this process itself has invalidated at `version`, which may be the first in a new log.
    pub(crate) fn apply_own(&self, version: Version, invalidation: &Invalidation) {
        if self.last().is_none_or(|last| last.epoch != version.epoch) {
            self.begin(version.epoch);
        }
        self.apply(version, invalidation);
    }

    /// Begins to mirror another log. Nothing of that log is known yet.
    pub(crate) fn begin(&self, epoch: u64) {
        self.change(|state| {
            let pending = std::mem::take(&mut state.pending);
            let last = Some(Version { epoch, offset: Offset::default() });
            *state = State { last, pending, max_age: state.max_age, ..State::default() };
        });
    }

    /// Notes that nothing is known of what was invalidated at `offset` and before.
    pub(crate) fn forget_before(&self, offset: Offset) {
        self.change(|state| state.floor = state.floor.max(offset));
    }

    /// Notes that the copy was complete at `at`.
    pub(crate) fn mark_current(&self, at: Instant) {
        self.change(|state| state.current_at = Some(at));
    }

    /// The positions of the log that are known here, from `first` on, and the first one that is remembered after that.
    pub(crate) fn positions_since(&self, first: Offset) -> (Offset, HashSet<Offset>) {
        let state = self.state.read();
        let is_full = state.positions.len() == MAX_POSITIONS;
        let oldest = state.positions.front().filter(|_| is_full).copied().unwrap_or_default();
        let first = first.max(oldest);
        (first, state.positions.iter().copied().filter(|position| *position >= first).collect())
    }

    /// What was invalidated at `positions`, in parts of a size that Redis takes.
    pub(crate) fn invalidated_at(&self, positions: &HashSet<Offset>) -> Vec<Invalidation> {
        let state = self.state.read();
        let by_tag = positions.iter().min().is_some_and(|first| state.last_by_tag >= *first);
        let target_ids = state.by_age.iter().filter(|(offset, _)| positions.contains(offset));
        let target_ids: Vec<_> = target_ids.map(|(_, target_id)| *target_id).collect();
        let patterns = state.patterns.iter().filter(|(offset, _)| positions.contains(offset));
        let patterns: Vec<_> = patterns.map(|(_, pattern)| pattern.clone()).collect();
        let part =
            |part: &[TargetId]| Invalidation { target_ids: part.to_vec(), by_tag, patterns: Vec::new() };
        let mut parts: Vec<_> = target_ids.chunks(MAX_PART).map(part).collect();
        if !patterns.is_empty() {
            parts.push(Invalidation { target_ids: Vec::new(), by_tag, patterns });
        }
        parts
    }

    /// Invalidates here what could not be sent to Redis.
    pub(crate) fn add_pending(&self, invalidation: Invalidation) {
        self.change(|state| {
            if state.pending.len() < MAX_PATTERNS {
                state.pending.push(invalidation);
            } else {
                // Too much to remember, so everything is invalid until Redis is back.
                state.pending = vec![Invalidation::new(&[Target::All, Target::Tag(String::new())])];
            }
        });
    }

    /// The oldest invalidation that could not be sent to Redis.
    pub(crate) fn pending(&self) -> Option<Invalidation> {
        self.state.read().pending.first().cloned()
    }

    /// Notes that Redis has received the oldest one.
    pub(crate) fn remove_pending(&self, invalidation: &Invalidation) {
        self.change(|state| {
            if state.pending.first() == Some(invalidation) {
                state.pending.remove(0);
            }
        });
    }
}

impl State {
    /// The position from which on nothing is invalidated, if there is one.
    fn clean_since(&self) -> Option<Version> {
        let last = self.last.filter(|_| self.pending.is_empty())?;
        Some(Version { offset: last.offset.max(self.floor), ..last })
    }

    fn is_current(&self, now: Instant) -> bool {
        // An instant later than `now` was taken by another thread meanwhile.
        let Some(max_age) = self.max_age else { return true };
        self.current_at.is_some_and(|current_at| now.saturating_duration_since(current_at) < max_age)
    }

    fn is_invalidated(&self, began: Version, dependencies: &Dependencies<'_>) -> bool {
        if self.last.is_none_or(|last| last.epoch != began.epoch) {
            return true;
        }
        if began.offset < self.floor || self.pending.iter().any(|pending| pending.concerns(dependencies)) {
            return true;
        }
        let is_later = |offset: &Offset| *offset > began.offset;
        dependencies.target_ids().any(|target_id| self.invalidated.get(&target_id).is_some_and(is_later))
            || self.patterns.iter().any(|(offset, pattern)| {
                is_later(offset) && glob::matches(pattern, &dependencies.key.local())
            })
    }

    fn apply(&mut self, offset: Offset, invalidation: &Invalidation) {
        if self.max_age.is_some() {
            if self.positions.len() == MAX_POSITIONS {
                self.positions.pop_front();
            }
            self.positions.push_back(offset);
        }
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
    use crate::cache::{key::Key, route::kind::Kind};

    const MAX_AGE: Duration = Duration::from_secs(2);

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
    fn a_fill_is_invalidated_by_what_came_after_it_began() {
        let key = key(Kind::Query, 7);
        let path = || Target::Path("/d/1".to_owned());
        let target_ids = TargetId::from_targets(&[tag("doc"), path()]);
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
            let invalidations = InvalidationLog::standalone();
            let before = now(&invalidations);
            let at = invalidations.invalidate(&Invalidation::new(std::slice::from_ref(&target)));
            assert_eq!(invalidations.is_invalidated(before, of), concerned, "{target:?}");
            assert!(!invalidations.is_invalidated(at, of), "{target:?}");
            assert_eq!(now(&invalidations), at);
        }
    }

    #[test]
    fn a_running_answer_may_depend_on_any_tag() {
        let invalidations = InvalidationLog::standalone();
        let key = key(Kind::Query, 1);
        let of = Dependencies { key: &key, target_ids: &[] };
        let began = now(&invalidations);
        invalidations.invalidate(&Invalidation::new(&[Target::Path("/d/1".to_owned())]));
        assert!(!invalidations.may_be_invalidated(Some(began), of));
        let at = invalidations.invalidate(&Invalidation::new(&[tag("doc")]));
        assert!(
            invalidations.may_be_invalidated(Some(began), of)
                && !invalidations.may_be_invalidated(Some(at), of)
        );
        assert_eq!(invalidations.last_concerning(of), at.offset);
    }

    #[test]
    fn a_copy_without_news_is_not_current() {
        let invalidations = InvalidationLog::mirror(MAX_AGE);
        let now = Instant::now();
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
    fn a_new_log_knows_nothing_of_older_entries() {
        let invalidations = InvalidationLog::mirror(MAX_AGE);
        let key = key(Kind::Query, 1);
        let of = Dependencies { key: &key, target_ids: &[] };
        invalidations.begin(7);
        let version = Version { epoch: 7, offset: Offset { major: 5, minor: 0 } };
        invalidations.apply(version, &Invalidation::default());
        invalidations.apply(Version { epoch: 8, ..version }, &Invalidation::new(&[Target::All]));
        assert!(!invalidations.is_invalidated(version, of), "another log's");
        invalidations.forget_before(Offset { major: 6, minor: 0 });
        assert!(invalidations.is_invalidated(version, of));
        invalidations.begin(8);
        assert!(
            invalidations.is_invalidated(Version { epoch: 7, offset: Offset { major: 9, minor: 0 } }, of)
        );
    }

    #[test]
    fn what_is_pending_is_invalid_here_until_it_was_sent() {
        let invalidations = InvalidationLog::standalone();
        let key = key(Kind::Query, 1);
        let of = Dependencies { key: &key, target_ids: &TargetId::from_targets(&[tag("doc")]) };
        let invalidation = Invalidation::new(&[tag("doc")]);
        invalidations.add_pending(invalidation.clone());
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
            invalidations.add_pending(Invalidation::new(&[tag(&n.to_string())]));
        }
        assert!(invalidations.is_invalidated(now(&invalidations), of), "too much to remember");
    }

    #[test]
    fn forgetting_invalidates_more_and_never_less() {
        let invalidations = InvalidationLog::standalone();
        let key = key(Kind::Query, 1);
        let tags: Vec<_> = (0..10).map(|n| tag(&n.to_string())).collect();
        let is_invalidated = |began, tag: &Target| {
            let target_ids = TargetId::from_targets(std::slice::from_ref(tag));
            invalidations.is_invalidated(began, Dependencies { key: &key, target_ids: &target_ids })
        };
        let before = now(&invalidations);
        for tag in &tags[..5] {
            invalidations.invalidate(&Invalidation::new(std::slice::from_ref(tag)));
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
