//! Misses that a stored answer would have served, but for one part of the request.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
};

use super::parts::{PartKind, Parts};

/// What one remembered fingerprint takes in memory, in bytes: twice eight in the table and the queue, a time, and room.
const COST: usize = 40;

/// The most names of parts that are told apart.
const MAX_NAMES: usize = 2048;
/// The most bytes of a name.
const MAX_NAME: usize = 200;

/// How often a part must have been the only difference to be told.
const MIN_COUNT: u64 = 3;
/// The least share of a route's misses that is told.
const MIN_SHARE: f64 = 0.01;

/// The bits by which distinct values are counted.
const BITS: usize = 256;

/// A part that alone kept requests of a route from a stored answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AlmostHit {
    pub(crate) route: String,
    pub(crate) kind: PartKind,
    pub(crate) name: String,
    /// How many misses would have been hits.
    pub(crate) count: u64,
    /// Their share of the route's misses.
    pub(crate) share: f64,
    /// Whether nearly every request had another value. Of credentials: whether they were mostly new ones, which the
    /// service has to accept before they can share answers.
    pub(crate) is_new_each_time: bool,
    /// The other query parameters of such a request.
    pub(crate) other_parameters: Vec<String>,
}

/// What is remembered of stored requests, and what misses showed.
#[derive(Debug)]
pub(crate) struct AlmostHits {
    /// The most fingerprints.
    capacity: usize,
    /// When each fingerprint was stored, in seconds.
    stored: Stored,
    /// The fingerprints with their times, the oldest first.
    order: VecDeque<(u64, u32)>,
    routes: HashMap<String, RouteMisses>,
    names: usize,
}

#[derive(Debug, Default)]
struct RouteMisses {
    misses: u64,
    parts: HashMap<(PartKind, String), PartMisses>,
}

#[derive(Debug)]
struct PartMisses {
    count: u64,
    /// Misses with credentials that the service had not accepted before: they would have missed under any scope.
    unaccepted: u64,
    seen: [u64; BITS / 64],
    other_parameters: Vec<String>,
}

/// When each fingerprint was stored.
type Stored = HashMap<u64, u32, BuildHasherDefault<Itself>>;

/// A fingerprint is a hash under a secret, and needs no other one.
#[derive(Debug, Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
}

impl AlmostHits {
    /// Remembers what fits into this many bytes.
    pub(crate) fn new(memory: usize) -> Self {
        Self {
            capacity: memory / COST,
            stored: Stored::default(),
            order: VecDeque::new(),
            routes: HashMap::new(),
            names: 0,
        }
    }

    /// Notes that the answer to a request is stored, at `now` in seconds.
    pub(crate) fn stored(&mut self, fingerprints: &[u64], now: u32) {
        for fingerprint in fingerprints {
            while self.order.len() >= self.capacity {
                let Some((oldest, since)) = self.order.pop_front() else { return };
                if self.stored.get(&oldest) == Some(&since) {
                    self.stored.remove(&oldest);
                }
            }
            self.stored.insert(*fingerprint, now);
            self.order.push_back((*fingerprint, now));
        }
    }

    /// Notes a miss of a request on `route`, whose answers are fresh for `ttl` seconds.
    pub(crate) fn missed(&mut self, route: &str, parts: &Parts, now: u32, ttl: u32) {
        let is_fresh = |stored: &Stored, fingerprint: &u64| {
            stored.get(fingerprint).is_some_and(|since| now.saturating_sub(*since) < ttl)
        };
        if !self.routes.contains_key(route) {
            self.routes.insert(route.to_owned(), RouteMisses::default());
        }
        let Some(own) = self.routes.get_mut(route) else { return };
        own.misses += 1;
        // The very request has an answer, which did not serve it for another reason.
        if is_fresh(&self.stored, &parts.whole) {
            return;
        }
        for candidate in &parts.candidates {
            let is_known =
                is_fresh(&self.stored, &candidate.without) || is_fresh(&self.stored, &candidate.lacking);
            let name = parts.name(candidate);
            if !is_known || name.len() > MAX_NAME {
                continue;
            }
            let key = (candidate.kind, name.to_owned());
            if !own.parts.contains_key(&key) {
                if self.names == MAX_NAMES {
                    continue;
                }
                self.names += 1;
            }
            let part = own.parts.entry(key).or_insert_with(|| PartMisses {
                count: 0,
                unaccepted: 0,
                seen: [0; BITS / 64],
                other_parameters: Vec::new(),
            });
            if candidate.kind == PartKind::Credential && !is_fresh(&self.stored, &candidate.value) {
                part.unaccepted += 1;
            } else {
                part.count += 1;
            }
            let bit = candidate.value as usize % BITS;
            part.seen[bit / 64] |= 1 << (bit % 64);
            if candidate.kind == PartKind::Query {
                part.other_parameters =
                    parts.query_names().filter(|other| *other != name).take(8).map(str::to_owned).collect();
            }
        }
    }

    /// The parts that would have saved the most, those first.
    pub(crate) fn report(&self) -> Vec<AlmostHit> {
        let mut found = Vec::new();
        for (route, misses) in &self.routes {
            for ((kind, name), part) in &misses.parts {
                let share = part.count as f64 / misses.misses as f64;
                let is_new = part.unaccepted > part.count;
                if (part.count >= MIN_COUNT && share >= MIN_SHARE) || (is_new && part.unaccepted >= MIN_COUNT)
                {
                    found.push(AlmostHit {
                        route: route.clone(),
                        kind: *kind,
                        name: name.clone(),
                        count: part.count,
                        share,
                        is_new_each_time: match kind {
                            PartKind::Credential => is_new,
                            _ => part.distinct() >= 0.5 * part.count.min(BITS as u64) as f64,
                        },
                        other_parameters: part.other_parameters.clone(),
                    });
                }
            }
        }
        found.sort_by(|a, b| (b.count, &a.route, &a.name).cmp(&(a.count, &b.route, &b.name)));
        found
    }
}

impl PartMisses {
    /// About how many values there were (linear counting).
    fn distinct(&self) -> f64 {
        let zeros = self.seen.iter().map(|bits| bits.count_zeros()).sum::<u32>();
        let bits = BITS as f64;
        -bits * (f64::from(zeros.max(1)) / bits).ln()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::insight::parts::PartsBuilder;

    fn parts(question: u32, run: u32, tenant: u32) -> Parts {
        let mut builder = PartsBuilder::new("r");
        builder.add(PartKind::Header, "x-run", run.to_string().as_bytes());
        builder.add(PartKind::Header, "x-tenant", tenant.to_string().as_bytes());
        let body = format!(r#"{{"query":"What is {question}?","top_k":4}}"#);
        builder.add_body(body.as_bytes(), &[], |_, _| false);
        builder.finish()
    }

    fn remembered(almost_hits: &mut AlmostHits, parts: &Parts, now: u32) {
        almost_hits.missed("r", parts, now, 60);
        almost_hits.stored(&parts.fingerprints().collect::<Vec<_>>(), now);
    }

    #[test]
    fn a_part_that_differs_again_and_again_is_told_with_its_share() {
        let mut almost_hits = AlmostHits::new(1 << 20);
        for run in 0..40 {
            remembered(&mut almost_hits, &parts(run % 10, run, run % 10 % 2), 1);
        }
        let report = almost_hits.report();
        assert_eq!(report.len(), 1, "{report:?}");
        let AlmostHit { kind, name, count, share, is_new_each_time, .. } = &report[0];
        assert_eq!((*kind, &**name, *count, *is_new_each_time), (PartKind::Header, "x-run", 30, true));
        assert!((share - 0.75).abs() < 1e-9);
    }

    #[test]
    fn a_few_values_are_told_apart_from_new_ones() {
        let mut almost_hits = AlmostHits::new(1 << 20);
        for question in 0..20 {
            for tenant in 0..2 {
                remembered(&mut almost_hits, &parts(question, 0, tenant), 1);
            }
        }
        let report = almost_hits.report();
        assert_eq!((report.len(), &*report[0].name, report[0].is_new_each_time), (1, "x-tenant", false));
    }

    #[test]
    fn what_is_no_longer_fresh_would_be_no_hit() {
        let mut almost_hits = AlmostHits::new(1 << 20);
        (0..10).for_each(|run| remembered(&mut almost_hits, &parts(0, run, 0), run * 100));
        assert_eq!(almost_hits.report(), []);
    }

    proptest! {
        /// However many requests come, what is remembered stays within its bounds.
        #[test]
        fn memory_is_bounded(requests in proptest::collection::vec((0..50_u32, 0..50_u32, 0..9_u32), 0..300)) {
            let mut almost_hits = AlmostHits::new(100 * COST);
            for (now, (question, run, tenant)) in requests.into_iter().enumerate() {
                remembered(&mut almost_hits, &parts(question, run, tenant), now as u32);
                prop_assert!(almost_hits.order.len() <= 100 && almost_hits.stored.len() <= 100);
            }
        }
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let mut almost_hits = AlmostHits::new(1 << 24);
        for number in 0..3 * MAX_NAMES {
            for value in 0..2 {
                let mut builder = PartsBuilder::new("r");
                builder.add(PartKind::Header, &format!("x-{number}"), &[value]);
                remembered(&mut almost_hits, &builder.finish(), 1);
            }
        }
        assert_eq!(almost_hits.routes["r"].parts.len(), MAX_NAMES);
    }
}
