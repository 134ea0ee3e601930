//! The replay: what the hits would have been with another TTL and another store. Pure.
//!
//! Hits and misses are counted as `/health` counts them: a request that joins a running answer is a miss, and what did
//! not ask the store is neither. What the log says was not stored stays a miss. Of what was invalidated, a log says
//! nothing: the replay keeps it.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use super::{
    store::Store,
    trace::{Request, Told, Trace},
};
use crate::time::micros;

/// The log has times to the millisecond. Where two requests were as close as that, it is believed about who joined.
const PRECISION: i64 = 1000;

/// How long answers are fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ttl {
    /// As when the log was written.
    AsLogged,
    Of(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) ttl: Ttl,
    /// The bound of the store in bytes; `None` for no bound.
    pub(super) max_memory: Option<u64>,
}

/// What came of a replay, or of the run that the log tells of.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) hits: u64,
    pub(super) misses: u64,
    /// In microseconds: so old was the answer of half of the hits at least.
    pub(super) half_age: u64,
    /// The same of a twentieth of the hits.
    pub(super) old_age: u64,
    /// The upstream's time that the hits saved, in microseconds.
    pub(super) saved: i64,
    /// What they saved in each currency.
    pub(super) cost: Vec<f64>,
    /// The most bytes in the store; `None` for the run itself.
    pub(super) peak: Option<u64>,
}

impl Outcome {
    /// The share of hits, from 0 to 1.
    pub(super) fn hit_rate(&self) -> f64 {
        self.hits as f64 / (self.hits + self.misses).max(1) as f64
    }
}

/// What the log itself shows.
pub(super) fn measured(trace: &Trace) -> Outcome {
    let mut tally = Tally::new(trace);
    for request in &trace.requests {
        match request.told {
            Told::Hit | Told::Stale => tally.hit(request, request.age),
            Told::Miss | Told::Joined | Told::NotStored => tally.outcome.misses += 1,
            Told::Refresh => {}
        }
    }
    tally.end(None)
}

/// What it would have been like with `setting`.
pub(super) fn replay(trace: &Trace, setting: Setting) -> Outcome {
    let mut run = Run {
        trace,
        setting,
        store: Store::new(trace.answers.iter().map(|answer| answer.shard), setting.max_memory),
        coming: BinaryHeap::new(),
        whole_at: vec![i64::MIN; trace.answers.len()],
        tally: Tally::new(trace),
    };
    trace.requests.iter().for_each(|request| run.step(request));
    run.store_until(i64::MAX);
    run.tally.end(Some(run.store.peak))
}

/// A replay under way.
struct Run<'a> {
    trace: &'a Trace,
    setting: Setting,
    store: Store,
    /// The answers that come, and when each is whole.
    coming: BinaryHeap<Reverse<(i64, u32)>>,
    /// When which answer is whole, or was.
    whole_at: Vec<i64>,
    tally: Tally<'a>,
}

impl Run<'_> {
    fn step(&mut self, request: &Request) {
        let Request { at, age, answer, told, .. } = *request;
        let slack = if told == Told::Joined { -PRECISION } else { PRECISION };
        self.store_until(at.saturating_add(slack));
        let is_hit = matches!(told, Told::Hit | Told::Stale);
        if is_hit && self.store.is_new(answer) && self.whole_at[answer as usize] == i64::MIN {
            // It was stored before the log begins.
            self.put(answer, at.saturating_sub_unsigned(age));
        }
        match told {
            Told::NotStored => self.tally.outcome.misses += 1,
            Told::Refresh => self.fetch(request),
            Told::Hit | Told::Stale | Told::Miss | Told::Joined => match self.store.look(answer, at) {
                Some(since) if at.saturating_add(slack) >= since => {
                    self.tally.hit(request, u64::try_from(at - since).unwrap_or(0));
                }
                _ => {
                    self.tally.outcome.misses += 1;
                    let is_coming = at.saturating_add(slack) < self.whole_at[answer as usize];
                    if !is_coming {
                        self.fetch(request);
                    }
                }
            },
        }
    }

    /// Asks the upstream.
    fn fetch(&mut self, request: &Request) {
        let number = request.answer;
        let was_asked = !matches!(request.told, Told::Hit | Told::Stale);
        let took = if was_asked { request.duration } else { self.trace.answers[number as usize].took };
        let whole_at = request.at.saturating_add(took);
        self.whole_at[number as usize] = whole_at;
        self.coming.push(Reverse((whole_at, number)));
    }

    /// Stores the answers that are whole by `time`.
    fn store_until(&mut self, time: i64) {
        while let Some(&Reverse((whole_at, number))) = self.coming.peek() {
            if whole_at > time {
                break;
            }
            self.coming.pop();
            self.put(number, whole_at);
        }
    }

    fn put(&mut self, number: u32, since: i64) {
        let answer = &self.trace.answers[number as usize];
        let life = match self.setting.ttl {
            Ttl::AsLogged => answer.life,
            Ttl::Of(ttl) => i64::try_from(micros(ttl)).unwrap_or(i64::MAX),
        };
        self.store.put(number, answer.size, since, life);
    }
}

/// The sums of a run.
struct Tally<'a> {
    trace: &'a Trace,
    outcome: Outcome,
    ages: Vec<u64>,
}

impl<'a> Tally<'a> {
    fn new(trace: &'a Trace) -> Self {
        let cost = vec![0.0; trace.currencies.len()];
        Self { trace, outcome: Outcome { cost, ..Outcome::default() }, ages: Vec::new() }
    }

    fn hit(&mut self, request: &Request, age: u64) {
        let answer = &self.trace.answers[request.answer as usize];
        self.outcome.hits += 1;
        self.ages.push(age);
        let own = if matches!(request.told, Told::Hit | Told::Stale) { request.duration } else { 0 };
        self.outcome.saved += (answer.took - own).max(0);
        if let Some((cost, currency)) = answer.cost {
            self.outcome.cost[currency as usize] += cost;
        }
    }

    fn end(mut self, peak: Option<u64>) -> Outcome {
        let half_age = reached_by(&mut self.ages, 2);
        let old_age = reached_by(&mut self.ages, 20);
        Outcome { half_age, old_age, peak, ..self.outcome }
    }
}

/// What one in `share` of `ages` reaches.
fn reached_by(ages: &mut [u64], share: usize) -> u64 {
    if ages.is_empty() {
        return 0;
    }
    let place = ages.len() - ages.len().div_ceil(share);
    *ages.select_nth_unstable(place).1
}

#[cfg(test)]
mod tests;
