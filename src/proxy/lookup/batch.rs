//! What the store holds for the inputs of a request, each by itself.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    cache::{
        entry::Entry,
        key::Key,
        status::{CacheReport, Forward},
    },
    dialect::{Vectors, usage::Usage},
    proxy::{
        cached::{Found, Lookup},
        lookup::judge,
        plan::FillPlan,
    },
};

/// How far a stored vector is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It is the answer.
    Fresh,
    /// It is the answer, and is to be asked for anew.
    Stale,
    /// It will do where the upstream fails.
    Fallback,
}

/// A stored vector, in the answer that its input alone would get.
#[derive(Debug)]
struct Part {
    found: Found,
    vectors: Vectors,
    of_use: Use,
}

/// What the store holds for distinct inputs, in their order.
#[derive(Debug)]
pub struct Stored {
    parts: Vec<Option<Part>>,
    /// Why the first one that has no answer has none.
    pub forward: Forward,
    /// Whether the store could not be asked for some of them.
    pub failed: bool,
}

impl Stored {
    /// Nothing for that many.
    pub fn nothing(count: usize) -> Self {
        Self { parts: (0..count).map(|_| None).collect(), forward: Forward::UriMiss, failed: false }
    }

    /// Asks the store for `keys`, in one round trip; an answer to the request holds `inputs` vectors.
    pub async fn look(plan: &FillPlan, keys: &[Key], inputs: usize) -> Self {
        let mut stored = Self { parts: Vec::with_capacity(keys.len()), ..Self::nothing(0) };
        let mut forward = None;
        for (key, found) in keys.iter().zip(plan.shared().store.get_many(keys).await) {
            stored.failed |= found.is_err();
            let lookup = match found {
                Ok(Some(entry)) => judge(plan, key, entry),
                Ok(None) => Forward::UriMiss.into(),
                Err(_) => Forward::Miss.into(),
            };
            let (found, of_use) = match lookup {
                Lookup::Hit(found) => (Some(found), Use::Fresh),
                Lookup::Stale(found) => (Some(found), Use::Stale),
                Lookup::Miss(miss) => {
                    forward.get_or_insert(miss.forward);
                    (miss.fallback.map(|fallback| fallback.found), Use::Fallback)
                }
            };
            let part = found.and_then(|found| stored.part(found, of_use, inputs));
            stored.parts.push(part);
        }
        stored.forward = forward.unwrap_or(Forward::Miss);
        stored
    }

    /// What was found, if it is a vector, and can stand in the answer.
    fn part(&self, found: Found, of_use: Use, inputs: usize) -> Option<Part> {
        let vectors = Vectors::stored(&found.entry.body).ok()?;
        let first = self.parts.iter().flatten().next();
        let fits =
            (vectors.is_list() || inputs == 1) && first.is_none_or(|first| first.vectors.is_like(&vectors));
        fits.then_some(Part { found, vectors, of_use })
    }

    fn is(&self, number: usize, of_use: &[Use]) -> bool {
        self.parts[number].as_ref().is_some_and(|part| of_use.contains(&part.of_use))
    }

    /// Those that the upstream is to be asked for.
    pub fn lacking(&self) -> Vec<usize> {
        (0..self.parts.len()).filter(|number| !self.is(*number, &[Use::Fresh])).collect()
    }

    /// Whether nobody need wait for the upstream.
    pub fn serves_all(&self) -> bool {
        (0..self.parts.len()).all(|number| self.is(number, &[Use::Fresh, Use::Stale]))
    }

    /// How many of `order` the store answers.
    pub fn hits(&self, order: &[usize]) -> usize {
        if self.serves_all() { order.len() } else { self.fresh(order).count() }
    }

    fn fresh(&self, order: &[usize]) -> impl Iterator<Item = &Part> {
        let parts = order.iter().filter_map(|number| self.parts[*number].as_ref());
        parts.filter(|part| part.of_use == Use::Fresh)
    }

    /// The answer to `order` that is all from the store, if there is one.
    pub fn answer(&self, order: &[usize]) -> Option<Found> {
        let parts: Vec<_> = order.iter().map(|number| self.parts[*number].as_ref()).collect::<Option<_>>()?;
        let places: Vec<_> = parts.iter().map(|part| (&part.vectors, 0)).collect();
        let body = parts.first()?.vectors.with(&places)?;
        let mut found = sum(&parts, body)?;
        found.report.key = found.report.key.filter(|_| self.parts.len() == 1);
        found.report.inputs = (order.len() > 1).then_some((order.len(), order.len()));
        Some(found)
    }

    /// The answer to `order` with what the upstream has told of those that were `lacking`; `None` where the two cannot
    /// stand in one answer.
    pub fn completed(&self, order: &[usize], lacking: &[usize], told: &Vectors) -> Option<Bytes> {
        let mut places: Vec<_> =
            self.parts.iter().map(|part| part.as_ref().map(|part| (&part.vectors, 0))).collect();
        for (place, number) in lacking.iter().enumerate() {
            places[*number] = Some((told, place));
        }
        told.with(&order.iter().map(|number| places[*number]).collect::<Option<Vec<_>>>()?)
    }

    /// What need not be asked for of `order`, summed up; `None` where that is nothing.
    pub fn found(&self, order: &[usize]) -> Option<Found> {
        sum(&self.fresh(order).collect::<Vec<_>>(), Bytes::new())
    }
}

/// What is told of several stored answers that were put together in `body`; each input counts.
fn sum(parts: &[&Part], body: Bytes) -> Option<Found> {
    let (first, reports) = (parts.first()?, || parts.iter().map(|part| &part.found.report));
    let entries = || parts.iter().map(|part| &part.found.entry);
    let entry = Entry {
        body,
        took: entries().map(|entry| entry.took).max().unwrap_or(Duration::ZERO),
        usage: entries().filter_map(|entry| entry.usage).reduce(Usage::plus),
        ..(*first.found.entry).clone()
    };
    let report = CacheReport {
        age: reports().filter_map(|report| report.age).max(),
        ttl: reports().filter_map(|report| report.ttl).min(),
        ..first.found.report.clone()
    };
    let is_stale = parts.iter().any(|part| part.of_use != Use::Fresh);
    let report = if is_stale { report.stale() } else { report };
    Some(Found { entry: Arc::new(entry), report, ..first.found.clone() })
}

/// The answer to a question for several inputs, where all of it has been stored since they were looked up.
pub async fn stored_meanwhile(plan: &FillPlan) -> Option<Found> {
    // A single one comes with the turn.
    let wanted = plan.wanted.as_ref().filter(|wanted| wanted.keys().len() > 1)?;
    let stored = Stored::look(plan, wanted.keys(), wanted.keys().len()).await;
    let order: Vec<_> = (0..wanted.keys().len()).collect();
    if stored.lacking().is_empty() { stored.answer(&order) } else { None }
}
