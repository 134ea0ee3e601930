//! Labels in the order of their similarity, and what they say of the false hits at a threshold.
//!
//! Once hits are served, most of them have no label: of those at or above the threshold, only audits have one, of those below,
//! all. So the labels below are weighed by what they are of all questions: an audit stands for as many hits as there is
//! one audit for. The bound is that of a sample that is as large as is worth the same (Korn and Graubard, 1998).

use super::{Label, LabelSource};

/// What counts of a label.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) similarity: f32,
    pub(super) same: bool,
    /// How many questions it stands for.
    pub(super) weight: f64,
}

impl Point {
    /// `None` if its neighbours disagree: such a question is a hit at no threshold.
    pub(super) fn new(label: &Label, audit: f64) -> Option<Self> {
        let weight = weight(label, audit);
        let point = Self { similarity: label.near.similarity, same: label.same, weight };
        label.near.agrees().then_some(point)
    }
}

/// How many questions a label stands for.
pub(super) fn weight(label: &Label, audit: f64) -> f64 {
    if label.source == LabelSource::Audit { 1.0 / audit } else { 1.0 }
}

/// What is counted of some labels.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stratum {
    labels: f64,
    falses: f64,
    weight: f64,
}

impl Stratum {
    pub(super) fn add(&mut self, point: &Point) {
        self.labels += 1.0;
        self.falses += f64::from(u8::from(!point.same));
        self.weight += point.weight;
    }

    fn rate(&self) -> f64 {
        self.falses / self.labels
    }
}

/// A sample of hits: of `all`, `falses` are false.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) falses: f64,
    pub(super) all: f64,
}

impl Sample {
    /// The labels at or above the threshold that was in force, and those below it.
    pub(super) fn new(above: Stratum, below: Stratum) -> Self {
        if above.labels == 0.0 || below.labels == 0.0 {
            return Self { falses: above.falses + below.falses, all: above.labels + below.labels };
        }
        let all = above.weight + below.weight;
        let strata = [above, below].map(|stratum| (stratum.weight / all, stratum));
        let rate: f64 = strata.iter().map(|(share, stratum)| share * stratum.rate()).sum();
        // A sample's variance is its rate's, divided by its size. Without a false label, all rates are as if they were equal.
        let variance = |own: f64| if rate > 0.0 { own * (1.0 - own) } else { 1.0 };
        let of_mean: f64 = strata
            .iter()
            .map(|(share, stratum)| share * share * variance(stratum.rate()) / stratum.labels)
            .sum();
        let labels = above.labels + below.labels;
        let worth = if of_mean > 0.0 { (variance(rate) / of_mean).min(labels) } else { 0.0 };
        Self { falses: rate * worth, all: worth }
    }
}
