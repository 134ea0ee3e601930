//! Counters of hits by meaning. What each route served is among its requests (`cache="similar"`).

use std::{array, time::Duration};

use super::{
    Stats,
    counter::Counter,
    histogram::{EMBEDDING_BOUNDS, Histogram, Totals},
    labels::{AuditOutcome, EmbeddingOutcome},
};
use crate::cache::semantic::{answer::Sameness, guards::Guard, ledger::LabelSource, question::Ineligible};

/// How answers compare, as labels, in the order of [`Sameness`].
pub(crate) const ANSWERS: [(Sameness, &str); 3] =
    [(Sameness::Same, "same"), (Sameness::Different, "different"), (Sameness::Unsure, "unsure")];

/// Where labels come from, in the order of [`LabelSource`].
pub(crate) const LABEL_SOURCES: [(LabelSource, &str); 3] =
    [(LabelSource::Shadow, "shadow"), (LabelSource::Audit, "audit"), (LabelSource::Report, "report")];

/// The word for a label's source, in the log and in metrics.
pub(crate) const fn source_name(source: LabelSource) -> &'static str {
    LABEL_SOURCES[source as usize].1
}

/// What happened on one thread.
#[derive(Debug)]
pub(crate) struct SemanticCounters {
    labels: [[Counter; ANSWERS.len()]; LABEL_SOURCES.len()],
    audits: [Counter; AuditOutcome::ALL.len()],
    refused: [Counter; Guard::ALL.len()],
    ineligible: [Counter; Ineligible::ALL.len()],
    embeddings: [Histogram; EmbeddingOutcome::ALL.len()],
    unshared: Counter,
}

impl Default for SemanticCounters {
    fn default() -> Self {
        Self {
            labels: Default::default(),
            audits: Default::default(),
            refused: array::from_fn(|_| Counter::default()),
            ineligible: array::from_fn(|_| Counter::default()),
            embeddings: Default::default(),
            unshared: Counter::default(),
        }
    }
}

impl SemanticCounters {
    /// Counts a label, by what the answers alone say.
    pub(crate) fn label(&self, source: LabelSource, answers: Sameness) {
        self.labels[source as usize][answers as usize].increment();
    }

    /// Counts an audit that has ended.
    pub(crate) fn audit(&self, outcome: AuditOutcome) {
        self.audits[outcome as usize].increment();
    }

    /// Counts a question whose nearest neighbour a guard refused.
    pub(crate) fn refused(&self, guard: Guard) {
        self.refused[guard as usize].increment();
    }

    /// Counts a request that takes no part, on a route that does.
    pub(crate) fn ineligible(&self, reason: Ineligible) {
        self.ineligible[reason as usize].increment();
    }

    /// Counts something that was learned and that other replicas do not hear of.
    pub(crate) fn unshared(&self) {
        self.unshared.increment();
    }

    /// Counts a text that was to be embedded.
    pub(crate) fn embedding(&self, outcome: EmbeddingOutcome, took: Duration) {
        self.embeddings[outcome as usize].observe(&EMBEDDING_BOUNDS, took);
    }
}

impl Stats {
    pub(crate) fn semantic_unshared(&self) -> u64 {
        self.sum(|thread| &thread.semantic.unshared)
    }

    pub(crate) fn semantic_labels(&self, source: LabelSource, answers: Sameness) -> u64 {
        self.sum(|thread| &thread.semantic.labels[source as usize][answers as usize])
    }

    pub(crate) fn semantic_audits(&self, outcome: AuditOutcome) -> u64 {
        self.sum(|thread| &thread.semantic.audits[outcome as usize])
    }

    pub(crate) fn semantic_refused(&self, guard: Guard) -> u64 {
        self.sum(|thread| &thread.semantic.refused[guard as usize])
    }

    pub(crate) fn semantic_ineligible(&self, reason: Ineligible) -> u64 {
        self.sum(|thread| &thread.semantic.ineligible[reason as usize])
    }

    pub(crate) fn embeddings(&self, outcome: EmbeddingOutcome) -> Totals {
        self.totals(|thread| &thread.semantic.embeddings[outcome as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_under_its_own_label() {
        for (place, (answers, _)) in ANSWERS.into_iter().enumerate() {
            assert_eq!(answers as usize, place);
        }
        for (place, (source, name)) in LABEL_SOURCES.into_iter().enumerate() {
            assert_eq!((source as usize, source_name(source)), (place, name));
        }
        for (place, reason) in Ineligible::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
        for (place, guard) in Guard::ALL.into_iter().enumerate() {
            assert_eq!(guard as usize, place);
        }
        let stats = Stats::default();
        let here = &stats.here().semantic;
        here.label(LabelSource::Audit, Sameness::Unsure);
        here.audit(AuditOutcome::Failed);
        here.refused(Guard::Order);
        here.ineligible(Ineligible::Media);
        here.embedding(EmbeddingOutcome::TimedOut, Duration::from_millis(100));
        for (source, _) in LABEL_SOURCES {
            for (answers, _) in ANSWERS {
                let expected = (source, answers) == (LabelSource::Audit, Sameness::Unsure);
                assert_eq!(stats.semantic_labels(source, answers), u64::from(expected));
            }
        }
        let audits =
            [AuditOutcome::Labelled, AuditOutcome::Failed].map(|outcome| stats.semantic_audits(outcome));
        assert_eq!(audits, [0, 1]);
        let refused: Vec<_> =
            Guard::ALL.into_iter().filter(|guard| stats.semantic_refused(*guard) > 0).collect();
        assert_eq!(refused, [Guard::Order]);
        let ineligible: Vec<_> =
            Ineligible::ALL.into_iter().filter(|reason| stats.semantic_ineligible(*reason) > 0).collect();
        assert_eq!(ineligible, [Ineligible::Media]);
        let times = EmbeddingOutcome::ALL.iter().map(|outcome| stats.embeddings(*outcome).count());
        assert_eq!(times.collect::<Vec<_>>(), [0, 0, 1, 0, 0, 0]);
    }
}
