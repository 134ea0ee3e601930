//! The composition root: makes a running proxy of a checked configuration, reloads it, and ends it.
//!
//! Only this file knows how the store, the upstream, the proxy and the two listeners fit together.

#![warn(missing_docs)]

pub(crate) mod start_checks;

use std::{
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use serde_json::{Map, Value, json};
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::{self, Admin},
    cache::{key::namespace::Namespace, price::Prices},
    config::{Config, LogLevel, StoreConfig},
    proxy::{
        Proxy,
        accepted_credentials::AcceptedCredentials,
        cors::Cors,
        health::Health,
        insight::Insight,
        invalidate::settling::Settling,
        not_stored::NotStored,
        passthrough::preset_hint::PresetHint,
        reload::{ReloadCall, Reloads},
        state::{Live, Shared},
    },
    server::{Server, Workers},
    store::{MemoryStore, Near, OpenError, RedisClient, RedisStore, Store, StoreEvent},
    telemetry::{
        history::{Event, History},
        log::{Log, events},
        stats::Stats,
        traces::{Flush, Traces},
    },
};

/// How long a start waits for Redis, so that already the first requests find it.
const STORE_WAIT: Duration = Duration::from_millis(500);

/// How many connections may wait to be accepted. The system may allow fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// The most connections to the admin listener.
const MAX_ADMIN_CONNECTIONS: usize = 100;

/// How long a stop waits for what operators still read.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

/// Why a start or a reload failed: one line that says what to change.
#[derive(Debug, Error)]
pub enum StartError {
    /// The system refuses to listen on an address.
    #[error("{}", listen_failure(.address, .setting, .source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// A file for the store's TLS connection cannot be read or used.
    #[error("{0}")]
    Store(OpenError),
    /// The system's certificates cannot be read.
    #[error(
        "the upstream is https:// and no root certificates were found ({0}); install ca-certificates, or name a bundle in SSL_CERT_FILE"
    )]
    Certificates(io::Error),
    /// Traces cannot be exported.
    #[error("otel.endpoint (OTEL_EXPORTER_OTLP_ENDPOINT) cannot be used: {0}")]
    Traces(String),
    /// A reload would count money in another currency than before.
    #[error("the prices are in {new}, and the sums so far are in {counted}; restart to change the currency")]
    Currency {
        /// The currency of the sums.
        counted: String,
        /// The currency of the new prices.
        new: String,
    },
    /// The system gives no thread for a worker.
    #[error("cannot start {count} workers: {source}; choose fewer with workers (CACHE_WORKERS)")]
    Workers {
        /// How many were to be started.
        count: NonZeroUsize,
        /// The system's error.
        source: io::Error,
    },
    /// Without its token, anybody could use the running admin listener from other machines.
    #[error(
        "the admin listener stays on {0} until a restart, and can be reached from other machines: \
         keep admin.token (ADMIN_TOKEN) until then"
    )]
    Exposed(SocketAddr),
}

fn listen_failure(address: &SocketAddr, setting: &str, source: &io::Error) -> String {
    if source.kind() == io::ErrorKind::AddrInUse {
        format!(
            "cannot listen on {address}: another process does; stop that one, or choose another address with {setting}"
        )
    } else {
        format!("cannot listen on {address}: {source}; choose another address with {setting}")
    }
}

/// A proxy that listens on its addresses, and answers once it runs.
#[derive(Debug)]
pub struct App {
    proxy: Arc<Proxy>,
    listener: TcpListener,
    admin: Option<TcpListener>,
    workers: Workers,
    /// A permit for each request to the upstream.
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    /// Sends the last spans of traces.
    flush: Option<Flush>,
}

/// Replaces the settings of a running [`App`].
#[derive(Clone, Debug)]
pub struct Reloader {
    proxy: Arc<Proxy>,
    permits: Arc<Semaphore>,
}

impl App {
    /// Builds what `config` asks for, and binds its listeners. Nothing is answered before [`App::run`].
    ///
    /// # Errors
    /// [`StartError`], if an address is taken, or the store's or the upstream's settings cannot be used.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        Self::bind_with_log(config, None).await
    }

    /// [`bind`](Self::bind), with the log whose state the health page shows.
    pub(crate) async fn bind_with_log(mut config: Config, log: Option<Log>) -> Result<Self, StartError> {
        // A taken address is reported at once. But nobody may connect yet: the connection would wait for the
        // store.
        let socket = BoundSocket::bind(config.listen, "--listen (LISTEN)")?;
        let admin = config
            .admin
            .listen
            .map(|address| BoundSocket::bind(address, "--admin-listen (ADMIN_LISTEN, `off` for none)"))
            .transpose()?;
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
        let listener = socket.listen()?;
        // Where the system chose the port, the page tells this one.
        config.listen = listener.local_addr().unwrap_or(config.listen);
        let admin = admin.map(BoundSocket::listen).transpose()?;
        let tasks = TaskTracker::new();
        let shared = Shared {
            namespace: Namespace::leak(&config.store.namespace),
            store,
            stats: Arc::default(),
            history,
            traces,
            watch: Arc::default(),
            accepted_credentials: AcceptedCredentials::default(),
            cors: Cors::default(),
            in_flight: Arc::default(),
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
        let live =
            Live::new(config, Arc::clone(&shared), Arc::clone(&permits)).map_err(StartError::Certificates)?;
        let proxy = Proxy { shared, live: ArcSwap::from_pointee(live), health: Health::new(log) };
        Ok(Self { proxy: Arc::new(proxy), listener, admin, workers, permits, tasks, flush })
    }

    /// The address for clients.
    ///
    /// # Errors
    /// The system's, if it cannot say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The address for operators; `None` without an admin listener.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.local_addr().ok()
    }

    /// A handle that replaces the settings later.
    pub fn reloader(&self) -> Reloader {
        Reloader { proxy: Arc::clone(&self.proxy), permits: Arc::clone(&self.permits) }
    }

    /// Serves until `stop` completes. Then it drains: it ends once all requests have, or after
    /// `drain_timeout`.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { proxy, listener, admin, workers, tasks, flush, .. } = self;
        let workers = Arc::new(workers);
        let limits = proxy.live.load().config.limits.clone();
        let stop_proxy = CancellationToken::new();
        // The admin listener stays up through the drain, for the orchestrator's probes.
        let stop_admin = CancellationToken::new();
        let admin_tasks = TaskTracker::new();
        let server = Server {
            stats: Arc::clone(&proxy.shared.stats),
            max_connections: limits.max_connections,
            header_timeout: limits.header_timeout,
            stop: stop_proxy.clone(),
            tasks: tasks.clone(),
        };
        if let Some(listener) = admin {
            let shared = Arc::clone(&proxy.shared);
            let ended = stop_admin.clone();
            tokio::spawn(async move { ended.run_until_cancelled(admin::keep_history(&shared)).await });
            let admin = Arc::new(Admin::new(Arc::clone(&proxy)));
            let server = Server {
                max_connections: MAX_ADMIN_CONNECTIONS,
                stop: stop_admin.clone(),
                tasks: admin_tasks.clone(),
                ..server.clone()
            };
            // Operators' calls delay no client.
            let workers = Arc::new(Workers::current());
            tokio::spawn(server.run(listener, workers, move |request, caller| {
                let admin = Arc::clone(&admin);
                async move { admin.handle(request, &caller).await }
            }));
        }
        let handler = Arc::clone(&proxy);
        let serving = tokio::spawn(server.run(listener, Arc::clone(&workers), move |request, caller| {
            Arc::clone(&handler).handle(request, caller)
        }));
        stop.await;
        drain(&proxy, &stop_proxy, &tasks).await;
        stop_admin.cancel();
        proxy.shared.watch.close();
        admin_tasks.close();
        // Whoever does not read to the end within that time is cut.
        let _ = timeout(ADMIN_DRAIN, admin_tasks.wait()).await;
        serving.abort();
        let _ = serving.await;
        if let Some(workers) = Arc::into_inner(workers) {
            workers.stop().await;
        }
        if let Some(flush) = flush {
            flush.finish().await;
        }
    }
}

/// How many cores the process may use: its affinity and its cgroup's quota count.
fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

async fn drain(proxy: &Proxy, stop: &CancellationToken, tasks: &TaskTracker) {
    let (delay, limit) = {
        let live = proxy.live.load();
        (live.config.drain_delay, live.config.drain_timeout)
    };
    lifecycle(
        LogLevel::Info,
        "draining",
        json!({"delay_ms": delay.as_millis() as u64, "timeout_ms": limit.as_millis() as u64}),
    );
    proxy.health.drain();
    tokio::time::sleep(delay).await;
    stop.cancel();
    tasks.close();
    if timeout(limit, tasks.wait()).await.is_err() {
        lifecycle(
            LogLevel::Warning,
            "the drain's time is up; what still runs is cut",
            json!({"running": tasks.len()}),
        );
    }
}

impl Reloader {
    /// The reloads that operators ask for on the admin listener.
    pub(crate) fn calls(&self) -> mpsc::Receiver<ReloadCall> {
        self.proxy.shared.reloads.listen()
    }

    /// Applies `config`, except for the settings that need a restart.
    ///
    /// # Errors
    /// [`StartError`], if the upstream's settings cannot be used, the running admin listener would be open to all, or
    /// the prices are in another currency than before. The old settings stay then.
    pub fn reload(&self, mut config: Config) -> Result<(), StartError> {
        // The running store, listeners and permits are those of the old settings.
        let running = self.proxy.live.load_full();
        config.store = StoreConfig { max_entry: config.store.max_entry, ..running.config.store.clone() };
        config.listen = running.config.listen;
        config.admin.listen = running.config.admin.listen;
        config.limits.max_upstream_requests = running.config.limits.max_upstream_requests;
        if let Some(address) = config.admin.exposed() {
            return Err(StartError::Exposed(address));
        }
        let shared = Arc::clone(&self.proxy.shared);
        let live = Live::new(config, shared, Arc::clone(&self.permits)).map_err(StartError::Certificates)?;
        count_in(&self.proxy.shared.stats, &live.config.prices)?;
        self.proxy.shared.store.set_max_entry(live.config.store.max_entry);
        self.proxy.live.store(Arc::new(live));
        self.note(true);
        Ok(())
    }

    /// Notes that the settings could not be replaced.
    pub(crate) fn failed(&self) {
        self.note(false);
    }

    fn note(&self, success: bool) {
        let event = if success { Event::Reloaded } else { Event::ReloadFailed };
        self.proxy.shared.stats.reloaded(success);
        self.proxy.shared.history.mark(event, SystemTime::now());
    }
}

/// Counts money in the currency of `prices` from now on.
fn count_in(stats: &Stats, prices: &Prices) -> Result<(), StartError> {
    let new = prices.currency();
    stats.count_in(new).map_err(|counted| StartError::Currency {
        counted: counted.as_str().to_owned(),
        new: new.map(|new| new.as_str().to_owned()).unwrap_or_default(),
    })
}

/// A socket that has its address, and to which nobody can connect yet.
struct BoundSocket {
    socket: TcpSocket,
    address: SocketAddr,
    setting: &'static str,
}

impl BoundSocket {
    /// Binds `address`, which `setting` names.
    fn bind(address: SocketAddr, setting: &'static str) -> Result<Self, StartError> {
        let socket =
            bind_socket(address).map_err(|source| StartError::Listen { address, setting, source })?;
        Ok(Self { socket, address, setting })
    }

    /// Lets clients connect, with room for many at once: if the queue is full, the client's system tries
    /// again only after a second.
    fn listen(self) -> Result<TcpListener, StartError> {
        let Self { socket, address, setting } = self;
        socket.listen(BACKLOG).map_err(|source| StartError::Listen { address, setting, source })
    }
}

fn bind_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Connections inherit this. It finds peers that vanished.
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    Ok(socket)
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
            StoreEvent::Lost { .. } => Event::StoreLost,
            StoreEvent::Back => Event::StoreBack,
            StoreEvent::WritesRefused { .. } => Event::WritesRefused,
            StoreEvent::WritesBack => Event::WritesBack,
        };
        history.mark(mark, SystemTime::now());
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
