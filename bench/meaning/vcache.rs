//! The rule of "vCache: Verified Semantic Prompt Caching" (Schroeder et al., arXiv 2502.03771), written from the paper.
//!
//! For each stored question, the chance that its answer is right for another one is a logistic function of their similarity, fitted to
//! what was observed. The service is asked with the probability `1 - delta / (1 - alpha)`, where `alpha` is a pessimistic estimate
//! of that chance: the smallest such probability over all levels of confidence.

/// The fewest observations for a fit.
const ENOUGH: usize = 6;

/// Steps of Newton's method.
const STEPS: usize = 20;

/// Levels of confidence that are tried.
const LEVELS: usize = 50;

/// Keeps a fit finite where the observations can be separated.
const RIDGE: f64 = 1e-3;

pub(crate) struct VCache {
    delta: f64,
    observations: Vec<Vec<(f64, bool)>>,
    /// The levels of confidence that are tried: the error of each, and the quantile of the normal distribution.
    levels: Vec<(f64, f64)>,
    chance: fastrand::Rng,
}

/// A fitted function: the similarity at which right and wrong are equally likely, its variance, and the steepness.
struct Fit {
    middle: f64,
    variance: f64,
    steepness: f64,
}

impl VCache {
    pub(crate) fn new(delta: f64, questions: usize, seed: u64) -> Self {
        let level = |level: usize| level as f64 / LEVELS as f64;
        let levels = (1..LEVELS).map(level).map(|error| (error, quantile(1.0 - error))).collect();
        let observations = vec![Vec::new(); questions];
        Self { delta, observations, levels, chance: fastrand::Rng::with_seed(seed) }
    }

    pub(crate) fn observe(&mut self, stored: u32, similarity: f32, is_right: bool) {
        self.observations[stored as usize].push((f64::from(similarity), is_right));
    }

    pub(crate) fn exploits(&mut self, stored: u32, similarity: f32) -> bool {
        let observations = &self.observations[stored as usize];
        if observations.len() < ENOUGH {
            return false;
        }
        let Some(fit) = Fit::new(observations) else { return false };
        let asking = self
            .levels
            .iter()
            .map(|(error, quantile)| {
                let middle = (fit.middle + quantile * fit.variance.sqrt()).clamp(0.0, 1.0);
                let right = sigmoid(fit.steepness * (f64::from(similarity) - middle));
                1.0 - self.delta / (1.0 - (1.0 - error) * right)
            })
            .fold(1.0, f64::min);
        self.chance.f64() > asking
    }
}

impl Fit {
    /// The maximum of the likelihood, by Newton's method; the variance by the delta method.
    fn new(observations: &[(f64, bool)]) -> Option<Self> {
        let (mut intercept, mut slope) = (0.0, 1.0);
        let mut information = [0.0; 3];
        for _ in 0..STEPS {
            let mut gradient = [-RIDGE * intercept, -RIDGE * slope];
            information = [RIDGE, 0.0, RIDGE];
            for (similarity, is_right) in observations {
                let right = sigmoid(intercept + slope * similarity);
                let residual = f64::from(u8::from(*is_right)) - right;
                let weight = right * (1.0 - right);
                gradient[0] += residual;
                gradient[1] += residual * similarity;
                information[0] += weight;
                information[1] += weight * similarity;
                information[2] += weight * similarity * similarity;
            }
            let [a, b, c] = information;
            let determinant = a * c - b * b;
            intercept += (c * gradient[0] - b * gradient[1]) / determinant;
            slope += (a * gradient[1] - b * gradient[0]) / determinant;
        }
        if !(intercept.is_finite() && slope > 1e-6) {
            return None;
        }
        let [a, b, c] = information;
        let determinant = a * c - b * b;
        let by = [-1.0 / slope, intercept / (slope * slope)];
        let variance = (by[0] * by[0] * c - 2.0 * by[0] * by[1] * b + by[1] * by[1] * a) / determinant;
        Some(Self {
            middle: (-intercept / slope).clamp(0.0, 1.0),
            variance: variance.max(0.0),
            steepness: slope,
        })
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The quantile of the normal distribution, by bisection of the integral of its density.
fn quantile(probability: f64) -> f64 {
    let (mut low, mut high) = (-6.0, 6.0);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if normal(middle) < probability { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// The distribution function (Abramowitz and Stegun, 26.2.17).
fn normal(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series = t
        * (0.319_381_53
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * series;
    if x > 0.0 { 1.0 - tail } else { tail }
}
