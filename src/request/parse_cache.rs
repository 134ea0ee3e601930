//! A cache of what bodies say, so that a body that comes again is not parsed again.
//!
//! Hand-written for its size: a body takes one line of the processor's cache, so as many are known as there
//! are answers in the store. Hits among a million answers come at 0.82 to 0.90 times the rate of hits among
//! ten; with the 16,384 bodies of some 300 bytes that were known before, it was 0.61 to 0.64.
//!
//! A body is known by the keyed BLAKE3 digest of its bytes, which nobody outside can predict. What it says
//! has two parts. The digest of what counts is its own. The common part, which many bodies share, is stored
//! once: the model, the form of the answer, the route and the path.

use std::{
    hash::{BuildHasher, RandomState},
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use crate::{
    cache::{
        hash_table::{HashTable, Item},
        route::Route,
    },
    request::body::ParsedBody,
};

/// The bodies are divided among so many shards, each with its own lock.
const SHARDS: u64 = 64;

/// The most common parts that are remembered.
const COMMON_PARTS: usize = 1024;

/// In how many slots a common part may be.
const CHOICES: u64 = 4;

/// What a body takes, in bytes.
const CELL_BYTES: u64 = size_of::<Option<KnownBody>>() as u64;

/// The cache may always take this much, in bytes.
const MIN_BYTES: u64 = 1024 * 1024;

#[derive(Debug)]
pub(crate) struct ParseCache {
    shards: Box<[Mutex<Shard>]>,
    /// The most bodies in one generation of a shard.
    generation: usize,
    /// Each is in one of [`CHOICES`] slots, which its hash selects.
    common_parts: Box<[ArcSwapOption<CommonPart>]>,
    hasher: RandomState,
    /// Keys the digests of the bodies.
    key: [u8; blake3::KEY_LEN],
    /// The number of the next common part.
    next_number: AtomicU64,
}

/// Identifies a body: 192 bits of its keyed digest. A collision takes 2^96 tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BodyId([u8; 24]);

/// What a body says, on the route and the path of its common part.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct KnownBody {
    body: BodyId,
    /// The digest of what counts in the body.
    counts: blake3::Hash,
    /// The number of its common part. No other one ever gets the same number.
    common: NonZeroU64,
}

impl Item for KnownBody {
    fn hash(&self) -> u32 {
        self.body.hash()
    }
}

#[derive(Debug)]
struct CommonPart {
    number: NonZeroU64,
    /// On another route or path, the same bytes may say something else.
    route: Arc<Route>,
    path: Box<str>,
    /// Its digest is that of one of the bodies.
    parsed: ParsedBody,
}

/// Bodies in two generations. A body that comes goes to the younger one. When that is full, it replaces the
/// older one, whose bodies are forgotten.
#[derive(Debug, Default)]
struct Shard {
    younger: HashTable<KnownBody>,
    older: HashTable<KnownBody>,
}

impl ParseCache {
    /// A cache in front of a store that takes `memory` bytes: it takes an eighth of that at most, or 1 MiB.
    pub(crate) fn for_store(memory: u64) -> Self {
        let cells = (memory / 8).max(MIN_BYTES) / CELL_BYTES / SHARDS / 2;
        let hasher = RandomState::new();
        let mut key = [0; blake3::KEY_LEN];
        for (part, number) in key.as_chunks_mut().0.iter_mut().zip(0_u8..) {
            *part = hasher.hash_one(number).to_le_bytes();
        }
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            generation: HashTable::<KnownBody>::room_within(usize::try_from(cells).unwrap_or(usize::MAX)),
            common_parts: (0..COMMON_PARTS).map(|_| ArcSwapOption::empty()).collect(),
            hasher,
            key,
            next_number: AtomicU64::new(1),
        }
    }

    pub(crate) fn body_id(&self, body: &[u8]) -> BodyId {
        let digest = blake3::keyed_hash(&self.key, body);
        BodyId(std::array::from_fn(|at| digest.as_bytes()[at]))
    }

    /// What the body `id` says when it is sent to `route` at `path`, if that is known.
    pub(crate) fn recall(&self, id: &BodyId, route: &Arc<Route>, path: &str) -> Option<ParsedBody> {
        let known = self.shard(id).lock().find(id, self.generation)?;
        let common = self.common_parts[slot(known.common.get())].load();
        let common =
            common.as_ref().filter(|common| common.number == known.common && common.is_of(route, path))?;
        let digest = common.parsed.digest.with(known.counts);
        Some(ParsedBody { digest, ..common.parsed.clone() })
    }

    /// Remembers what the body `id` says. A large one is not worth it.
    pub(crate) fn remember(&self, id: BodyId, route: &Arc<Route>, path: &str, parsed: &ParsedBody) {
        if parsed.is_small()
            && let Some(common) = self.common_number(route, path, parsed)
        {
            let known = KnownBody { body: id, counts: parsed.digest.hash(), common };
            self.shard(&id).lock().put(known, self.generation);
        }
    }

    /// The number of the common part of `parsed`, which is added if it is new.
    fn common_number(&self, route: &Arc<Route>, path: &str, parsed: &ParsedBody) -> Option<NonZeroU64> {
        let hash = self.hasher.hash_one((Arc::as_ptr(route), path, parsed.common()));
        let slots = (0..CHOICES).map(|further| slot(hash.wrapping_add(further)));
        let number_if_same = |at: usize| {
            let common = self.common_parts[at].load();
            let common = common.as_ref().filter(|common| common.is_of(route, path))?;
            (common.parsed.common() == parsed.common()).then_some(common.number)
        };
        if let Some(number) = slots.clone().find_map(number_if_same) {
            return Some(number);
        }
        let free = slots.clone().find(|at| self.common_parts[*at].load().is_none());
        let at = free.unwrap_or(slot(hash));
        // The slot is in the number, and the rest of the number is used only once.
        let number = NonZeroU64::new(
            self.next_number.fetch_add(1, Ordering::Relaxed) * COMMON_PARTS as u64 + at as u64,
        )?;
        let route = Arc::clone(route);
        let common = CommonPart { number, route, path: path.into(), parsed: parsed.clone() };
        self.common_parts[at].store(Some(Arc::new(common)));
        Some(number)
    }

    fn shard(&self, id: &BodyId) -> &Mutex<Shard> {
        &self.shards[usize::from(id.0[0]) % self.shards.len()]
    }
}

/// The slot of the common part with this number.
const fn slot(number: u64) -> usize {
    (number % COMMON_PARTS as u64) as usize
}

impl CommonPart {
    fn is_of(&self, route: &Arc<Route>, path: &str) -> bool {
        Arc::ptr_eq(&self.route, route) && *self.path == *path
    }
}

impl BodyId {
    /// Bytes of the digest, beside the one that selects the shard.
    pub(super) const fn hash(&self) -> u32 {
        let [_, a, b, c, d, ..] = self.0;
        u32::from_le_bytes([a, b, c, d])
    }
}

impl Shard {
    fn find(&mut self, id: &BodyId, generation: usize) -> Option<KnownBody> {
        let is_same = |known: &KnownBody| known.body == *id;
        if let Some(known) = self.younger.find(id.hash(), is_same) {
            return Some(*known);
        }
        let known = self.older.remove(id.hash(), is_same)?;
        self.put(known, generation);
        Some(known)
    }

    fn put(&mut self, known: KnownBody, generation: usize) {
        if self.younger.len() >= generation {
            self.older = std::mem::take(&mut self.younger);
        }
        match self.younger.find_mut(known.hash(), |other| other.body == known.body) {
            Some(other) => *other = known,
            None => self.younger.insert(known),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        cache::{
            invalidation::resource::Resources,
            key::Body,
            route::{Scope, kind::Kind},
        },
        dialect::Dialect,
        json::Json,
        request::body::BodyContext,
    };

    const PATH: &str = "/ask";

    fn route() -> Arc<Route> {
        let route = Route::new("POST /ask", Kind::Query, Duration::from_secs(60), Scope::Credential);
        Arc::new(route.expect("a route"))
    }

    fn read(route: &Route, body: &str) -> ParsedBody {
        let context =
            BodyContext { route, path: PATH, resources: &Resources::default(), log_questions: false };
        let json = Json::parse(body.as_bytes()).expect("JSON");
        ParsedBody::new(context, Dialect::OpenAiChat, &json, body.as_bytes(), Body::Json(&json))
    }

    fn remember(parse_cache: &ParseCache, route: &Arc<Route>, body: &str) {
        parse_cache.remember(parse_cache.body_id(body.as_bytes()), route, PATH, &read(route, body));
    }

    fn recall(parse_cache: &ParseCache, route: &Arc<Route>, body: &str) -> Option<ParsedBody> {
        parse_cache.recall(&parse_cache.body_id(body.as_bytes()), route, PATH)
    }

    #[test]
    fn it_has_its_bound_and_keeps_what_comes_again() {
        let parse_cache = ParseCache::for_store(0);
        let route = route();
        let body = |number: u32| format!(r#"{{"model":"m","messages":[{number}]}}"#);
        let most = u32::try_from(MIN_BYTES / CELL_BYTES).expect("some thousands");
        remember(&parse_cache, &route, &body(0));
        for number in 1..2 * most {
            remember(&parse_cache, &route, &body(number));
            assert!(recall(&parse_cache, &route, &body(0)).is_some(), "after {number} others");
        }
        let known = |shard: &Mutex<Shard>| {
            let shard = shard.lock();
            shard.younger.len() + shard.older.len()
        };
        let known: usize = parse_cache.shards.iter().map(known).sum();
        assert!((most as usize / 4..=most as usize).contains(&known), "{known} of {most}");
        assert!(recall(&parse_cache, &route, &body(1)).is_none());
    }

    /// However many common parts there were: a body gets its own, or none.
    #[test]
    fn a_replaced_common_part_is_nobodys() {
        let parse_cache = ParseCache::for_store(1 << 30);
        let route = route();
        let body = |number: usize| format!(r#"{{"model":"m{number}","messages":[]}}"#);
        for number in 0..4 * COMMON_PARTS {
            remember(&parse_cache, &route, &body(number));
        }
        let found = (0..4 * COMMON_PARTS)
            .filter_map(|number| Some((number, recall(&parse_cache, &route, &body(number))?)));
        let found: Vec<_> = found.collect();
        assert!(
            (COMMON_PARTS / 2..=COMMON_PARTS).contains(&found.len()),
            "{} of {COMMON_PARTS}",
            found.len()
        );
        for (number, parsed) in found {
            assert_eq!(format!("{parsed:?}"), format!("{:?}", read(&route, &body(number))));
        }
    }
}
