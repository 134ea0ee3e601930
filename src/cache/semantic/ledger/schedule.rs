//! When the labels are looked at.
//!
//! Whoever looks after each label, and stops at the first success, certifies any threshold in the end. So there are few looks:
//! the first once there are enough labels, each further one once a quarter more came. Each look errs by
//! [`ERROR`] at most. Together, from the first label until the window is full, they err by less than 5 %, since each sees most of what
//! the one before saw; a test computes this exactly for limits up to 3 % (at most 5.3 % at a limit of 5 %, 6.5 % at 10 %). Once the
//! window is
//! full, a look sees a quarter of new labels.

use super::{
    binomial::needed,
    certificate::{Certificate, ERROR, certify},
    sample::Point,
};

/// Labels that are certified together: those of one partition, or those of all partitions with few labels.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) certificate: Option<Certificate>,
    /// The labels since its beginning, without those whose neighbours disagree.
    seen: usize,
    next_look: usize,
}

impl Group {
    /// A group that splits off from this one: its labels were made under the same threshold, and are looked at at once.
    pub(super) const fn split(&self) -> Self {
        Self { certificate: self.certificate, seen: 0, next_look: 0 }
    }

    pub(super) const fn count(&mut self) {
        self.seen += 1;
    }

    pub(super) fn threshold(&self) -> Option<f32> {
        self.certificate.map(|certificate| certificate.threshold)
    }

    /// How many labels are missing until the next look, given the number in the window.
    pub(super) fn missing(&self, labels: usize, limit: f64) -> usize {
        needed(limit, ERROR).saturating_sub(labels).max(self.next_look.saturating_sub(self.seen)).max(1)
    }

    pub(super) const fn is_due(&self) -> bool {
        self.seen >= self.next_look
    }

    pub(super) fn look(&mut self, points: Vec<Point>, limit: f64) {
        let labels = points.len();
        let needed = needed(limit, ERROR);
        self.next_look = self.seen + (labels / 4).max(needed.saturating_sub(labels)).max(1);
        self.certificate = certify(points, limit, self.threshold());
    }
}
