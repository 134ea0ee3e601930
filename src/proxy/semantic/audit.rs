//! A hit by meaning that is asked of the service all the same.

use std::sync::Arc;

use super::ledgers::RouteLedger;
use crate::telemetry::stats::{AuditOutcome, Stats};

/// An audit. Unless it ends with a label, its ledger learns that it failed, however it ends.
#[derive(Debug)]
pub(super) struct Audit {
    ledger: Arc<RouteLedger>,
    stats: Arc<Stats>,
    is_labelled: bool,
}

impl Audit {
    pub(super) const fn new(ledger: Arc<RouteLedger>, stats: Arc<Stats>) -> Self {
        Self { ledger, stats, is_labelled: false }
    }

    /// The label is there.
    pub(super) fn labelled(mut self) {
        self.is_labelled = true;
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        let outcome = if self.is_labelled {
            AuditOutcome::Labelled
        } else {
            self.ledger.ledger.lock().audit_failed();
            AuditOutcome::Failed
        };
        self.stats.here().semantic.audit(outcome);
    }
}
