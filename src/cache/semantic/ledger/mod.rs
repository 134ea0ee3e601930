//! The labels of a route, the threshold that they certify, and stepping back.

use super::question::Partition;

/// What a would-be hit turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Label {
    /// In milliseconds since the Unix epoch.
    pub(crate) at: u64,
    pub(crate) partition: Partition,
    pub(crate) near: Nearness,
    /// Whether the service gave the same answer.
    pub(crate) same: bool,
    pub(crate) source: LabelSource,
}

/// How near the neighbours were. At a threshold `t`, the question is a hit if `similarity >= t` and `disagreement < t`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Nearness {
    /// Of the nearest neighbour.
    pub(crate) similarity: f32,
    /// Of the nearest one among the next two whose answer is not the nearest one's; 0 if there is none.
    pub(crate) disagreement: f32,
}

/// Where a label comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LabelSource {
    /// An exact miss that was asked of the service.
    Shadow,
    /// A hit that was asked of the service all the same.
    Audit,
    /// A hit that somebody reported as wrong.
    Report,
}

/// What is to be done with a question whose neighbours are this near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing is certified, or the route is on probation after a false audit, or waits for an audit's end.
    Ask,
    /// It is below the threshold, or its neighbours disagree.
    Below,
    /// It is served; `audit` if the service is asked all the same.
    Serve { audit: bool },
}

/// A change that operators hear of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// Certified, or certified at another threshold.
    Certified { threshold: f32 },
    /// The bound is broken: the route is in shadow again.
    SteppedBack,
}

/// What operators see of a ledger.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LedgerStatus {
    /// The certified threshold; `None` if there is none, and nothing is served.
    pub(crate) threshold: Option<f32>,
    /// The upper bound of the rate of false hits at that threshold, at 95 % confidence.
    pub(crate) bound: Option<f64>,
    /// The labels in the window.
    pub(crate) labels: usize,
    /// The false ones among them.
    pub(crate) false_labels: usize,
    /// How many more good labels a threshold needs at least; 0 if there is one.
    pub(crate) missing: usize,
    /// Of the labels: the rate of hits at the threshold.
    pub(crate) hit_rate: f64,
    /// When the route stepped back last, in milliseconds since the Unix epoch.
    pub(crate) stepped_back_at: Option<u64>,
}

/// The labels of one route.
#[derive(Debug)]
pub(crate) struct Ledger {}

impl Ledger {
    /// `limit` is the highest rate of false hits, `audit` the rate of hits that are asked all the same; both between 0 and 1.
    pub(crate) fn new(_limit: f64, _audit: f64) -> Self {
        unimplemented!()
    }

    pub(crate) fn record(&mut self, _label: Label) -> Option<Change> {
        unimplemented!()
    }

    /// Decides, and counts a hit that is served.
    pub(crate) fn decide(&mut self, _partition: Partition, _near: Nearness, _now: u64) -> Decision {
        unimplemented!()
    }

    /// Whether a hit is possible at all: otherwise nobody waits for a search.
    pub(crate) fn may_serve(&self, _partition: Partition) -> bool {
        unimplemented!()
    }

    /// An audit ended without a label: the service failed, or the answer cannot be compared.
    pub(crate) fn audit_failed(&mut self) {
        unimplemented!()
    }

    pub(crate) fn status(&self) -> LedgerStatus {
        unimplemented!()
    }

    /// The labels, oldest first, for the state file.
    pub(crate) fn labels(&self) -> Vec<Label> {
        unimplemented!()
    }
}
