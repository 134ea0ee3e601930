//! What requests share: what lasts as long as the process, and what a reload replaces.

use std::{io, sync::Arc};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::{
    cache::{invalidation::resource::Resources, key::namespace::Namespace, route::Route},
    config::Config,
    proxy::{
        accepted_credentials::AcceptedCredentials, coalesce::registry::InFlight, cors::Cors,
        upstream::Upstream,
    },
    request::{ClassifyContext, parse_cache::ParseCache},
    store::Store,
    telemetry::stats::Stats,
};

/// What lasts as long as the process.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The first part of every key.
    pub(crate) namespace: Namespace,
    /// Where answers are kept.
    pub(crate) store: Store,
    /// What happened so far.
    pub(crate) stats: Arc<Stats>,
    /// Whose credentials are good.
    pub(crate) accepted_credentials: AcceptedCredentials,
    /// Whose pages may read answers.
    pub(crate) cors: Cors,
    /// The answers that are running.
    pub(crate) in_flight: Arc<InFlight>,
    /// What runs: connections, and fills, which outlive them.
    pub(crate) tasks: TaskTracker,
}

/// What a reload replaces as a whole.
#[derive(Debug)]
pub(crate) struct Live {
    /// What lasts as long as the process.
    pub(crate) shared: Arc<Shared>,
    /// The settings.
    pub(crate) config: Config,
    /// The settings' routes, each for itself. No other settings have the same ones.
    pub(crate) routes: Vec<Arc<Route>>,
    /// The client of the service behind.
    pub(crate) upstream: Upstream,
    /// What decides on a request besides its route.
    pub(crate) classify_context: ClassifyContext,
}

impl Live {
    /// What `config` makes of it; `permits` bounds the requests to the upstream over all reloads.
    ///
    /// # Errors
    /// Where the upstream is reached over TLS and the system's certificates cannot be read.
    pub(crate) fn new(config: Config, shared: Arc<Shared>, permits: Arc<Semaphore>) -> io::Result<Self> {
        let upstream = Upstream::new(&config.upstream, permits, Arc::clone(&shared.stats.retried))?;
        let classify_context = classify_context(&config, shared.namespace);
        let routes = config.routes.iter().cloned().map(Arc::new).collect();
        Ok(Self { shared, config, routes, upstream, classify_context })
    }
}

/// What `config` says of reading requests.
pub(crate) fn classify_context(config: &Config, namespace: Namespace) -> ClassifyContext {
    ClassifyContext {
        namespace,
        encryption: config.store.encryption().map(Arc::new),
        host_counts: config.upstream.preserve_host,
        log_questions: config.log.queries,
        resources: Resources::from_routes(&config.routes),
        parse_cache: ParseCache::for_store(config.store.memory()),
    }
}
