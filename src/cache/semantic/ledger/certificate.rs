//! The lowest threshold whose rate of false hits is bounded, by the labels.
//!
//! Fixed-sequence testing (Maurer, Hothorn and Lehmacher, 1995): thresholds are tested from the highest to the lowest, each at the
//! full level, until one fails. Which thresholds these are depends on the similarities alone. So trying many costs nothing: to
//! certify a threshold that is too low, the first of these must pass by chance.
//!
//! The first one tested is that of the nearer half of the labels, of five times as many as the bound needs at no error at most. With
//! fewer, a single false label at the top, where questions are nearly equal and nothing is at stake, would end the sequence; with
//! more, it would begin where most services are wrong.

use super::{
    binomial::{is_below, needed, upper_bound},
    sample::{Point, Sample, Stratum},
    window::MAX_LABELS,
};

/// The error of one look at the labels. `schedule.rs` says why it is not 5 %.
pub(super) const ERROR: f64 = 0.0075;

/// How much larger the sample of the next threshold is.
const STEP: f64 = 1.1;

/// How many times the labels that are needed at no error the first threshold has at most.
const START: usize = 5;

/// A threshold, and the upper bound of the rate of false hits at it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Certificate {
    pub(super) threshold: f32,
    pub(super) bound: f64,
}

/// How many labels a partition needs to be judged by these alone: twice those of the first threshold tested, as far as the window
/// can hold them.
pub(super) fn labels_for_a_group(limit: f64) -> usize {
    (2 * START * needed(limit, ERROR)).min(MAX_LABELS / 2)
}

/// `former` is the threshold that was in force when the latest labels were made.
pub(super) fn certify(mut points: Vec<Point>, limit: f64, former: Option<f32>) -> Option<Certificate> {
    points.sort_unstable_by(|one, other| other.similarity.total_cmp(&one.similarity));
    let needed = needed(limit, ERROR);
    let mut next = (points.len() / 2).clamp(needed, START * needed);
    let mut strata = [Stratum::default(); 2];
    let mut passed = None;
    for (position, point) in points.iter().enumerate() {
        let is_below_former = former.is_some_and(|former| point.similarity < former);
        strata[usize::from(is_below_former)].add(point);
        let is_last_of_its_kind =
            points.get(position + 1).is_none_or(|later| later.similarity < point.similarity);
        if position + 1 < next || !is_last_of_its_kind {
            continue;
        }
        let sample = Sample::new(strata[0], strata[1]);
        if !is_below(sample.falses, sample.all, limit, ERROR) {
            break;
        }
        passed = Some((point.similarity, sample));
        next = (((position + 1) as f64) * STEP).ceil() as usize;
    }
    let (threshold, sample) = passed?;
    Some(Certificate { threshold, bound: upper_bound(sample.falses, sample.all, ERROR) })
}
