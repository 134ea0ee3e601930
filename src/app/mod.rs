//! The composition root: makes a running proxy of a checked configuration, reloads it, and ends it.
//!
//! Only this file knows how the store, the upstream, the proxy and the two listeners fit together.

#![warn(missing_docs)]

mod certificates;
mod error;
pub(crate) mod itself;
mod listen;
mod reload;
mod run;
pub(crate) mod start_checks;

pub(crate) use self::listen::Inherited;
pub use self::{error::StartError, reload::Reloader};

use std::{
    io,
    num::NonZeroUsize,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use self::{
    certificates::Certificates,
    listen::{Listeners, Turn},
};
use crate::{
    cache::{key::namespace::Namespace, price::Prices},
    config::{Config, ListenAddress, LogLevel, StoreConfig},
    proxy::{
        Proxy,
        accepted_credentials::AcceptedCredentials,
        cors::Cors,
        health::Health,
        insight::Insight,
        invalidate::settling::Settling,
        jwks::JwksSlot,
        not_stored::NotStored,
        passthrough::preset_hint::PresetHint,
        reload::Reloads,
        semantic::SemanticSlot,
        state::{Live, Shared},
        upstream::hop::Hop,
    },
    server::{Listener, Workers},
    store::{MemoryStore, Near, OpenError, RedisClient, RedisStore, Store, StoreEvent},
    telemetry::{
        history::{Event, History},
        log::{Log, events},
        stats::Stats,
        traces::{Flush, Traces},
    },
    tls::FileError,
};

/// How long a start waits for Redis, so that already the first requests find it.
const STORE_WAIT: Duration = Duration::from_millis(500);

/// A proxy that listens on its addresses, and answers once it runs.
#[derive(Debug)]
pub struct App {
    proxy: Arc<Proxy>,
    listener: Listener,
    admin: Option<Turn<Listener>>,
    certificates: Certificates,
    workers: Workers,
    /// A permit for each request to the upstream.
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    /// Sends the last spans of traces.
    flush: Option<Flush>,
}

impl App {
    /// Builds what `config` asks for, and binds its listeners. Nothing is answered before [`App::run`].
    ///
    /// # Errors
    /// [`StartError`], if an address is taken, or the store's or the upstream's settings cannot be used.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        Self::bind_in(config, Inherited::default(), None).await
    }

    /// [`bind`](Self::bind), with sockets that were handed over, and the log whose state the health page shows.
    pub(crate) async fn bind_in(
        mut config: Config,
        inherited: Inherited,
        log: Option<Log>,
    ) -> Result<Self, StartError> {
        // A taken address is reported at once. But nobody may connect yet: the connection would wait for the
        // store.
        let listeners = Listeners::prepare(&mut config, inherited)?;
        itself::refuse(&config.upstream, listeners.addresses()).await?;
        let stats = Arc::<Stats>::default();
        let certificates = Certificates::open(&config, Arc::clone(&stats))
            .map_err(|error| StartError::Certificate(error.to_string()))?;
        start_checks::open_files(&config.limits);
        let count = config.workers.unwrap_or_else(cores);
        let workers = Workers::start(count).map_err(|source| StartError::Workers { count, source })?;
        let (traces, flush) =
            Traces::start(&config.otel).map_err(|error| StartError::Traces(error.to_string()))?;
        let history = Arc::new(History::default());
        let on_event = marking(Arc::clone(&history));
        let store = open_store(&config.store, on_event).await.map_err(StartError::Store)?;
        store.join_replicas();
        start_checks::clock(&store);
        let (listener, admin) = listeners.open(&mut config)?;
        let tasks = TaskTracker::new();
        let shared = Shared {
            namespace: Namespace::leak(&config.store.namespace),
            store,
            stats,
            history,
            traces,
            watch: Arc::default(),
            accepted_credentials: AcceptedCredentials::default(),
            jwks: JwksSlot::default(),
            semantic: SemanticSlot::default(),
            cors: Cors::default(),
            in_flight: Arc::default(),
            hop: Hop::random(),
            settling: Settling::default(),
            preset_hint: PresetHint::default(),
            not_stored: NotStored::default(),
            reloads: Reloads::default(),
            insight: Insight::new(config.insight_memory),
            tasks: tasks.clone(),
        };
        let permits = Arc::new(Semaphore::new(config.limits.max_upstream_requests));
        let shared = Arc::new(shared);
        count_in(&shared.stats, &config.prices)?;
        let live = Live::new(config, Arc::clone(&shared), Arc::clone(&permits))?;
        let proxy = Proxy { shared, live: ArcSwap::from_pointee(live), health: Health::new(log) };
        Ok(Self { proxy: Arc::new(proxy), listener, admin, certificates, workers, permits, tasks, flush })
    }

    /// The address for clients.
    ///
    /// # Errors
    /// The system's, if it cannot say.
    pub fn address(&self) -> io::Result<ListenAddress> {
        self.listener.address()
    }

    /// The address for operators; `None` without an admin listener, and while another process has its address.
    pub fn admin_address(&self) -> Option<ListenAddress> {
        match self.admin.as_ref()? {
            Turn::Now(listener) => listener.address().ok(),
            Turn::Later(_) => None,
        }
    }

    /// A handle that replaces the settings later.
    pub fn reloader(&self) -> Reloader {
        Reloader {
            proxy: Arc::clone(&self.proxy),
            permits: Arc::clone(&self.permits),
            certificates: self.certificates.clone(),
        }
    }
}

/// How many cores the process may use: its affinity and its cgroup's quota count.
fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Counts money in the currency of `prices` from now on.
fn count_in(stats: &Stats, prices: &Prices) -> Result<(), StartError> {
    let new = prices.currency();
    stats.count_in(new).map_err(|counted| StartError::Currency {
        counted: counted.as_str().to_owned(),
        new: new.map(|new| new.as_str().to_owned()).unwrap_or_default(),
    })
}

/// Whether the listeners' certificates can be used.
///
/// # Errors
/// If a file is of no use.
pub(crate) fn check_certificates(config: &Config) -> Result<(), FileError> {
    Certificates::open(config, Arc::default()).map(|_| ())
}

/// Opens the store that the settings name. With Redis, it waits a moment for the connection; after that, the
/// store connects by itself.
///
/// # Errors
/// [`OpenError`], if the URL or a file for its TLS connection cannot be used.
pub(crate) async fn open_store(
    config: &StoreConfig,
    on_event: impl Fn(StoreEvent) + Send + Sync + 'static,
) -> Result<Store, OpenError> {
    let Some(url) = &config.redis else { return Ok(Store::Memory(MemoryStore::new(config.max_memory))) };
    let StoreConfig { access, namespace, timeout, near_memory, near_staleness, .. } = config;
    if access.is_unverified {
        lifecycle(
            LogLevel::Warning,
            "nobody checks who Redis is: its URL ends with #insecure",
            json!({"setting": "store.redis_insecure"}),
        );
    }
    let near = Near { max_bytes: *near_memory, staleness: *near_staleness };
    let client = RedisClient::open(url.expose(), access, namespace, *timeout, on_event)?;
    let store = RedisStore::new(client, near, config.encryption());
    store.set_max_entry(config.max_entry);
    if store.client().ready(STORE_WAIT).await {
        store.synced(STORE_WAIT).await;
    }
    Ok(Store::Redis(Arc::new(store)))
}

/// Logs what happens to the store, and marks it in the history.
fn marking(history: Arc<History>) -> impl Fn(StoreEvent) + Send + Sync + 'static {
    move |event| {
        let mark = match &event {
            StoreEvent::Lost { .. } => Some(Event::StoreLost),
            StoreEvent::Back => Some(Event::StoreBack),
            StoreEvent::WritesRefused { .. } => Some(Event::WritesRefused),
            StoreEvent::WritesBack => Some(Event::WritesBack),
            StoreEvent::Lacks { .. } => None,
        };
        if let Some(mark) = mark {
            history.mark(mark, SystemTime::now());
        }
        log_store_event(event);
    }
}

pub(crate) fn log_store_event(event: StoreEvent) {
    match event {
        StoreEvent::Lost { reason } => {
            lifecycle(
                LogLevel::Warning,
                "Cache store lost: requests go on to the upstream",
                json!({"reason": reason}),
            );
        }
        StoreEvent::Back => lifecycle(LogLevel::Info, "Cache store back", json!({})),
        StoreEvent::WritesRefused { reason } => {
            lifecycle(
                LogLevel::Warning,
                "Cache store refuses writes: reads go on",
                json!({"reason": reason}),
            );
        }
        StoreEvent::WritesBack => lifecycle(LogLevel::Info, "Cache store takes writes again", json!({})),
        StoreEvent::Lacks { texts } if texts.is_empty() => {
            lifecycle(LogLevel::Info, "Cache store has all that it needs", json!({}));
        }
        StoreEvent::Lacks { texts } => {
            lifecycle(LogLevel::Warning, "Cache store lacks something", json!({"problem": texts.join("; ")}));
        }
    }
}

/// Logs an event of the process's life. `members` is an object.
pub(crate) fn lifecycle(level: LogLevel, message: &str, members: Value) {
    let members = match members {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    events::lifecycle(level, message, &members);
}
