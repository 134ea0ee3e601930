//! What operators see of hits by meaning. Plain data.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::{
    cache::semantic::{ledger::LedgerStatus, rounded_rate, rounded_similarity},
    config::SemanticMode,
    time::rfc3339,
};

/// What `/health`, metrics and the page show.
#[derive(Clone, Debug)]
pub(crate) struct SemanticStatus {
    pub(crate) mode: SemanticMode,
    /// The highest rate of false hits, between 0 and 1.
    pub(crate) limit: f64,
    /// What tells the embedder from another one.
    pub(crate) embedder: Option<String>,
    /// Why vectors are missing at the moment, for operators; `None` if nothing is wrong.
    pub(crate) problem: Option<String>,
    pub(crate) entries: usize,
    pub(crate) max_entries: usize,
    pub(crate) partitions: usize,
    pub(crate) routes: Vec<RouteStatus>,
}

/// Of one route that takes part.
#[derive(Clone, Debug)]
pub(crate) struct RouteStatus {
    pub(crate) route: String,
    pub(crate) ledger: LedgerStatus,
    /// Hits by meaning that were served by this process.
    pub(crate) served: u64,
}

/// A hit by meaning that was served not long ago.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SimilarHit {
    /// In milliseconds since the Unix epoch.
    pub(crate) at: u64,
    pub(crate) route: Box<str>,
    /// The key of the question that was asked, without the namespace.
    pub(crate) asked: Box<str>,
    /// That of the question whose answer was served.
    pub(crate) original: Box<str>,
    pub(crate) similarity: f32,
}

impl SemanticStatus {
    /// As a member of `/health`.
    pub(crate) fn section(&self) -> Value {
        let mut section = json!({
            "mode": match self.mode {
                SemanticMode::Shadow => "shadow",
                SemanticMode::Serve => "serve",
            },
            "max_false_hits": self.limit,
            "embedder": self.embedder,
            "entries": self.entries,
            "max_entries": self.max_entries,
            "partitions": self.partitions,
            "routes": self.routes.iter().map(RouteStatus::section).collect::<Vec<_>>(),
        });
        if let Some(problem) = &self.problem {
            section["problem"] = problem.as_str().into();
        }
        section
    }
}

impl RouteStatus {
    /// Whether the route has no threshold because too many of its hits were wrong.
    pub(crate) const fn is_stepped_back(&self) -> bool {
        self.ledger.stepped_back_at.is_some() && self.ledger.threshold.is_none()
    }

    fn section(&self) -> Value {
        let LedgerStatus { threshold, bound, labels, false_labels, missing, hit_rate, stepped_back_at } =
            self.ledger;
        let mut section = json!({
            "route": self.route,
            "threshold": threshold.map(rounded_similarity),
            "bound": bound.map(rounded_rate),
            "labels": labels,
            "false_labels": false_labels,
            "labels_missing": missing,
            "hit_rate": format!("{:.2}%", hit_rate * 100.0),
            "served": self.served,
            "stepped_back": self.is_stepped_back(),
        });
        if let Some(at) = stepped_back_at {
            section["stepped_back_at"] = show_time(at).into();
        }
        section
    }
}

impl SimilarHit {
    /// As the page gets it.
    pub(crate) fn section(&self) -> Value {
        json!({
            "time": show_time(self.at),
            "route": self.route,
            "key": self.asked,
            "original": self.original,
            "similarity": rounded_similarity(self.similarity),
        })
    }
}

/// Milliseconds since the Unix epoch as a time in UTC.
fn show_time(at: u64) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(at));
    rfc3339(time.unwrap_or(SystemTime::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(threshold: Option<f32>, stepped_back_at: Option<u64>) -> RouteStatus {
        let ledger = LedgerStatus {
            threshold,
            bound: threshold.map(|_| 0.009_873_4),
            labels: 400,
            false_labels: 1,
            missing: if threshold.is_some() { 0 } else { 17 },
            hit_rate: 0.625,
            stepped_back_at,
        };
        RouteStatus { route: "support-chat".to_owned(), ledger, served: 3 }
    }

    #[test]
    fn health_says_for_each_route_what_is_served_and_what_is_missing() {
        let status = SemanticStatus {
            mode: SemanticMode::Serve,
            limit: 0.01,
            embedder: Some("mini/384/0f".to_owned()),
            problem: Some("connection refused".to_owned()),
            entries: 12,
            max_entries: 100_000,
            partitions: 2,
            routes: vec![route(Some(0.931_24), None), route(None, Some(1_769_941_845_123))],
        };
        let certified = json!({
            "route": "support-chat", "threshold": 0.9312, "bound": 0.00987, "labels": 400, "false_labels": 1,
            "labels_missing": 0, "hit_rate": "62.50%", "served": 3, "stepped_back": false,
        });
        let stepped_back = json!({
            "route": "support-chat", "threshold": null, "bound": null, "labels": 400, "false_labels": 1,
            "labels_missing": 17, "hit_rate": "62.50%", "served": 3, "stepped_back": true,
            "stepped_back_at": "2026-02-01T10:30:45.123Z",
        });
        let expected = json!({
            "mode": "serve", "max_false_hits": 0.01, "embedder": "mini/384/0f", "problem": "connection refused",
            "entries": 12, "max_entries": 100_000, "partitions": 2, "routes": [certified, stepped_back],
        });
        assert_eq!(status.section(), expected);
        let well = SemanticStatus { problem: None, ..status };
        assert!(well.section().get("problem").is_none());
    }

    #[test]
    fn a_route_is_stepped_back_until_it_has_a_threshold_again() {
        let flags = [(None, None), (None, Some(1)), (Some(0.9), Some(1)), (Some(0.9), None)]
            .map(|(threshold, at)| route(threshold, at).is_stepped_back());
        assert_eq!(flags, [false, true, false, false]);
    }
}
