//! The families about hits by meaning. How many were served is in `sidecache_requests` (`cache="similar"`).

use std::fmt::Error;

use prometheus_client::metrics::MetricType;

use super::{SemanticGauges, SemanticRouteGauges, families::Families};
use crate::{
    cache::semantic::{guards::Guard, question::Ineligible},
    telemetry::stats::{
        AuditOutcome, EmbeddingOutcome, Stats,
        histogram::EMBEDDING_BOUNDS,
        semantic::{ANSWERS, LABEL_SOURCES},
    },
};

impl Families<'_> {
    pub(super) fn semantic(&mut self, stats: &Stats, gauges: &SemanticGauges) -> Result<(), Error> {
        self.semantic_counters(stats)?;
        self.embeddings(stats, gauges)?;
        self.certificates(gauges)
    }

    fn semantic_counters(&mut self, stats: &Stats) -> Result<(), Error> {
        let help = "Answers of the service that were compared with that of the nearest question";
        self.counters("sidecache_semantic_labels", help, |family| {
            for (source, source_name) in LABEL_SOURCES {
                for (answers, result) in ANSWERS {
                    let labels = [("source", source_name), ("result", result)];
                    family.add(&labels, stats.semantic_labels(source, answers))?;
                }
            }
            Ok(())
        })?;
        let help = "Hits by meaning that the service was asked about all the same";
        self.counters("sidecache_semantic_audits", help, |family| {
            AuditOutcome::ALL.iter().try_for_each(|outcome| {
                family.add(&[("outcome", outcome.as_str())], stats.semantic_audits(*outcome))
            })
        })?;
        let help = "Questions whose nearest neighbour a guard refused";
        self.counters("sidecache_semantic_refused", help, |family| {
            Guard::ALL
                .into_iter()
                .try_for_each(|guard| family.add(&[("guard", guard.name())], stats.semantic_refused(guard)))
        })?;
        let help = "Requests on routes with hits by meaning that take no part";
        self.counters("sidecache_semantic_ineligible", help, |family| {
            Ineligible::ALL.into_iter().try_for_each(|reason| {
                family.add(&[("reason", reason.name())], stats.semantic_ineligible(reason))
            })
        })?;
        let help = "Labels and questions that other replicas do not hear of: too many waited for Redis";
        self.counters("sidecache_semantic_unshared", help, |family| {
            family.add(&[], stats.semantic_unshared())
        })
    }

    fn embeddings(&mut self, stats: &Stats, gauges: &SemanticGauges) -> Result<(), Error> {
        let outcomes =
            || EmbeddingOutcome::ALL.iter().map(|outcome| (outcome.as_str(), stats.embeddings(*outcome)));
        self.counters("sidecache_semantic_embeddings", "Texts that were to be embedded", |family| {
            outcomes().try_for_each(|(outcome, totals)| family.add(&[("outcome", outcome)], totals.count()))
        })?;
        self.histograms(
            (
                "sidecache_semantic_embedding_seconds",
                "Until a text had its vector, or none",
                &EMBEDDING_BOUNDS,
            ),
            outcomes().map(|(outcome, totals)| ([("outcome", outcome)], totals)),
        )?;
        let up = f64::from(u8::from(gauges.embedder_is_up));
        self.gauge("sidecache_semantic_embedder_up", "Whether texts get their vectors", &[], up)?;
        let help = "The stored questions that can be found by meaning";
        self.gauge("sidecache_semantic_entries", help, &[], gauges.entries as f64)?;
        let help = "How many of them there can be";
        self.gauge("sidecache_semantic_max_entries", help, &[], gauges.max_entries as f64)
    }

    fn certificates(&mut self, gauges: &SemanticGauges) -> Result<(), Error> {
        let help = "The highest rate of false hits that is accepted, from 0 to 1";
        self.gauge("sidecache_semantic_limit", help, &[], gauges.limit)?;
        type Figure = fn(&SemanticRouteGauges) -> Option<f64>;
        let figures: [(_, _, Figure); 5] = [
            ("sidecache_semantic_threshold", "The certified similarity; absent without one", |route| {
                route.threshold
            }),
            (
                "sidecache_semantic_bound",
                "The upper bound of the rate of false hits at 95 % confidence, from 0 to 1",
                |route| route.bound,
            ),
            ("sidecache_semantic_window_labels", "The labels that count at present", |route| {
                Some(route.labels as f64)
            }),
            ("sidecache_semantic_missing_labels", "How many more a threshold needs at least", |route| {
                Some(route.labels_missing as f64)
            }),
            (
                "sidecache_semantic_stepped_back",
                "Whether the route has no threshold because too many of its hits were wrong",
                |route| Some(f64::from(u8::from(route.is_stepped_back))),
            ),
        ];
        for (name, help, figure) in figures {
            let mut family = self.family(name, help, MetricType::Gauge)?;
            for route in &gauges.routes {
                let Some(value) = figure(route) else { continue };
                let labels = [("route", &*route.route)];
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}
