//! What is watched while hits are served: whether they still are what was certified.
//!
//! Two promises. Since the last hit that was found to be good, at most [`MAX_UNPROVEN`] were served: so if all go wrong at once, no
//! more than these are wrong, however busy the route is and however late audits end. And a route whose rate has become much
//! larger than its limit steps back: each false label puts it on probation, in which nothing is served and every label counts,
//! until a sequential test (Page, 1954; the ratio of likelihoods of ten times the limit's odds and of the limit) has decided.

use std::collections::VecDeque;

use super::{Label, LabelSource, Nearness};
use crate::cache::semantic::question::Partition;

/// The most hits that are served since the last one that was found to be good.
pub(super) const MAX_UNPROVEN: u64 = 40;

/// The most hits for one audit: two of these fit into [`MAX_UNPROVEN`].
const MAX_BLOCK: u64 = 20;

/// How many results are waited for. If there are more, the next ones prove nothing: those that are waited for end first.
const MAX_AWAITED: usize = 256;

/// Then results are given up that do not come for so long, in milliseconds: not every question that is asked is labelled.
const PATIENCE: u64 = 60_000;

/// How many false labels in a row decide that the limit is broken.
const FALSE_LABELS: f64 = 4.5;

/// A would-be hit that is asked of the service.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    partition: Partition,
    near: Nearness,
    /// How many hits were served when it was asked.
    served: u64,
    /// When it was asked, in milliseconds since the Unix epoch.
    since: u64,
}

#[derive(Debug)]
pub(super) struct Watch {
    served: u64,
    /// The number of the last hit for which the service is known to have given the same answer.
    proven: u64,
    awaited: VecDeque<Awaited>,
    /// The logarithm of the ratio of likelihoods; 0 outside of probation.
    evidence: f64,
    /// What a false label adds.
    for_false: f64,
    /// What a good label takes away.
    for_same: f64,
    /// One hit of so many is audited, at a place that chance decides.
    block: u64,
    position: u64,
    audited: u64,
    chance: fastrand::Rng,
}

impl Watch {
    pub(super) fn new(limit: f64, audit: f64) -> Self {
        let odds = 1.0 + 9.0 * limit;
        let block = (1.0 / audit).round().clamp(1.0, MAX_BLOCK as f64) as u64;
        // Where audits fall must not depend on what is asked; it may be the same in every process.
        let mut chance = fastrand::Rng::with_seed(0);
        Self {
            served: 0,
            proven: 0,
            awaited: VecDeque::new(),
            evidence: 0.0,
            for_false: (10.0 / odds).ln(),
            for_same: odds.ln(),
            block,
            position: 0,
            audited: chance.u64(0..block),
            chance,
        }
    }

    /// The rate of hits that are audited.
    pub(super) fn audit_rate(&self) -> f64 {
        1.0 / self.block as f64
    }

    /// Whether a hit may be served; otherwise its question is asked, and what comes of it is awaited.
    pub(super) fn may_serve(&mut self, partition: Partition, near: Nearness, now: u64) -> bool {
        let may_serve = !self.is_on_probation() && self.served - self.proven < MAX_UNPROVEN;
        if !may_serve {
            self.wait_for(partition, near, now);
        }
        may_serve
    }

    /// Counts a hit; whether it is audited.
    pub(super) fn serve(&mut self, partition: Partition, near: Nearness, now: u64) -> bool {
        self.served += 1;
        let is_audited = self.position == self.audited;
        self.position += 1;
        if self.position == self.block {
            self.position = 0;
            self.audited = self.chance.u64(0..self.block);
        }
        if is_audited {
            self.wait_for(partition, near, now);
        }
        is_audited
    }

    fn wait_for(&mut self, partition: Partition, near: Nearness, now: u64) {
        let is_full = self.awaited.len() == MAX_AWAITED;
        if is_full && self.awaited.front().is_some_and(|oldest| oldest.since.saturating_add(PATIENCE) < now) {
            self.awaited.pop_front();
        }
        if self.awaited.len() < MAX_AWAITED {
            self.awaited.push_back(Awaited { partition, near, served: self.served, since: now });
        }
    }

    /// An audit ends without a label.
    pub(super) fn give_up_one(&mut self) {
        self.awaited.pop_front();
    }

    /// Notes the label of a question that is a hit now (`is_hit`), or was one; whether the limit is broken.
    pub(super) fn is_broken_by(&mut self, label: &Label, is_hit: bool) -> bool {
        let was_hit = self.ends_waiting(label) || label.source != LabelSource::Shadow;
        if !is_hit && !was_hit {
            return false;
        }
        let step = if label.same { -self.for_same } else { self.for_false };
        self.evidence = (self.evidence + step).max(0.0);
        self.evidence >= FALSE_LABELS * self.for_false
    }

    /// Whether this label was awaited. If it is good, so were the hits before its question was asked.
    fn ends_waiting(&mut self, label: &Label) -> bool {
        let is_it = |awaited: &Awaited| (awaited.partition, awaited.near) == (label.partition, label.near);
        let position = self.awaited.iter().position(is_it);
        let Some(ended) = position.and_then(|position| self.awaited.remove(position)) else { return false };
        if label.same {
            self.proven = self.proven.max(ended.served);
        }
        true
    }

    pub(super) fn is_on_probation(&self) -> bool {
        self.evidence > 0.0
    }
}
