//! `/metrics`: the counters of all threads and a few gauges, as OpenMetrics text and as the older text of Prometheus.
//!
//! Labels come from the configuration and from closed lists, so no request can make a new series.

mod families;
mod process;
mod semantic;
mod text;

use std::sync::Arc;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text::encode},
    registry::Registry,
};

pub(crate) use self::text::Format;
use self::{families::Families, process::Process};
use crate::telemetry::{stats::Stats, traces::SpanCounts};

/// What is measured when it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Gauges {
    /// `memory` or `redis`.
    pub(crate) store: &'static str,
    pub(crate) store_is_up: bool,
    /// The number of entries; `None` if it is not known.
    pub(crate) entries: Option<u64>,
    /// The bytes that they take; `None` if that is not known.
    pub(crate) entry_bytes: Option<u64>,
    /// The most bytes that they may take; `None` without a bound, or if it is not known.
    pub(crate) entry_bytes_limit: Option<u64>,
    /// When the store's password ends, in Unix seconds; `None` if it does not say.
    pub(crate) password_ends: Option<u64>,
    /// How many connections to the store are open; `None` if it needs none.
    pub(crate) store_connections: Option<u64>,
    /// How many entries went to make room, and how many at the end of their lives; `None` if that is not known here.
    pub(crate) evicted: Option<(u64, u64)>,
    /// How many requests read the answer to another one.
    pub(crate) waiting: u64,
    /// How many requests are under way to the upstream.
    pub(crate) upstream_requests: u64,
    /// How many lines the log has dropped.
    pub(crate) log_dropped: u64,
    /// The spans that were exported and dropped; `None` without a collector.
    pub(crate) spans: Option<SpanCounts>,
    /// The keys of tokens; `None` without `[jwks]`.
    pub(crate) jwks: Option<JwksGauges>,
    /// Whether calls are told apart by their models.
    pub(crate) by_model: bool,
    /// Hits by meaning; `None` without `[semantic]`.
    pub(crate) semantic: Option<SemanticGauges>,
}

/// How the keys of tokens are doing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JwksGauges {
    pub(crate) keys: u64,
    /// How often they were got, and how often not.
    pub(crate) loaded: u64,
    pub(crate) failed: u64,
}

/// How hits by meaning are doing.
#[derive(Clone, Debug)]
pub(crate) struct SemanticGauges {
    /// The highest rate of false hits, between 0 and 1.
    pub(crate) limit: f64,
    pub(crate) embedder_is_up: bool,
    /// The vectors in the index, and the most that it holds.
    pub(crate) entries: u64,
    pub(crate) max_entries: u64,
    pub(crate) routes: Vec<SemanticRouteGauges>,
}

/// How a route that takes part is doing.
#[derive(Clone, Debug)]
pub(crate) struct SemanticRouteGauges {
    pub(crate) route: String,
    /// `None` if nothing is certified.
    pub(crate) threshold: Option<f64>,
    /// The upper bound of the rate of false hits, between 0 and 1; `None` if nothing is certified.
    pub(crate) bound: Option<f64>,
    pub(crate) labels: u64,
    /// How many more a threshold needs at least.
    pub(crate) labels_missing: u64,
    pub(crate) is_stepped_back: bool,
}

#[derive(Debug)]
struct Scrape {
    stats: Arc<Stats>,
    gauges: Gauges,
    process: Option<Process>,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut families = Families(encoder);
        families.requests(&self.stats)?;
        families.cache(&self.stats)?;
        families.calls(&self.stats, self.gauges.by_model)?;
        families.store(&self.stats, &self.gauges)?;
        families.connections(&self.stats, &self.gauges)?;
        self.gauges.semantic.iter().try_for_each(|gauges| families.semantic(&self.stats, gauges))?;
        families.sidecache(&self.stats, &self.gauges)?;
        families.ends(&self.stats, &self.gauges)?;
        self.process.iter().try_for_each(|process| families.process(process))
    }
}

/// The page in this format.
pub(crate) fn page(stats: &Arc<Stats>, gauges: Gauges, format: Format) -> String {
    let mut registry = Registry::default();
    let process = Process::read();
    registry.register_collector(Box::new(Scrape { stats: Arc::clone(stats), gauges, process }));
    let mut text = String::with_capacity(64 * 1024);
    // Writing to a String cannot fail.
    let _ = encode(&mut text, &registry);
    format.of(text)
}
