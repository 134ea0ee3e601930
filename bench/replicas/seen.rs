//! How soon a replica sees what another one has changed.

use std::{
    thread,
    time::{Duration, Instant},
};

use support::{
    client::Client,
    figures::{median, quantile, text},
    http::get,
};

use crate::fleet::{Fleet, change};

/// Changes are so far apart that nobody waits for the next one: the subscriber may rest between them.
const PAUSE: Duration = Duration::from_millis(150);

/// Between two looks.
const STEP: Duration = Duration::from_micros(200);

/// A change that is not seen for so long is lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// Changes so many documents by way of the first replica, and asks the last one, which has them in its near cache, until
/// it has none. The time is that from the reply to the change.
pub(crate) fn text_of(fleet: &Fleet, changes: usize) -> Option<String> {
    let (mut first, mut last) = (fleet.first(), fleet.last()?);
    let times: Vec<_> = (0..changes).map(|number| seen(&mut first, &mut last, number)).collect();
    let [median, high, most] = [median(&times), quantile(&times, 0.99), quantile(&times, 1.0)].map(text);
    Some(format!("{changes} changes, seen by another replica: median {median}, p99 {high}, at most {most}"))
}

fn seen(first: &mut Client, last: &mut Client, number: usize) -> Duration {
    let id = format!("seen-{number}");
    let request = get(&format!("/api/v1/documents/{id}"));
    let mut hits = || last.ask(&request).0.x_cache() == "HIT";
    until(&mut hits);
    // Once more from the near cache.
    until(&mut hits);
    thread::sleep(PAUSE);
    assert!(hits(), "{id} was not stored for long");
    change(first, &id);
    until(|| !hits())
}

/// Waits for it; how long that took.
fn until(mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "in vain");
        thread::sleep(STEP);
    }
    began.elapsed()
}
