//! The curve of a route, and which threshold each limit certifies. Pure.

use crate::cache::semantic::ledger::{CurvePoint, Label, certified, curve};

/// The limits that are tried.
const LIMITS: [f64; 4] = [0.01, 0.02, 0.03, 0.05];

/// How far back labels count for a certificate, as in a running sidecache: in labels, and in milliseconds.
const WINDOW: usize = 10_000;
const WINDOW_TIME: u64 = 30 * 24 * 3_600 * 1_000;

/// What the labels of a route say.
#[derive(Debug)]
pub(super) struct Curve {
    /// Some thresholds, the highest first, each for all labels.
    pub(super) points: Vec<CurvePoint>,
    /// Each limit with the lowest threshold that it certifies, if there is one, for the labels that count.
    pub(super) certified: Vec<(f64, Option<CurvePoint>)>,
    /// How many labels count for a certificate.
    pub(super) window: usize,
}

impl Curve {
    /// Of labels, the oldest first.
    pub(super) fn new(labels: &[Label]) -> Self {
        let window = window(labels);
        Self {
            points: curve(labels, LIMITS[0]).into_iter().filter(is_shown).collect(),
            certified: LIMITS.into_iter().map(|limit| (limit, certified(window, limit))).collect(),
            window: window.len(),
        }
    }
}

/// Whether a threshold is shown: each hundredth above 0.90, and each twentieth.
fn is_shown(point: &CurvePoint) -> bool {
    let hundredths = (point.threshold * 100.0).round() as u32;
    hundredths > 90 || hundredths.is_multiple_of(5)
}

/// The labels that would count at the time of the last one.
fn window(labels: &[Label]) -> &[Label] {
    let Some(last) = labels.last() else { return labels };
    let latest = &labels[labels.len().saturating_sub(WINDOW)..];
    let begin = latest.partition_point(|label| label.at.saturating_add(WINDOW_TIME) < last.at);
    &latest[begin..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::semantic::{
        ledger::{LabelSource, Nearness},
        question::Partition,
    };

    fn label(at: u64, similarity: f32) -> Label {
        let near = Nearness { similarity, disagreement: 0.0 };
        Label { at, partition: Partition([0; 32]), near, same: true, source: LabelSource::Shadow }
    }

    #[test]
    fn old_labels_and_those_before_the_last_ten_thousand_do_not_count() {
        let day = 24 * 3_600 * 1_000;
        let labels: Vec<_> = (0..40).map(|number| label(number * day, 0.9)).collect();
        assert_eq!(window(&labels).len(), 31);
        let labels: Vec<_> = (0..25_000).map(|number| label(number, 0.9)).collect();
        assert_eq!((window(&labels).len(), window(&labels)[0].at), (10_000, 15_000));
        assert!(window(&[]).is_empty());
    }

    #[test]
    fn some_thresholds_are_shown_and_each_limit_has_its_own() {
        let similarity = |number: u64| 0.95 + (number % 100) as f32 / 10_000.0;
        let labels: Vec<_> = (0..2000).map(|number| label(number, similarity(number))).collect();
        let curve = Curve::new(&labels);
        let shown: Vec<_> =
            curve.points.iter().map(|point| (point.threshold * 100.0).round() as u32).collect();
        let expected = [99, 98, 97, 96, 95, 94, 93, 92, 91, 90, 85, 80, 75, 70, 65, 60, 55, 50];
        assert_eq!(shown, expected);
        let limits: Vec<_> = curve.certified.iter().map(|(limit, _)| *limit).collect();
        assert_eq!((limits.as_slice(), curve.window), (LIMITS.as_slice(), 2000));
        let certified: Vec<_> =
            curve.certified.iter().filter_map(|(limit, point)| Some((limit, (*point)?))).collect();
        assert!(certified.len() >= 3, "{:?}", curve.certified);
        assert!(certified.iter().all(|(limit, point)| point.bound <= **limit && point.threshold < 0.96));
        assert!(Curve::new(&labels[..10]).certified.iter().all(|(_, point)| point.is_none()));
    }
}
