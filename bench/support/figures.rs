//! Percentiles, and durations as text.

use std::time::Duration;

/// The sample below which the share `q` of `samples` lies; zero where there are none.
pub fn quantile(samples: &[Duration], q: f64) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * q).round() as usize).copied().unwrap_or_default()
}

/// The sample in the middle.
pub fn median(samples: &[Duration]) -> Duration {
    quantile(samples, 0.5)
}

/// `duration` in the unit that suits it.
pub fn text(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    match micros {
        ..1e3 => format!("{micros:.0} µs"),
        1e3..1e5 => format!("{:.1} ms", micros / 1e3),
        1e5..1e6 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}
