//! Reports of wrong hits.

use std::time::SystemTime;

use super::state::Semantic;
use crate::{
    cache::{
        key::Key,
        semantic::{
            answer::Sameness,
            event::SemanticEvent,
            ledger::{Label, LabelSource},
        },
    },
    telemetry::log::events,
    time::unix_millis,
};

/// No hit by meaning of late has this key, or it was reported already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no hit by meaning of late has this key")]
pub(crate) struct NotServed;

impl Semantic {
    /// Somebody says that hits by meaning were wrong: the one that was asked under `key`, or all that were served with the
    /// answer under `key`. The answer is never served to those questions again. Returns how many there were.
    ///
    /// # Errors
    /// If this process has served none, as far as it remembers.
    pub(crate) fn report_wrong(&self, key: &Key) -> Result<usize, NotServed> {
        let pairs = self.served.take(&key.local());
        let count = pairs.len();
        for pair in pairs {
            let (asked, original) = (pair.asked, pair.original);
            let label = Label {
                at: unix_millis(SystemTime::now()),
                partition: pair.partition,
                near: pair.near,
                same: false,
                source: LabelSource::Report,
            };
            self.stats.here().semantic.label(label.source, Sameness::Different);
            events::semantic_label(&events::SemanticLabel {
                request_id: None,
                route: &pair.route,
                asked: &asked,
                original: &original,
                label: &label,
                answers: Sameness::Different,
                refused: None,
            });
            self.publish(SemanticEvent::Separated { asked, original });
            self.publish(SemanticEvent::Labelled { route: pair.route, label });
        }
        if count == 0 { Err(NotServed) } else { Ok(count) }
    }
}
