//! The upper confidence bound of a rate (Clopper and Pearson, 1934): whatever the true rate is, the bound is below it in at most
//! `error` of all cases.

use statrs::function::beta::beta_reg;

/// The bound for `falses` out of `all`. Both may be fractions: see `sample.rs`.
pub(super) fn upper_bound(falses: f64, all: f64, error: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    // Half a billionth is exact enough, and every machine finds the same.
    for _ in 0..31 {
        let middle = f64::midpoint(low, high);
        if is_below(falses, all, middle, error) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// Whether the bound is `rate` at most.
pub(super) fn is_below(falses: f64, all: f64, rate: f64, error: f64) -> bool {
    falses < all && (rate >= 1.0 || rate > 0.0 && beta_reg(falses + 1.0, all - falses, rate) >= 1.0 - error)
}

/// How many labels the bound needs to be `rate` at most if none of them is false; for very small rates, more than there ever are.
pub(super) fn needed(rate: f64, error: f64) -> usize {
    (error.ln() / (1.0 - rate).ln()).ceil().min(1e9) as usize
}
