//! `GET /history`, and the task that fills it.

use std::{convert::Infallible, time::SystemTime};

use serde_json::{Map, Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    proxy::state::Shared,
    telemetry::{
        calls::AnsweredBy,
        history::{INTERVAL, Mark, Range, Reading, View, reading::COUNTS},
        stats::histogram::{REQUEST_BOUNDS, Totals},
    },
};

type TimesOf = fn(&Reading) -> &Totals;

/// The quantiles of the times of hits and of misses.
const QUANTILES: [(&str, TimesOf, f64); 4] = [
    ("hit_p50_ms", |change| &change.hit_times, 0.5),
    ("hit_p99_ms", |change| &change.hit_times, 0.99),
    ("miss_p50_ms", |change| &change.miss_times, 0.5),
    ("miss_p99_ms", |change| &change.miss_times, 0.99),
];

const COSTS: [(&str, AnsweredBy); 2] =
    [("cost_saved", AnsweredBy::Store), ("cost_spent", AnsweredBy::Upstream)];

/// Reads the counters every ten seconds.
pub(crate) async fn keep(shared: &Shared) -> Infallible {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        shared.history.read(&shared.stats, SystemTime::now());
    }
}

/// `GET /history`: one list for each figure, with a member for each bucket.
pub(super) fn history(shared: &Shared, range: Range) -> Value {
    shared.history.read(&shared.stats, SystemTime::now());
    let view = shared.history.view(range);
    let mut members = Map::new();
    members.insert("range".to_owned(), range.as_str().into());
    members.insert("start".to_owned(), seconds(view.start));
    members.insert("step".to_owned(), seconds(view.step));
    members.insert("until".to_owned(), seconds(view.until));
    members.extend(
        COUNTS.iter().enumerate().map(|(at, name)| list(name, &view, |change| change.counts[at].into())),
    );
    for (name, totals, share) in QUANTILES {
        members.extend([list(name, &view, |change| quantile_millis(totals(change), share).into())]);
    }
    if let Some(currency) = shared.stats.currency() {
        members.insert("currency".to_owned(), currency.as_str().into());
        for (name, by) in COSTS {
            members.extend([list(name, &view, |change| change.costs[by as usize].units().into())]);
        }
    }
    members.insert("marks".to_owned(), view.marks.iter().map(mark).collect());
    Value::Object(members)
}

fn list(name: &str, view: &View, value: impl Fn(&Reading) -> Value) -> (String, Value) {
    (name.to_owned(), view.changes.iter().map(value).collect())
}

/// A quantile in milliseconds; `None` if there are no times.
pub(super) fn quantile_millis(totals: &Totals, share: f64) -> Option<f64> {
    totals.quantile(&REQUEST_BOUNDS, share).map(|seconds| (seconds * 1_000_000.0).round() / 1000.0)
}

fn seconds(millis: u64) -> Value {
    (millis as f64 / 1000.0).into()
}

fn mark(mark: &Mark) -> Value {
    let mut told = json!({"time": seconds(mark.at), "event": mark.event.as_str(), "count": mark.count});
    if let Some(cause) = mark.event.cause() {
        told["cause"] = cause.as_str().into();
    }
    told
}
