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
    let points = points(labels);
    let certified = certified(labels, limit).map_or(0, |certified| certified.hits);
    let point = |hundredths: u8| {
        let point = point_at(&points, f32::from(hundredths) / 100.0, false);
        // Those that have the same hits as the certified one are certified as well.
        CurvePoint { is_certified: (1..=certified).contains(&point.hits), ..point }
    };
    (50..100).rev().map(point).collect()
}

/// The threshold that the labels certify for the limit, which may be between those of the curve.
pub(crate) fn certified(labels: &[Label], limit: f64) -> Option<CurvePoint> {
    let points = points(labels);
    let certificate = certify(points.clone(), limit, None)?;
    Some(point_at(&points, certificate.threshold, true))
}

fn points(labels: &[Label]) -> Vec<Point> {
    labels.iter().filter_map(|label| Point::new(label, 1.0)).collect()
}

fn point_at(points: &[Point], threshold: f32, is_certified: bool) -> CurvePoint {
    let hits = points.iter().filter(|point| point.similarity >= threshold).count();
    let falses = points.iter().filter(|point| point.similarity >= threshold && !point.same).count();
    let bound = upper_bound(falses as f64, hits as f64, ERROR);
    CurvePoint { threshold, hits, false_hits: falses, bound, is_certified }
}
