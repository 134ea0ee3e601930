//! What the pure parts of a request cost, each alone.
//!
//! ```text
//! cargo bench -p sidecache-bench --bench micro                          # about a minute
//! cargo bench -p sidecache-bench --bench micro -- key                   # those with `key` in their names
//! ```

mod answers;
mod dialects;
mod envelope;
mod key;
mod policy;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let short = Criterion::default().warm_up_time(Duration::from_millis(500));
    let short = short.measurement_time(Duration::from_secs(2)).sample_size(50);
    // What the command line says comes after, and counts; without `--bench` each runs once, as a test.
    let mut criterion = short.configure_from_args();
    key::bench(&mut criterion);
    policy::bench(&mut criterion);
    envelope::bench(&mut criterion);
    dialects::bench(&mut criterion);
    criterion.final_summary();
}
