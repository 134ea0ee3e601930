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
const MAX_KEPT: usize = 200_000;

/// Patterns are tried on every lookup of an older entry, so there are fewer.
const MAX_PATTERNS: usize = 100;

/// A copy of the order that has not been heard of for this long may be behind, and is not used.
const MAX_SILENCE: Duration = Duration::from_secs(2);

/// Something that can be retired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
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

impl Subject {
    /// Its id; `None` for a pattern, which has none.
    fn mark(&self) -> Option<Mark> {
        Some(match self {
            // Asked for on every lookup, so they take no hashing.
            Self::All => Mark(0),
            Self::Kind(kind) => Mark(1 + *kind as u128),
            Self::Key(digest) => Mark::of(digest),
            Self::Path(path) => Mark::named(b"p", path),
            Self::Conversation(id) => Mark::named(b"c", id),
            Self::ConversationView(id) => Mark::named(b"v", id),
            Self::Tag(tag) => Mark::named(b"t", tag),
            Self::Pattern(_) => return None,
        })
    }
}

/// The id of a [`Subject`] that is no pattern, 128 bits long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark(u128);

impl Mark {
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
    pub fn all(subjects: &[Subject]) -> Vec<Self> {
        subjects.iter().filter_map(Subject::mark).collect()
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
pub struct Place {
    /// The first number: milliseconds with Redis.
    pub major: u64,
    /// The second number.
    pub minor: u64,
}

/// A place, and the order that it is in. An order is lost with what kept it, and another one begins; then nothing is
/// known of entries that refer to the old one, and they count as retired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// The order.
    pub order: u64,
    /// The place in it.
    pub place: Place,
}

/// What is retired at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retirement {
    /// By id.
    pub marks: Vec<Mark>,
    /// By pattern.
    pub patterns: Vec<String>,
    /// Whether a tag is among them: what an answer that is still running depends on is not known, so it may be
    /// this.
    pub by_tag: bool,
}

impl Retirement {
    /// The retirement of these subjects.
    pub fn of(subjects: &[Subject]) -> Self {
        let pattern = |subject: &Subject| match subject {
            Subject::Pattern(pattern) => Some(pattern.clone()),
            _ => None,
        };
        Self {
            marks: Mark::all(subjects),
            patterns: subjects.iter().filter_map(pattern).collect(),
            by_tag: subjects.iter().any(|subject| matches!(subject, Subject::Tag(_))),
        }
    }

    /// The kind that all entries are of which it is about, where there is one.
    pub fn only_kind(&self) -> Option<Kind> {
        let is_of =
            |kind: &Kind| self.marks == Mark::all(&[Subject::Kind(*kind)]) && self.patterns.is_empty();
        Kind::ALL.into_iter().find(is_of)
    }

    /// Whether it is about what has these dependencies, whenever that began.
    pub fn concerns(&self, of: &Dependencies<'_>) -> bool {
        self.marks.iter().any(|mark| of.marks().any(|own| own == *mark))
            || self.patterns.iter().any(|pattern| glob::matches(pattern, &of.key.local()))
    }
}

/// What an entry depends on.
#[derive(Clone, Copy, Debug)]
pub struct Dependencies<'a> {
    /// Its key.
    pub key: &'a Key,
    /// The rest.
    pub marks: &'a [Mark],
}

impl Dependencies<'_> {
    fn marks(&self) -> impl Iterator<Item = Mark> {
        let by_key = [Subject::All, Subject::Kind(self.key.kind()), Subject::Key(*self.key.digest())];
        by_key.into_iter().filter_map(|subject| subject.mark()).chain(self.marks.iter().copied())
    }
}

#[derive(Debug, Default)]
struct State {
    /// The order that is mirrored, and how far; `None` before anything is known.
    last: Option<Point>,
    /// What began before this counts as retired.
    floor: Place,
    /// The last retirement of a tag.
    last_by_tag: Place,
    retired: HashMap<Mark, Place>,
    /// The order of `retired`, oldest first; some may have been retired anew since.
    kept: VecDeque<(Place, Mark)>,
    patterns: VecDeque<(Place, String)>,
    /// It is no copy: there are no others.
    is_own: bool,
    /// When the copy was last known to be complete.
    heard: Option<Instant>,
    /// What could not be told to the others yet: retired, whenever it began.
    unsent: Vec<Retirement>,
}

/// The order of retirements, as far as this process knows it.
#[derive(Debug, Default)]
pub struct Generations {
    state: RwLock<State>,
    /// Nothing that began here or later is retired. Every lookup asks for it, so it is read without a lock.
    calm_since: ArcSwapOption<Point>,
}

impl Generations {
    /// The copy of an order that has no others: complete, to begin with.
    pub fn own() -> Self {
        let last = Some(Point { order: fastrand::u64(1..), place: Place::default() });
        let generations = Self::default();
        generations.change(|state| *state = State { last, is_own: true, ..State::default() });
        generations
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.write();
        let changed = change(&mut state);
        let calm_since = state.calm_since();
        if self.calm_since.load().as_deref() != calm_since.as_ref() {
            self.calm_since.store(calm_since.map(Arc::new));
        }
        changed
    }

    /// How far the copy goes; `None` where it may be behind, or nothing is known.
    pub fn now(&self, now: Instant) -> Option<Point> {
        let state = self.state.read();
        state.last.filter(|_| state.is_current(now))
    }

    /// How far the copy goes, be it behind.
    pub fn last(&self) -> Option<Point> {
        self.state.read().last
    }

    /// Whether an entry whose fill began at `began` is retired, as far as is known.
    pub fn is_retired(&self, began: Point, of: Dependencies<'_>) -> bool {
        let is_calm = |since: &Point| since.order == began.order && since.place <= began.place;
        !self.calm_since.load().as_deref().is_some_and(is_calm) && self.state.read().is_retired(began, &of)
    }

    /// Whether an answer that is still running, and was asked for when the copy went as far as `began`, may turn out to be
    /// retired. Without `began` nothing was known then: whatever is known now may have come since.
    pub fn may_be_retired(&self, began: Option<Point>, of: Dependencies<'_>) -> bool {
        let state = self.state.read();
        let is_unsent = || state.unsent.iter().any(|unsent| unsent.by_tag || unsent.concerns(&of));
        match began {
            None => is_unsent() || state.last.is_some(),
            Some(began) => state.is_retired(began, &of) || state.last_by_tag > began.place || is_unsent(),
        }
    }

    /// The last place at which something was retired that such an answer may depend on.
    pub fn last_concerning(&self, of: Dependencies<'_>) -> Place {
        let state = self.state.read();
        let marks = of.marks().filter_map(|mark| state.retired.get(&mark).copied()).max();
        marks.unwrap_or_default().max(state.last_by_tag).max(state.floor)
    }

    /// Retires at the next place of an order of one's own.
    pub fn retire(&self, retirement: &Retirement) -> Point {
        self.change(|state| {
            let mut point = state.last.unwrap_or_default();
            point.place.minor += 1;
            state.apply(point.place, retirement);
            state.last = Some(point);
            point
        })
    }

    /// Takes over what is retired at `point` of the mirrored order. What belongs to another order is left to
    /// [`Generations::begin`].
    pub fn apply(&self, point: Point, retirement: &Retirement) {
        self.change(|state| {
            if state.last.is_some_and(|last| last.order == point.order) {
                state.apply(point.place, retirement);
                state.last = state.last.map(|last| Point { place: last.place.max(point.place), ..last });
            }
        });
    }

    /// The same for what was retired from here, maybe as the first in another order.
    pub fn told(&self, point: Point, retirement: &Retirement) {
        if self.last().is_none_or(|last| last.order != point.order) {
            self.begin(point.order);
        }
        self.apply(point, retirement);
    }

    /// Begins to mirror another order, of which nothing is known so far.
    pub fn begin(&self, order: u64) {
        self.change(|state| {
            let unsent = std::mem::take(&mut state.unsent);
            let last = Some(Point { order, place: Place::default() });
            *state = State { last, unsent, ..State::default() };
        });
    }

    /// Says that nothing is known of what was retired at `place` and before that.
    pub fn forget_before(&self, place: Place) {
        self.change(|state| state.floor = state.floor.max(place));
    }

    /// Says that the copy was complete at `at`.
    pub fn heard(&self, at: Instant) {
        self.change(|state| state.heard = Some(at));
    }

    /// Retires here what could not be told to others.
    pub fn keep_unsent(&self, retirement: Retirement) {
        self.change(|state| {
            if state.unsent.len() < MAX_PATTERNS {
                state.unsent.push(retirement);
            } else {
                // Too much to remember: everything.
                state.unsent = vec![Retirement::of(&[Subject::All, Subject::Tag(String::new())])];
            }
        });
    }

    /// The oldest of what could not be told to others.
    pub fn unsent(&self) -> Option<Retirement> {
        self.state.read().unsent.first().cloned()
    }

    /// Says that the oldest was told.
    pub fn sent(&self, retirement: &Retirement) {
        self.change(|state| {
            if state.unsent.first() == Some(retirement) {
                state.unsent.remove(0);
            }
        });
    }
}

impl State {
    /// From which place on nothing is retired, where there is such a place.
    fn calm_since(&self) -> Option<Point> {
        let last = self.last.filter(|_| self.unsent.is_empty())?;
        Some(Point { place: last.place.max(self.floor), ..last })
    }

    fn is_current(&self, now: Instant) -> bool {
        // An instant later than `now` was taken by another thread meanwhile.
        let is_recent = |heard| now.saturating_duration_since(heard) < MAX_SILENCE;
        self.is_own || self.heard.is_some_and(is_recent)
    }

    fn is_retired(&self, began: Point, of: &Dependencies<'_>) -> bool {
        if self.last.is_none_or(|last| last.order != began.order) {
            return true;
        }
        if began.place < self.floor || self.unsent.iter().any(|unsent| unsent.concerns(of)) {
            return true;
        }
        of.marks().any(|mark| self.retired.get(&mark).is_some_and(|place| *place > began.place))
            || self
                .patterns
                .iter()
                .any(|(place, pattern)| *place > began.place && glob::matches(pattern, &of.key.local()))
    }

    fn apply(&mut self, place: Place, retirement: &Retirement) {
        for mark in &retirement.marks {
            let known = self.retired.entry(*mark).or_default();
            *known = place.max(*known);
            self.kept.push_back((place, *mark));
        }
        self.patterns.extend(retirement.patterns.iter().map(|pattern| (place, pattern.clone())));
        if retirement.by_tag {
            self.last_by_tag = self.last_by_tag.max(place);
        }
        while self.kept.len() > MAX_KEPT {
            if let Some((place, mark)) = self.kept.pop_front()
                && self.retired.get(&mark) == Some(&place)
            {
                self.retired.remove(&mark);
                self.floor = self.floor.max(place);
            }
        }
        while self.patterns.len() > MAX_PATTERNS {
            if let Some((place, _)) = self.patterns.pop_front() {
                self.floor = self.floor.max(place);
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

    fn tag(name: &str) -> Subject {
        Subject::Tag(name.to_owned())
    }

    fn now(generations: &Generations) -> Point {
        generations.now(Instant::now()).expect("it is current")
    }

    #[test]
    fn what_began_before_is_retired_and_what_began_after_is_not() {
        let key = key(Kind::Query, 7);
        let path = || Subject::Path("/d/1".to_owned());
        let marks = Mark::all(&[tag("doc"), path()]);
        let of = Dependencies { key: &key, marks: &marks };
        for (subject, concerned) in [
            (Subject::All, true),
            (Subject::Kind(Kind::Query), true),
            (Subject::Kind(Kind::Document), false),
            (Subject::Key([7; 32]), true),
            (Subject::Key([8; 32]), false),
            (tag("doc"), true),
            (tag("/d/1"), false),
            (path(), true),
            (Subject::Conversation("doc".to_owned()), false),
            (Subject::Pattern("query:07*".to_owned()), true),
            (Subject::Pattern("query:08*".to_owned()), false),
        ] {
            let generations = Generations::own();
            let before = now(&generations);
            let at = generations.retire(&Retirement::of(std::slice::from_ref(&subject)));
            assert_eq!(generations.is_retired(before, of), concerned, "{subject:?}");
            assert!(!generations.is_retired(at, of), "{subject:?}");
            assert_eq!(now(&generations), at);
        }
    }

    #[test]
    fn a_running_answer_may_depend_on_any_tag() {
        let (generations, key) = (Generations::own(), key(Kind::Query, 1));
        let of = Dependencies { key: &key, marks: &[] };
        let began = now(&generations);
        generations.retire(&Retirement::of(&[Subject::Path("/d/1".to_owned())]));
        assert!(!generations.may_be_retired(Some(began), of));
        let at = generations.retire(&Retirement::of(&[tag("doc")]));
        assert!(generations.may_be_retired(Some(began), of) && !generations.may_be_retired(Some(at), of));
        assert_eq!(generations.last_concerning(of), at.place);
    }

    #[test]
    fn a_copy_that_was_not_heard_of_is_not_current() {
        let (generations, now) = (Generations::default(), Instant::now());
        assert_eq!(generations.now(now), None);
        generations.begin(7);
        assert_eq!(generations.now(now), None);
        generations.heard(now);
        let start = Point { order: 7, place: Place::default() };
        assert_eq!(generations.now(now), Some(start));
        assert_eq!(generations.now(now + MAX_SILENCE), None);
        assert_eq!(generations.last(), Some(start));
    }

    #[test]
    fn another_order_knows_nothing_of_older_entries() {
        let (generations, key) = (Generations::default(), key(Kind::Query, 1));
        let of = Dependencies { key: &key, marks: &[] };
        generations.begin(7);
        let point = Point { order: 7, place: Place { major: 5, minor: 0 } };
        generations.apply(point, &Retirement::default());
        generations.apply(Point { order: 8, ..point }, &Retirement::of(&[Subject::All]));
        assert!(!generations.is_retired(point, of), "another order's");
        generations.forget_before(Place { major: 6, minor: 0 });
        assert!(generations.is_retired(point, of));
        generations.begin(8);
        assert!(generations.is_retired(Point { order: 7, place: Place { major: 9, minor: 0 } }, of));
    }

    #[test]
    fn what_could_not_be_told_is_retired_here_until_it_was() {
        let (generations, key) = (Generations::own(), key(Kind::Query, 1));
        let of = Dependencies { key: &key, marks: &Mark::all(&[tag("doc")]) };
        let retirement = Retirement::of(&[tag("doc")]);
        generations.keep_unsent(retirement.clone());
        let began = generations.last();
        assert!(generations.is_retired(now(&generations), of) && generations.may_be_retired(began, of));
        assert_eq!(generations.unsent(), Some(retirement.clone()));
        generations.sent(&retirement);
        assert!(!generations.is_retired(now(&generations), of) && !generations.may_be_retired(began, of));
        assert!(generations.may_be_retired(None, of), "what began before anything was known");
        for n in 0..=MAX_PATTERNS {
            generations.keep_unsent(Retirement::of(&[tag(&n.to_string())]));
        }
        assert!(generations.is_retired(now(&generations), of), "too much to remember");
    }

    #[test]
    fn forgetting_retires_more_and_never_less() {
        let (generations, key) = (Generations::own(), key(Kind::Query, 1));
        let tags: Vec<_> = (0..10).map(|n| tag(&n.to_string())).collect();
        let is_retired = |began, tag: &Subject| {
            let marks = Mark::all(std::slice::from_ref(tag));
            generations.is_retired(began, Dependencies { key: &key, marks: &marks })
        };
        let before = now(&generations);
        for tag in &tags[..5] {
            generations.retire(&Retirement::of(std::slice::from_ref(tag)));
        }
        assert!(!is_retired(before, &tags[9]));
        let filler = (0..MAX_KEPT as u128).map(|n| Mark(n << 64)).collect();
        generations.retire(&Retirement { marks: filler, ..Retirement::default() });
        assert!(generations.state.read().kept.len() <= MAX_KEPT);
        for tag in &tags {
            assert!(is_retired(before, tag) && !is_retired(now(&generations), tag), "{tag:?}");
        }
    }
}
