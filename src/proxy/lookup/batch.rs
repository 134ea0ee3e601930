//! The lookup of a batch: what the store has for each input.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    cache::{
        entry::Entry,
        key::Key,
        status::{CacheReport, Forward},
    },
    dialect::{Answers, Shape, usage::Usage},
    proxy::{
        cached::{Found, Lookup},
        lookup::judge,
        plan::FillPlan,
    },
    request::batch::Batch,
};

/// How a stored answer may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// As the answer.
    Fresh,
    /// As the answer, while a refresh runs.
    Stale,
    /// Only if the upstream fails.
    Fallback,
}

/// The stored answer to one input.
#[derive(Debug)]
struct Part {
    found: Found,
    answer: Answers,
    of_use: Use,
}

/// What the store has for the distinct inputs, in their order.
#[derive(Debug)]
pub(crate) struct Stored {
    parts: Vec<Option<Part>>,
    /// Why the first input without an answer has none.
    pub(crate) forward: Forward,
    /// Whether the store failed for some of them.
    pub(crate) failed: bool,
}

impl Stored {
    /// Nothing, for that many inputs.
    pub(crate) fn nothing(count: usize) -> Self {
        Self { parts: (0..count).map(|_| None).collect(), forward: Forward::UriMiss, failed: false }
    }

    /// Asks the store for the `keys` of a request with this many inputs, in one round trip.
    pub(crate) async fn look(plan: &FillPlan, shape: &Shape, keys: &[Key], inputs: usize) -> Self {
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
            let part = found.and_then(|found| stored.part(shape, found, of_use, inputs));
            stored.parts.push(part);
        }
        stored.forward = forward.unwrap_or(Forward::Miss);
        stored
    }

    /// The entry that was found, if its answer is of the same kind as the others.
    fn part(&self, shape: &Shape, found: Found, of_use: Use, inputs: usize) -> Option<Part> {
        let answer = Answers::stored(shape, &found.entry.body).ok()?;
        let first = self.parts.iter().flatten().next();
        let fits =
            (answer.is_list() || inputs == 1) && first.is_none_or(|first| first.answer.is_like(&answer));
        fits.then_some(Part { found, answer, of_use })
    }

    fn is(&self, number: usize, of_use: &[Use]) -> bool {
        self.parts[number].as_ref().is_some_and(|part| of_use.contains(&part.of_use))
    }

    /// The inputs that the upstream is asked for.
    pub(crate) fn lacking(&self) -> Vec<usize> {
        (0..self.parts.len()).filter(|number| !self.is(*number, &[Use::Fresh])).collect()
    }

    /// Whether no client need wait for the upstream.
    pub(crate) fn serves_all(&self) -> bool {
        (0..self.parts.len()).all(|number| self.is(number, &[Use::Fresh, Use::Stale]))
    }

    /// How many of `order` the store answers.
    pub(crate) fn hits(&self, order: &[usize]) -> usize {
        if self.serves_all() { order.len() } else { self.fresh(order).count() }
    }

    fn fresh(&self, order: &[usize]) -> impl Iterator<Item = &Part> {
        let parts = order.iter().filter_map(|number| self.parts[*number].as_ref());
        parts.filter(|part| part.of_use == Use::Fresh)
    }

    /// The answer to `order` from the store alone, fresh or not, with at most `limit` results; `None` if an input is
    /// missing.
    pub(crate) fn answer(&self, order: &[usize], limit: Option<usize>) -> Option<Found> {
        let parts: Vec<_> = order.iter().map(|number| self.parts[*number].as_ref()).collect::<Option<_>>()?;
        let places: Vec<_> = parts.iter().map(|part| (&part.answer, 0)).collect();
        let body = parts.first()?.answer.with(&places, limit)?;
        let mut found = sum(&parts, body)?;
        found.report.key = found.report.key.filter(|_| self.parts.len() == 1);
        found.report.inputs = (order.len() > 1).then_some((order.len(), order.len()));
        Some(found)
    }

    /// The answer to `batch`, with the upstream's answers for the `lacking` inputs; `None` if the two are of different
    /// kinds.
    pub(crate) fn completed(&self, batch: &Batch, lacking: &[usize], told: &Answers) -> Option<Bytes> {
        let mut places: Vec<_> =
            self.parts.iter().map(|part| part.as_ref().map(|part| (&part.answer, 0))).collect();
        for (place, number) in lacking.iter().enumerate() {
            places[*number] = Some((told, place));
        }
        let places: Vec<_> = batch.order().iter().map(|number| places[*number]).collect::<Option<_>>()?;
        told.with(&places, batch.limit())
    }

    /// A summary of the fresh inputs of `order`; `None` if no input is fresh.
    pub(crate) fn found(&self, order: &[usize]) -> Option<Found> {
        sum(&self.fresh(order).collect::<Vec<_>>(), Bytes::new())
    }
}

/// Several stored answers as one with this `body`: usages add up, the shortest remaining TTL counts.
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

/// The answer to a request for several inputs, if all were stored since the lookup.
pub(crate) async fn stored_meanwhile(plan: &FillPlan) -> Option<Found> {
    // The lease's reply has the entry of a single input.
    let wanted = plan.wanted.as_ref().filter(|wanted| wanted.keys().len() > 1)?;
    let stored = Stored::look(plan, wanted.shape(), wanted.keys(), wanted.keys().len()).await;
    let order: Vec<_> = (0..wanted.keys().len()).collect();
    if stored.lacking().is_empty() { stored.answer(&order, None) } else { None }
}
