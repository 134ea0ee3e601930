//! The families of metrics, each with its labels.

use std::fmt::Error;

use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::{Gauges, JwksGauges, process::Process};
use crate::{
    cache::route::kind::Kind,
    reason::Reason,
    telemetry::{
        calls::{AnsweredBy, TOKEN_TYPES},
        stats::{
            CertificateUse, InvalidationCause, LIMITS, LookupResult, PurgeCause, Side, Stats, StoreCall,
            StoreOutcome, ThreadStats, UpstreamOutcome,
            histogram::{AGE_BOUNDS, Bounds, REQUEST_BOUNDS, STORE_BOUNDS, Totals},
            labels::{CACHES, STATUSES, kinds},
        },
    },
};

/// A label's name and value.
pub(super) type Label<'a> = (&'static str, &'a str);

/// A model's number and label; both `None` for all models together.
type Model<'a> = (Option<usize>, Option<Label<'a>>);

/// Where tokens came from, as labels.
const SOURCES: [(AnsweredBy, &str); 2] = [(AnsweredBy::Upstream, "upstream"), (AnsweredBy::Store, "saved")];

/// Each kind with each source and each model.
fn each<'a>(models: &[Model<'a>]) -> impl Iterator<Item = (Kind, (AnsweredBy, &'static str), Model<'a>)> {
    let of_kind = move |kind| {
        SOURCES.into_iter().flat_map(move |source| models.iter().map(move |model| (kind, source, *model)))
    };
    Kind::ALL.into_iter().flat_map(of_kind)
}

/// Writes one family after the other.
pub(super) struct Families<'e>(pub(super) DescriptorEncoder<'e>);

impl Families<'_> {
    pub(super) fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    /// A family of counters; `series` writes them.
    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        series: impl FnOnce(&mut Counters<'_, '_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut family = self.family(name, help, MetricType::Counter)?;
        series(&mut Counters(&mut family))
    }

    pub(super) fn gauge(
        &mut self,
        name: &str,
        help: &str,
        labels: &[Label<'_>],
        value: f64,
    ) -> Result<(), Error> {
        let mut family = self.family(name, help, MetricType::Gauge)?;
        family.encode_family(&labels)?.encode_gauge(&value)
    }

    /// A family of histograms with so many labels each. One that has seen nothing is left out.
    pub(super) fn histograms<'l, const LABELS: usize>(
        &mut self,
        (name, help, bounds): (&str, &str, &Bounds),
        series: impl Iterator<Item = ([Label<'l>; LABELS], Totals)>,
    ) -> Result<(), Error> {
        let mut family = self.family(name, help, MetricType::Histogram)?;
        for (labels, totals) in series.filter(|(_, totals)| totals.count() > 0) {
            histogram(&mut family, &labels, bounds, &totals)?;
        }
        Ok(())
    }

    pub(super) fn requests(&mut self, stats: &Stats) -> Result<(), Error> {
        self.counters(
            "sidecache_requests",
            "Requests that clients sent, by how they were answered",
            |family| {
                for (number, name) in stats.routes.all().iter().enumerate() {
                    for (cache_place, cache) in CACHES.iter().enumerate() {
                        for (status_place, status) in STATUSES.iter().enumerate() {
                            let count = stats.requests(number, cache_place, status_place);
                            let labels = [
                                ("route", &*name.route),
                                ("kind", name.kind),
                                ("cache", cache),
                                ("status", status),
                            ];
                            family.unless_zero(&labels, count)?;
                        }
                    }
                }
                Ok(())
            },
        )?;
        let by_kind_and_cache = |totals: fn(&ThreadStats, usize, usize) -> &_| {
            kinds().flat_map(move |(kind_place, kind)| {
                CACHES.iter().enumerate().map(move |(cache_place, cache)| {
                    let labels = [("kind", kind), ("cache", *cache)];
                    (labels, stats.totals(|thread| totals(thread, kind_place, cache_place)))
                })
            })
        };
        self.histograms(
            ("sidecache_request_duration_seconds", "Until the end of the response", &REQUEST_BOUNDS),
            by_kind_and_cache(ThreadStats::duration),
        )?;
        self.histograms(
            ("sidecache_first_byte_seconds", "Until the first byte of the response's body", &REQUEST_BOUNDS),
            by_kind_and_cache(ThreadStats::first_byte),
        )?;
        let upstream = kinds().flat_map(|(kind_place, kind)| {
            UpstreamOutcome::ALL.iter().map(move |outcome| {
                let labels = [("kind", kind), ("outcome", outcome.as_str())];
                (labels, stats.totals(|thread| thread.upstream_took(kind_place, *outcome)))
            })
        });
        let help = "Until the end of the upstream's answer; of its head where no route covers the request";
        self.histograms(("sidecache_upstream_duration_seconds", help, &REQUEST_BOUNDS), upstream)
    }

    pub(super) fn cache(&mut self, stats: &Stats) -> Result<(), Error> {
        let help = "Lookups; the hit rate is hit, stale and form by all of them";
        self.counters("sidecache_lookups", help, |family| {
            for kind in Kind::ALL {
                for result in LookupResult::ALL {
                    let labels = [("kind", kind.as_str()), ("result", result.as_str())];
                    family.add(&labels, stats.lookups(kind, *result))?;
                }
            }
            Ok(())
        })?;
        type CountByReason = fn(&Stats, usize, Reason) -> u64;
        let by_reason: [(_, _, CountByReason); 2] = [
            ("sidecache_bypassed", "Requests for which the store was not asked", Stats::bypassed),
            ("sidecache_not_stored", "Answers that were not stored", Stats::not_stored),
        ];
        for (name, help, count) in by_reason {
            self.counters(name, help, |family| {
                for (place, kind) in kinds() {
                    for reason in Reason::ALL {
                        let labels = [("kind", kind), ("reason", reason.as_str())];
                        family.unless_zero(&labels, count(stats, place, *reason))?;
                    }
                }
                Ok(())
            })?;
        }
        let mut ages = self.family(
            "sidecache_entry_age_seconds",
            "The ages of stored answers when they were served",
            MetricType::Histogram,
        )?;
        for kind in Kind::ALL {
            histogram(&mut ages, &[("kind", kind.as_str())], &AGE_BOUNDS, &stats.ages(kind))?;
        }
        self.counters("sidecache_coalesced", "Requests that joined the answer to another one", |family| {
            family.add(&[], stats.sum(|thread| &thread.coalesced))
        })?;
        self.counters("sidecache_saved_seconds", "The time that hits saved", |family| {
            family.add_fraction(&[], stats.seconds_saved())
        })
    }

    /// The calls of models: of all, or of each model that the configuration tells apart and of the others.
    pub(super) fn calls(&mut self, stats: &Stats, by_model: bool) -> Result<(), Error> {
        let names = if by_model { stats.models.all() } else { Vec::new() };
        let apart = names.iter().enumerate().map(|(number, name)| (Some(number), Some(("model", &**name))));
        let models: Vec<Model<'_>> = if by_model { apart.collect() } else { vec![(None, None)] };
        let help = "Tokens that answers took at the upstream, or that hits saved";
        self.counters("sidecache_tokens", help, |family| {
            for (kind, (by, source), (model, label)) in each(&models) {
                for (name, count) in TOKEN_TYPES.into_iter().zip(stats.tokens_of(model, kind, by)) {
                    let labels = [("kind", kind.as_str()), ("source", source), ("type", name)];
                    let labels: Vec<_> = labels.into_iter().chain(label).collect();
                    family.unless_zero(&labels, count)?;
                }
            }
            Ok(())
        })?;
        let Some(currency) = stats.currency() else { return Ok(()) };
        for (name, help, by) in [
            ("sidecache_saved_cost", "What the answers of hits had cost", AnsweredBy::Store),
            ("sidecache_spent_cost", "What the upstream's answers cost", AnsweredBy::Upstream),
        ] {
            self.counters(name, help, |family| {
                models.iter().try_for_each(|(model, label)| {
                    let labels: Vec<_> =
                        [("currency", currency.as_str())].into_iter().chain(*label).collect();
                    family.add_fraction(&labels, stats.cost(*model, by).units())
                })
            })?;
        }
        Ok(())
    }

    pub(super) fn store(&mut self, stats: &Stats, gauges: &Gauges) -> Result<(), Error> {
        let calls = || {
            StoreCall::ALL.iter().flat_map(|call| {
                StoreOutcome::ALL.iter().map(move |outcome| {
                    let labels = [("operation", call.as_str()), ("outcome", outcome.as_str())];
                    (labels, stats.totals(|thread| thread.store_took(*call, *outcome)))
                })
            })
        };
        self.counters("sidecache_store_operations", "Calls of the store", |family| {
            calls().try_for_each(|(labels, totals)| family.add(&labels, totals.count()))
        })?;
        self.histograms(
            ("sidecache_store_operations_seconds", "Calls of the store", &STORE_BOUNDS),
            calls(),
        )?;
        let store = [("store", gauges.store)];
        let up = f64::from(u8::from(gauges.store_is_up));
        self.gauge("sidecache_store_up", "Whether lookups can find something", &store, up)?;
        if let Some(entries) = gauges.entries {
            self.gauge("sidecache_entries", "Stored answers", &store, entries as f64)?;
        }
        if let Some(bytes) = gauges.entry_bytes {
            self.gauge("sidecache_entry_bytes", "The bytes that they take", &store, bytes as f64)?;
        }
        if let Some(bytes) = gauges.entry_bytes_limit {
            self.gauge("sidecache_entry_bytes_limit", "The most that they may take", &store, bytes as f64)?;
        }
        if let Some((evicted, expired)) = gauges.evicted {
            self.counters("sidecache_evicted", "Entries that went by themselves", |family| {
                family.add(&[("cause", "room")], evicted)?;
                family.add(&[("cause", "expired")], expired)
            })?;
        }
        self.counters("sidecache_retired", "Targets that were invalidated", |family| {
            InvalidationCause::ALL
                .iter()
                .try_for_each(|cause| family.add(&[("cause", cause.as_str())], stats.invalidated(*cause)))
        })?;
        self.counters("sidecache_purged", "Entries that operators removed", |family| {
            PurgeCause::ALL
                .iter()
                .try_for_each(|cause| family.add(&[("cause", cause.as_str())], stats.purged(*cause)))
        })
    }

    pub(super) fn connections(&mut self, stats: &Stats, gauges: &Gauges) -> Result<(), Error> {
        self.gauge(
            "sidecache_coalesced_waiting",
            "Requests that read the answer to another one",
            &[],
            gauges.waiting as f64,
        )?;
        let mut family = self.family("sidecache_connections", "Open connections", MetricType::Gauge)?;
        let sides = Side::ALL.iter().map(|side| (side.as_str(), stats.open(*side)));
        for (side, open) in sides.chain(gauges.store_connections.map(|open| ("store", open))) {
            family.encode_family(&[("side", side)].as_slice())?.encode_gauge(&(open as f64))?;
        }
        let mut family = self.family(
            "sidecache_requests_in_flight",
            "Requests that are being answered",
            MetricType::Gauge,
        )?;
        for (side, requests) in
            [(Side::Client, stats.in_flight()), (Side::Upstream, gauges.upstream_requests)]
        {
            let labels = [("side", side.as_str())];
            family.encode_family(&labels)?.encode_gauge(&(requests as f64))?;
        }
        self.counters("sidecache_limited", "Requests and clients that ran into a limit", |family| {
            LIMITS
                .iter()
                .try_for_each(|(name, limit)| family.add(&[("limit", name)], stats.limited_by(*limit)))
        })
    }

    pub(super) fn sidecache(&mut self, stats: &Stats, gauges: &Gauges) -> Result<(), Error> {
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("commit", option_env!("SIDECACHE_COMMIT").unwrap_or_default()),
        ];
        self.gauge("sidecache_build_info", "The program that runs", &labels, 1.0)?;
        self.counters("sidecache_log_dropped", "Log lines that were dropped", |family| {
            family.add(&[], gauges.log_dropped)
        })?;
        if let Some(spans) = gauges.spans {
            self.counters("sidecache_spans", "Spans for the collector of traces", |family| {
                family.add(&[("outcome", "exported")], spans.exported)?;
                family.add(&[("outcome", "dropped")], spans.dropped)
            })?;
        }
        if let Some(JwksGauges { keys, loaded, failed }) = gauges.jwks {
            self.gauge("sidecache_jwks_keys", "The keys of tokens that count", &[], keys as f64)?;
            self.counters("sidecache_jwks_loads", "Attempts to get the keys of tokens", |family| {
                family.add(&[("outcome", "ok")], loaded)?;
                family.add(&[("outcome", "error")], failed)
            })?;
        }
        let success = f64::from(u8::from(!stats.reload_failed()));
        self.gauge("sidecache_reload_success", "Whether the last reload was successful", &[], success)
    }

    /// When what is shown to others ends.
    pub(super) fn ends(&mut self, stats: &Stats, gauges: &Gauges) -> Result<(), Error> {
        let mut family = self.family(
            "sidecache_certificate_expiry_timestamp_seconds",
            "When a certificate ends that is shown to others, in Unix seconds",
            MetricType::Gauge,
        )?;
        for of in CertificateUse::ALL {
            if let Some(end) = stats.certificate_end(*of) {
                let labels = [("use", of.as_str())];
                family.encode_family(&labels)?.encode_gauge(&(end as f64))?;
            }
        }
        let Some(end) = gauges.password_ends else { return Ok(()) };
        self.gauge(
            "sidecache_token_expiry_timestamp_seconds",
            "When a token ends that is the password for another server, in Unix seconds",
            &[("use", CertificateUse::Redis.as_str())],
            end as f64,
        )
    }

    pub(super) fn process(&mut self, process: &Process) -> Result<(), Error> {
        self.counters("process_cpu_seconds", "The processor time used, in seconds", |family| {
            family.add_fraction(&[], process.cpu_seconds)
        })?;
        for (name, help, value) in [
            ("process_start_time_seconds", "When the process started, in Unix seconds", process.start_time),
            ("process_resident_memory_bytes", "The memory in use", process.resident),
            ("process_virtual_memory_bytes", "The address space in use", process.virtual_memory),
            ("process_open_fds", "Open files", process.open_files),
            ("process_max_fds", "How many files may be open", process.max_files),
        ] {
            self.gauge(name, help, &[], value)?;
        }
        Ok(())
    }
}

/// The series of a family of counters.
pub(super) struct Counters<'m, 'e>(&'m mut MetricEncoder<'e>);

impl Counters<'_, '_> {
    pub(super) fn add(&mut self, labels: &[Label<'_>], value: u64) -> Result<(), Error> {
        self.0.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn unless_zero(&mut self, labels: &[Label<'_>], value: u64) -> Result<(), Error> {
        if value > 0 { self.add(labels, value) } else { Ok(()) }
    }

    /// A counter that is no whole number.
    fn add_fraction(&mut self, labels: &[Label<'_>], value: f64) -> Result<(), Error> {
        self.0.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }
}

fn histogram(
    family: &mut MetricEncoder<'_>,
    labels: &[Label<'_>],
    bounds: &Bounds,
    totals: &Totals,
) -> Result<(), Error> {
    let buckets = totals.buckets(bounds);
    family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
        totals.sum(),
        totals.count(),
        &buckets,
        None,
    )
}
