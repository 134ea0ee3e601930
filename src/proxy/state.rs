//! What requests share: [`Shared`] lasts as long as the process, a reload replaces [`Live`].

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::{
    cache::{
        identity::Identities, invalidation::resource::Resources, key::namespace::Namespace,
        model::CountedModels, route::Route,
    },
    config::Config,
    proxy::{
        accepted_credentials::AcceptedCredentials,
        coalesce::registry::InFlight,
        cors::Cors,
        insight::Insight,
        invalidate::settling::Settling,
        jwks::{Jwks, JwksError, JwksSlot, unix_time},
        not_stored::NotStored,
        passthrough::preset_hint::PresetHint,
        reload::Reloads,
        semantic::{Semantic, SemanticSlot, Surroundings, embedder::EmbedderError},
        upstream::{Upstream, UpstreamTlsError, hop::Hop},
    },
    request::{Choices, ClassifyContext, parse_cache::ParseCache},
    store::Store,
    telemetry::{history::History, stats::Stats, traces::Traces, watch::Watch},
};

/// What lasts as long as the process.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The first part of every key.
    pub(crate) namespace: Namespace,
    pub(crate) store: Store,
    pub(crate) stats: Arc<Stats>,
    /// What the counters did over the last day.
    pub(crate) history: Arc<History>,
    pub(crate) traces: Traces,
    /// Those who read requests along.
    pub(crate) watch: Arc<Watch>,
    pub(crate) accepted_credentials: AcceptedCredentials,
    /// The keys of tokens, for the settings in force.
    pub(crate) jwks: JwksSlot,
    /// Hits by meaning, for the settings in force.
    pub(crate) semantic: SemanticSlot,
    /// The pages that may read answers.
    pub(crate) cors: Cors,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) not_stored: NotStored,
    pub(crate) reloads: Reloads,
    pub(crate) insight: Insight,
    pub(crate) preset_hint: PresetHint,
    /// What services work on, although they have answered.
    pub(crate) settling: Settling,
    /// This process, as requests that go upstream name it.
    pub(crate) hop: Hop,
    /// The connections, and the fills, which outlive them.
    pub(crate) tasks: TaskTracker,
}

/// What a reload replaces as a whole. A request uses the one of its beginning to its end.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) shared: Arc<Shared>,
    pub(crate) config: Config,
    /// The routes of `config`, each with a pointer of its own: two settings never share a route.
    pub(crate) routes: Vec<Arc<Route>>,
    /// The models that are counted apart.
    pub(crate) counted_models: CountedModels,
    pub(crate) upstream: Upstream,
    /// The keys of tokens; `None` without `[jwks]`.
    pub(crate) jwks: Option<Arc<Jwks>>,
    /// Hits by meaning; `None` where they are off.
    pub(crate) semantic: Option<Arc<Semantic>>,
    /// What a request's classification needs besides its route.
    pub(crate) classify_context: ClassifyContext,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LiveError {
    /// TLS to the upstream cannot begin.
    #[error(transparent)]
    UpstreamTls(#[from] UpstreamTlsError),
    /// The keys of tokens cannot be looked after.
    #[error(transparent)]
    Jwks(#[from] JwksError),
    /// No text can be embedded.
    #[error(transparent)]
    Embedder(#[from] EmbedderError),
}

impl Live {
    /// `permits` bounds the requests to the upstream across all reloads.
    ///
    /// # Errors
    /// If a file that the settings name, or the system's certificates, are of no use.
    pub(crate) fn new(
        config: Config,
        shared: Arc<Shared>,
        permits: Arc<Semaphore>,
    ) -> Result<Self, LiveError> {
        let upstream =
            Upstream::new(&config.upstream, permits, Arc::clone(&shared.stats), shared.hop.clone())?;
        let mut classify_context = classify_context(&config, shared.namespace);
        let jwks = shared.jwks.of(config.jwks.as_ref())?;
        if let Some(jwks) = &jwks {
            classify_context.identities = Arc::clone(jwks.identities());
        }
        let around = Surroundings { store: &shared.store, namespace: shared.namespace, stats: &shared.stats };
        let semantic = shared.semantic.of(&config, &around)?;
        let numbered = |route: &Route| {
            let number = shared.stats.routes.number(route);
            Arc::new(Route { number, ..route.clone() })
        };
        let routes = config.routes.iter().map(numbered).collect();
        let number = |pattern: &str| shared.stats.models.number(pattern);
        let counted_models = CountedModels::new(&config.counted_models, number);
        Ok(Self { shared, config, routes, counted_models, upstream, jwks, semantic, classify_context })
    }
}

pub(crate) fn classify_context(config: &Config, namespace: Namespace) -> ClassifyContext {
    ClassifyContext {
        namespace,
        epoch: config.epoch.clone(),
        encryption: config.store.encryption().map(Arc::new),
        host_counts: config.upstream.preserve_host,
        log_questions: config.log.queries,
        resources: Resources::from_routes(&config.routes),
        parse_cache: ParseCache::for_store(config.store.memory()),
        choices: Choices::default(),
        identities: Arc::new(Identities::unverified(unix_time)),
    }
}
