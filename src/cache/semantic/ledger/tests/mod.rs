//! Simulated services with known error curves, and what the ledger makes of their labels.

mod breach;
mod certified;

use super::*;

const PARTITION: Partition = Partition([7; 32]);

/// A question whose neighbours agree.
fn near(similarity: f32) -> Nearness {
    Nearness { similarity, disagreement: 0.0 }
}

fn label(similarity: f32, same: bool) -> Label {
    Label { at: 0, partition: PARTITION, near: near(similarity), same, source: LabelSource::Shadow }
}

/// A service, and the texts that it is asked.
struct Service<F> {
    chance: fastrand::Rng,
    /// The rate of false hits among questions with this similarity.
    error: F,
    /// The questions so far.
    asked: u64,
}

impl<F: Fn(f32) -> f64> Service<F> {
    fn new(seed: u64, error: F) -> Self {
        Self { chance: fastrand::Rng::with_seed(seed), error, asked: 0 }
    }

    /// Asks one question: how near it is, and whether its neighbour's answer is the right one. Similarities are even between 0.5
    /// and 1, and no two questions have the same one.
    fn ask(&mut self) -> (Nearness, bool) {
        self.asked += 1;
        let similarity = 0.5 + 0.5 * self.chance.f32();
        (near(similarity), self.chance.f64() >= (self.error)(similarity))
    }

    /// Asks one question as the proxy does; what was served, and whether that was right.
    fn step(&mut self, ledger: &mut Ledger) -> Option<bool> {
        let (near, same) = self.ask();
        let decision = ledger.decide(PARTITION, near, 0);
        let source = match decision {
            Decision::Serve { audit: true } => LabelSource::Audit,
            Decision::Serve { audit: false } => return Some(same),
            Decision::Ask | Decision::Below => LabelSource::Shadow,
        };
        ledger.record(Label { at: 0, partition: PARTITION, near, same, source });
        (source == LabelSource::Audit).then_some(same)
    }
}

/// From `scipy.stats.beta.ppf(1 - error, falses + 1, all - falses)`.
const TABLE: [(f64, f64, f64, f64); 10] = [
    (0.0, 299.0, 0.05, 0.009969146792899269),
    (0.0, 100.0, 0.05, 0.029513049607039925),
    (1.0, 100.0, 0.05, 0.046559811453538935),
    (3.0, 400.0, 0.05, 0.019269229283088177),
    (10.0, 1_000.0, 0.0075, 0.020561271877458712),
    (25.0, 1_500.0, 0.0075, 0.02654738896760147),
    (99.0, 100.0, 0.05, 0.9994871985837377),
    (0.0, 1.0, 0.05, 0.95),
    (150.0, 10_000.0, 0.0075, 0.01822238504419754),
    (2.5, 310.25, 0.0075, 0.030635961756449608),
];

/// How often something may happen in `runs` that has a chance of 5 %: three standard deviations more.
fn tolerated(runs: u32) -> u32 {
    let runs = f64::from(runs);
    (0.05 * runs + 3.0 * (0.05 * 0.95 * runs).sqrt()) as u32
}

#[test]
fn the_bound_is_that_of_the_tables() {
    for (falses, all, error, expected) in TABLE {
        let bound = binomial::upper_bound(falses, all, error);
        assert!((bound - expected).abs() < 1e-7, "{falses} of {all} at {error}: {bound} is not {expected}");
        assert!(binomial::is_below(falses, all, expected + 1e-7, error));
        assert!(!binomial::is_below(falses, all, expected - 1e-7, error));
    }
    assert_eq!((binomial::needed(0.01, 0.05), binomial::needed(0.03, 0.05)), (299, 99));
    assert_eq!(binomial::upper_bound(1.0, 1.0, 0.05), 1.0);
    assert_eq!(binomial::upper_bound(0.0, 0.0, 0.05), 1.0);
}
