//! The labels of all routes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};

use super::status::RouteStatus;
use crate::{
    cache::semantic::ledger::{Change, Label, Ledger},
    config::SemanticConfig,
};

/// The most routes that have labels: other replicas may name any.
const MAX_ROUTES: usize = 1_000;

/// The labels of one route, and what it has served.
#[derive(Debug)]
pub(super) struct RouteLedger {
    pub(super) ledger: Mutex<Ledger>,
    pub(super) served: AtomicU64,
}

/// The labels of all routes, by the route's name.
#[derive(Debug, Default)]
pub(super) struct Ledgers {
    routes: RwLock<BTreeMap<Box<str>, Arc<RouteLedger>>>,
    /// The routes of the settings in force.
    taking_part: Mutex<BTreeSet<Box<str>>>,
}

impl Ledgers {
    /// These routes take part from now on: operators see them before they have a label.
    pub(super) fn take_part(&self, routes: BTreeSet<Box<str>>, config: &SemanticConfig) {
        routes.iter().for_each(|route| drop(self.of(route, config)));
        *self.taking_part.lock() = routes;
    }

    /// The labels of a route; `None` if there are too many routes.
    pub(super) fn of(&self, route: &str, config: &SemanticConfig) -> Option<Arc<RouteLedger>> {
        if let Some(known) = self.routes.read().get(route) {
            return Some(Arc::clone(known));
        }
        let mut routes = self.routes.write();
        if routes.len() >= MAX_ROUTES {
            return None;
        }
        let new = || Arc::new(RouteLedger { ledger: Mutex::new(empty(config)), served: AtomicU64::new(0) });
        Some(Arc::clone(routes.entry(route.into()).or_insert_with(new)))
    }

    /// Judges the labels by other limits.
    pub(super) fn judge_by(&self, config: &SemanticConfig) {
        for route in self.routes.read().values() {
            let mut ledger = route.ledger.lock();
            *ledger = with(config, ledger.labels());
        }
    }

    /// Forgets all labels: they are of another embedder.
    pub(super) fn clear(&self, config: &SemanticConfig) {
        for route in self.routes.read().values() {
            *route.ledger.lock() = empty(config);
        }
    }

    pub(super) fn status(&self) -> Vec<RouteStatus> {
        let taking_part = self.taking_part.lock().clone();
        let routes = self.routes.read();
        let shown = routes.iter().filter(|(name, _)| taking_part.contains(*name));
        shown.map(|(name, route)| route.status(name)).collect()
    }

    /// The routes that have labels, or may have some.
    pub(super) fn names(&self) -> Vec<Box<str>> {
        self.routes.read().keys().cloned().collect()
    }

    /// All labels, with their route, for the state file.
    pub(super) fn labels(&self) -> Vec<(Box<str>, Vec<Label>)> {
        let routes = self.routes.read();
        routes.iter().map(|(name, route)| (name.clone(), route.ledger.lock().labels())).collect()
    }
}

impl RouteLedger {
    fn status(&self, route: &str) -> RouteStatus {
        let served = self.served.load(Ordering::Relaxed);
        RouteStatus { route: route.to_owned(), ledger: self.ledger.lock().status(), served }
    }

    /// Records a label.
    pub(super) fn record(&self, label: Label) -> Option<Change> {
        self.ledger.lock().record(label)
    }

    /// Another replica stepped back at this time, if this one has not: labels before that do not count.
    pub(super) fn step_back(&self, config: &SemanticConfig, at: u64) -> bool {
        let mut ledger = self.ledger.lock();
        if ledger.status().stepped_back_at.is_some_and(|own| own >= at) {
            return false;
        }
        let later = ledger.labels().into_iter().filter(|label| label.at > at).collect();
        *ledger = with(config, later);
        true
    }
}

fn empty(config: &SemanticConfig) -> Ledger {
    Ledger::new(config.max_false_hits, config.audit)
}

fn with(config: &SemanticConfig, labels: Vec<Label>) -> Ledger {
    let mut ledger = empty(config);
    for label in labels {
        ledger.record(label);
    }
    ledger
}
