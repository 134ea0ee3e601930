//! What each threshold would have given, for `sidecache simulate --semantic`.

use super::{
    Label,
    binomial::upper_bound,
    certificate::{ERROR, certify},
    sample::Point,
};

/// A threshold, and what it would have given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CurvePoint {
    pub(crate) threshold: f32,
    /// How many of the labels would have been hits.
    pub(crate) hits: usize,
    /// How many of these are false.
    pub(crate) false_hits: usize,
    /// The upper bound of the rate of false hits, at the confidence of a certificate.
    pub(crate) bound: f64,
    /// Whether the labels certify this threshold for the limit.
    pub(crate) is_certified: bool,
}

/// The thresholds from 0.99 down to 0.50. The labels are those of a route in shadow: one for each question.
pub(crate) fn curve(labels: &[Label], limit: f64) -> Vec<CurvePoint> {
    let points: Vec<_> = labels.iter().filter_map(|label| Point::new(label, 1.0)).collect();
    let certified = certify(points.clone(), limit, None);
    let point = |hundredths: u8| {
        let threshold = f32::from(hundredths) / 100.0;
        let hits = points.iter().filter(|point| point.similarity >= threshold).count();
        let falses = points.iter().filter(|point| point.similarity >= threshold && !point.same).count();
        CurvePoint {
            threshold,
            hits,
            false_hits: falses,
            bound: upper_bound(falses as f64, hits as f64, ERROR),
            is_certified: certified.is_some_and(|certificate| threshold >= certificate.threshold),
        }
    };
    (50..100).rev().map(point).collect()
}
