//! The labels of a route, the threshold that they certify, and stepping back.
//!
//! A fold over the labels: the same labels in the same order certify the same. Only what is watched while hits are served
//! (`watch.rs`) depends on more, the hits.

mod binomial;
mod certificate;
mod curve;
mod sample;
mod schedule;
#[cfg(test)]
mod tests;

mod watch;
mod window;

use std::collections::HashMap;

pub(crate) use self::curve::{CurvePoint, certified, curve};
use self::{certificate::labels_for_a_group, sample::Point, schedule::Group, watch::Watch, window::Window};
use super::question::Partition;

/// How similar a neighbour with another answer may be, compared to the nearest one.
const AGREEMENT: f32 = 2.0 / 3.0;

/// What a would-be hit turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// In milliseconds since the Unix epoch.
    pub at: u64,
    pub partition: Partition,
    pub near: Nearness,
    /// Whether the service gave the same answer.
    pub same: bool,
    pub source: LabelSource,
}

/// How near the neighbours were.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearness {
    /// Of the nearest neighbour.
    pub similarity: f32,
    /// Of the nearest one among the next two whose answer is not the nearest one's; 0 if there is none.
    pub disagreement: f32,
}

impl Nearness {
    /// Whether the neighbours agree: one with another answer is less than two thirds as similar as the nearest one.
    ///
    /// This does not depend on the threshold. So what is a hit at one is a hit at each lower one too, which the certificate needs. It is
    /// relative, since embedders differ in how similar unrelated texts are to them.
    pub fn agrees(self) -> bool {
        self.disagreement < AGREEMENT * self.similarity
    }

    /// Whether a question is a hit at this threshold.
    pub fn is_hit_at(self, threshold: f32) -> bool {
        self.similarity >= threshold && self.agrees()
    }
}

/// Where a label comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LabelSource {
    /// An exact miss that was asked of the service.
    Shadow,
    /// A hit that was asked of the service all the same.
    Audit,
    /// A hit that somebody reported as wrong.
    Report,
}

/// What is to be done with a question whose neighbours are this near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is certified, or the route is on probation after a false audit, or waits for an audit's end.
    Ask,
    /// It is below the threshold, or its neighbours disagree.
    Below,
    /// It is served; `audit` if the service is asked all the same.
    Serve { audit: bool },
}

/// A change that operators hear of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Certified, or certified at another threshold.
    Certified { threshold: f32 },
    /// The bound is broken: the route is in shadow again, and older labels are forgotten.
    SteppedBack,
    /// A look at the labels certifies nothing any more, since too many are false. The labels stay.
    Lapsed,
}

/// What operators see of a ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerStatus {
    /// The certified threshold; `None` if there is none, and nothing is served.
    pub threshold: Option<f32>,
    /// The upper bound of the rate of false hits at that threshold, at 95 % confidence over all looks at the labels.
    pub bound: Option<f64>,
    /// The labels in the window.
    pub labels: usize,
    /// The false ones among them.
    pub false_labels: usize,
    /// How many more good labels a threshold needs at least; 0 if there is one.
    pub missing: usize,
    /// Of the labels: the rate of hits at the threshold.
    pub hit_rate: f64,
    /// When the route stepped back last, in milliseconds since the Unix epoch.
    pub stepped_back_at: Option<u64>,
}

/// The labels of one route.
#[derive(Debug)]
pub struct Ledger {
    limit: f64,
    audit: f64,
    window: Window,
    /// The partitions with enough labels of their own: they are judged by these alone.
    own: HashMap<Partition, Group>,
    /// All other partitions together.
    rest: Group,
    watch: Watch,
    stepped_back_at: Option<u64>,
}

impl Ledger {
    /// `limit` is the highest rate of false hits, `audit` the rate of hits that are asked all the same; both between 0 and 1.
    /// One hit of 20 is asked at least, whatever `audit` is.
    pub fn new(limit: f64, audit: f64) -> Self {
        let watch = Watch::new(limit, audit);
        let audit = watch.audit_rate();
        let (window, own, rest) = Default::default();
        Self { limit, audit, window, own, rest, watch, stepped_back_at: None }
    }

    pub fn record(&mut self, label: Label) -> Option<Change> {
        let Label { at, partition, near, .. } = label;
        let is_hit = self.threshold(partition).is_some_and(|threshold| near.is_hit_at(threshold));
        let is_served = self.is_certified();
        if self.watch.is_broken_by(&label, is_hit) && is_served {
            self.step_back(at);
            return Some(Change::SteppedBack);
        }
        self.window.push(label);
        self.window.expire(at);
        self.regroup(partition);
        if near.agrees() { self.count(partition, at) } else { None }
    }

    /// Counts a label that could be a hit, and looks at the labels of its group if it is time.
    fn count(&mut self, partition: Partition, at: u64) -> Option<Change> {
        let group = self.group_mut(partition);
        group.count();
        if !group.is_due() {
            return None;
        }
        let former = group.threshold();
        self.look(partition);
        let threshold = self.threshold(partition);
        if threshold == former {
            return None;
        }
        match threshold {
            Some(threshold) => Some(Change::Certified { threshold }),
            None => {
                self.stepped_back_at = Some(at);
                Some(Change::Lapsed)
            }
        }
    }

    fn look(&mut self, partition: Partition) {
        let is_own = self.own.contains_key(&partition);
        let belongs = |label: &&Label| {
            if is_own { label.partition == partition } else { !self.own.contains_key(&label.partition) }
        };
        let points = |label| Point::new(label, self.audit);
        let points = self.window.labels().filter(belongs).filter_map(points).collect();
        let limit = self.limit;
        self.group_mut(partition).look(points, limit);
    }

    /// A partition stands on its own while it has enough labels.
    fn regroup(&mut self, partition: Partition) {
        let enough = labels_for_a_group(self.limit);
        self.own.retain(|partition, _| self.window.agreeing(*partition) >= enough / 2);
        if self.window.agreeing(partition) >= enough && !self.own.contains_key(&partition) {
            self.own.insert(partition, self.rest.split());
        }
    }

    fn group(&self, partition: Partition) -> &Group {
        self.own.get(&partition).unwrap_or(&self.rest)
    }

    fn group_mut(&mut self, partition: Partition) -> &mut Group {
        self.own.get_mut(&partition).unwrap_or(&mut self.rest)
    }

    /// All groups with the number of their labels.
    fn groups(&self) -> impl Iterator<Item = (usize, &Group)> {
        let own = self.own.iter().map(|(partition, group)| (self.window.agreeing(*partition), group));
        let of_own: usize = own.clone().map(|(labels, _)| labels).sum();
        own.chain([(self.window.agreeing_in_all() - of_own, &self.rest)])
    }

    fn is_certified(&self) -> bool {
        self.groups().any(|(_, group)| group.certificate.is_some())
    }

    fn step_back(&mut self, at: u64) {
        *self = Self { stepped_back_at: Some(at), ..Self::new(self.limit, self.audit) };
    }

    /// Decides, and counts a hit that is served.
    pub fn decide(&mut self, partition: Partition, near: Nearness, now: u64) -> Decision {
        if self.window.expire(now) {
            // Long after the last labels, no certificate is left.
            self.regroup(partition);
            self.look(partition);
        }
        let Some(threshold) = self.threshold(partition) else { return Decision::Ask };
        if !near.is_hit_at(threshold) {
            return Decision::Below;
        }
        if !self.watch.may_serve(partition, near, now) {
            return Decision::Ask;
        }
        Decision::Serve { audit: self.watch.serve(partition, near, now) }
    }

    /// Whether a hit is possible at all: otherwise nobody waits for a search.
    pub fn may_serve(&self, partition: Partition) -> bool {
        self.threshold(partition).is_some()
    }

    /// The certified threshold for a partition.
    pub fn threshold(&self, partition: Partition) -> Option<f32> {
        self.group(partition).threshold()
    }

    /// An audit ended without a label: the service failed, or the answer cannot be compared.
    pub fn audit_failed(&mut self) {
        self.watch.give_up_one();
    }

    pub fn status(&self) -> LedgerStatus {
        let certified = self.groups().filter_map(|(labels, group)| Some((labels, group.certificate?)));
        let largest = certified.max_by_key(|(labels, _)| *labels).map(|(_, certificate)| certificate);
        let missing = self.groups().map(|(labels, group)| group.missing(labels, self.limit)).min();
        LedgerStatus {
            threshold: largest.map(|certificate| certificate.threshold),
            bound: largest.map(|certificate| certificate.bound),
            labels: self.window.labels().len(),
            false_labels: self.window.labels().filter(|label| !label.same).count(),
            missing: if largest.is_some() { 0 } else { missing.unwrap_or(0) },
            hit_rate: self.hit_rate(),
            stepped_back_at: self.stepped_back_at,
        }
    }

    /// Each audit stands for all hits that it is one of.
    fn hit_rate(&self) -> f64 {
        let (mut hits, mut all) = (0.0, 0.0);
        for label in self.window.labels() {
            let weight = sample::weight(label, self.audit);
            all += weight;
            if self.threshold(label.partition).is_some_and(|threshold| label.near.is_hit_at(threshold)) {
                hits += weight;
            }
        }
        if all > 0.0 { hits / all } else { 0.0 }
    }

    /// The labels, oldest first, for the state file.
    pub fn labels(&self) -> Vec<Label> {
        self.window.labels().cloned().collect()
    }
}
