//! The composition root: from a configuration to a running proxy, and to its end.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use serde_json::{Map, Value, json};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::Admin,
    cache::key::namespace::Namespace,
    config::{Config, LogLevel, StoreConfig},
    proxy::{
        Proxy,
        accepted_credentials::AcceptedCredentials,
        cors::Cors,
        health::Health,
        state::{Live, Shared},
    },
    server::Server,
    store::{MemoryStore, OpenError, RedisClient, RedisStore, Store, StoreEvent},
    telemetry::log::{Log, events},
};

/// How long a start waits for Redis, so that the first requests find it where it is there.
const STORE_WAIT: Duration = Duration::from_millis(500);

/// Connections that wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// Operators' connections, at most.
const ADMIN_CONNECTIONS: usize = 100;

/// Why the start failed; one line that says what to change.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be listened on.
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file that the store's connection needs is of no use.
    Store(OpenError),
    /// The system's certificates cannot be read.
    Certificates(io::Error),
    /// The admin listener that runs could be used from other machines by anybody.
    Exposed(SocketAddr),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, setting, source } if source.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "cannot listen on {address}: another process does; stop that one, or choose another address with {setting}"
                )
            }
            Self::Listen { address, setting, source } => {
                write!(f, "cannot listen on {address}: {source}; choose another address with {setting}")
            }
            Self::Store(error) => error.fmt(f),
            Self::Exposed(address) => write!(
                f,
                "the admin listener stays on {address} until a restart, and can be reached from other machines: \
                 keep admin.token (ADMIN_TOKEN) until then"
            ),
            Self::Certificates(error) => write!(
                f,
                "the upstream is https:// and no root certificates were found ({error}); install ca-certificates, or name a bundle in SSL_CERT_FILE"
            ),
        }
    }
}

impl std::error::Error for StartError {}

/// A proxy that is bound to its addresses.
#[derive(Debug)]
pub struct App {
    proxy: Arc<Proxy>,
    listener: TcpListener,
    admin: Option<TcpListener>,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// Replaces the settings of a running [`App`].
#[derive(Clone, Debug)]
pub struct Reloader {
    proxy: Arc<Proxy>,
    permits: Arc<Semaphore>,
}

impl App {
    /// Builds everything that `config` asks for, and binds its listeners. Nothing is answered before
    /// [`App::run`].
    ///
    /// # Errors
    /// Where an address is taken, or the store's or the upstream's settings cannot be used.
    pub async fn bind(config: Config, log: Option<Log>) -> Result<Self, StartError> {
        // An address that is taken is told at once. But nobody connects before there is somebody to answer: who did would
        // wait for the store as long as the start does.
        let place = Place::take(config.listen, "--listen (LISTEN)")?;
        let admin = config.admin.listen;
        let admin =
            admin.map(|address| Place::take(address, "--admin-listen (ADMIN_LISTEN, `off` for none)"));
        let admin = admin.transpose()?;
        let store = open_store(&config.store).await.map_err(StartError::Store)?;
        let (listener, admin) = (place.listen()?, admin.map(Place::listen).transpose()?);
        let tasks = TaskTracker::new();
        let shared = Shared {
            namespace: Namespace::leak(&config.store.namespace),
            store,
            stats: Arc::default(),
            accepted_credentials: AcceptedCredentials::default(),
            cors: Cors::default(),
            in_flight: Arc::default(),
            tasks: tasks.clone(),
        };
        let permits = Arc::new(Semaphore::new(config.limits.max_upstream_requests));
        let shared = Arc::new(shared);
        let live =
            Live::new(config, Arc::clone(&shared), Arc::clone(&permits)).map_err(StartError::Certificates)?;
        let proxy = Proxy { shared, live: ArcSwap::from_pointee(live), health: Health::new(log) };
        Ok(Self { proxy: Arc::new(proxy), listener, admin, permits, tasks })
    }

    /// Where clients connect.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where operators connect, where they can.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.local_addr().ok()
    }

    /// What replaces the settings later.
    pub fn reloader(&self) -> Reloader {
        Reloader { proxy: Arc::clone(&self.proxy), permits: Arc::clone(&self.permits) }
    }

    /// Serves until `stop` completes, and then until what runs has ended, or the drain's time is up.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { proxy, listener, admin, tasks, .. } = self;
        let limits = proxy.live.load().config.limits.clone();
        // The admin listener stays up through the drain, for the orchestrator's probes.
        let (stop_proxy, stop_admin) = (CancellationToken::new(), CancellationToken::new());
        let server = Server {
            stats: Arc::clone(&proxy.shared.stats),
            max_connections: limits.max_connections,
            header_timeout: limits.header_timeout,
            stop: stop_proxy.clone(),
            tasks: tasks.clone(),
        };
        if let Some(listener) = admin {
            let admin = Arc::new(Admin::new(Arc::clone(&proxy)));
            let server = Server {
                max_connections: ADMIN_CONNECTIONS,
                stop: stop_admin.clone(),
                tasks: TaskTracker::new(),
                ..server.clone()
            };
            tokio::spawn(server.run(listener, move |request, caller| {
                let admin = Arc::clone(&admin);
                async move { admin.handle(request, &caller).await }
            }));
        }
        let handler = Arc::clone(&proxy);
        let serving = tokio::spawn(
            server.run(listener, move |request, caller| Arc::clone(&handler).handle(request, caller)),
        );
        stop.await;
        drain(&proxy, &stop_proxy, &tasks).await;
        stop_admin.cancel();
        serving.abort();
    }
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
    /// Takes over what `config` says, but for what only a restart can change.
    ///
    /// # Errors
    /// Where the upstream's settings cannot be used, or the admin listener that runs would be open to all; the old
    /// settings stay.
    pub fn reload(&self, mut config: Config) -> Result<(), StartError> {
        // The store and the admin listener that run are the old settings'.
        let running = self.proxy.live.load_full();
        config.store = StoreConfig { max_entry: config.store.max_entry, ..running.config.store.clone() };
        config.admin.listen = running.config.admin.listen;
        if let Some(address) = config.admin.exposed() {
            return Err(StartError::Exposed(address));
        }
        let (shared, permits) = (Arc::clone(&self.proxy.shared), Arc::clone(&self.permits));
        let live = Live::new(config, shared, permits).map_err(StartError::Certificates)?;
        self.proxy.shared.store.set_max_entry(live.config.store.max_entry);
        self.proxy.live.store(Arc::new(live));
        Ok(())
    }
}

/// An address that is ours, and that nobody can connect to yet.
struct Place {
    socket: TcpSocket,
    address: SocketAddr,
    setting: &'static str,
}

impl Place {
    /// Takes `address`, which `setting` names.
    fn take(address: SocketAddr, setting: &'static str) -> Result<Self, StartError> {
        let socket = bound(address).map_err(|source| StartError::Listen { address, setting, source })?;
        Ok(Self { socket, address, setting })
    }

    /// Lets clients connect, with room for a crowd at once: a connection that finds the queue full is tried again by the
    /// client's system after a second only.
    fn listen(self) -> Result<TcpListener, StartError> {
        let Self { socket, address, setting } = self;
        socket.listen(BACKLOG).map_err(|source| StartError::Listen { address, setting, source })
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Of the connections: a peer that is gone without a word is found out, sooner or later.
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// The store that the settings name; where it is Redis, tried for a moment and then left to connect on its own.
///
/// # Errors
/// Where a file that its connection needs is of no use.
pub async fn open_store(config: &StoreConfig) -> Result<Store, OpenError> {
    let Some(url) = &config.redis else { return Ok(Store::Memory(MemoryStore::new(config.max_memory))) };
    let StoreConfig { tls, namespace, timeout, near_memory, .. } = config;
    let client = RedisClient::open(url.expose(), tls, namespace, *timeout, tell_store_event)?;
    let store = RedisStore::new(client, *near_memory, config.encryption());
    store.set_max_entry(config.max_entry);
    if store.client().ready(STORE_WAIT).await {
        store.synced(STORE_WAIT).await;
    }
    Ok(Store::Redis(Arc::new(store)))
}

fn tell_store_event(event: StoreEvent) {
    match event {
        StoreEvent::Lost { reason } => {
            lifecycle(
                LogLevel::Warning,
                "store lost: requests go on to the upstream",
                json!({"reason": reason}),
            );
        }
        StoreEvent::Back => lifecycle(LogLevel::Info, "store back", json!({})),
        StoreEvent::WritesRefused { reason } => {
            lifecycle(LogLevel::Warning, "store refuses writes: reads go on", json!({"reason": reason}));
        }
        StoreEvent::WritesBack => lifecycle(LogLevel::Info, "store takes writes again", json!({})),
    }
}

/// Logs a step in the process's life; `members` is an object.
pub fn lifecycle(level: LogLevel, message: &str, members: Value) {
    let members = match members {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    events::lifecycle(level, message, &members);
}
