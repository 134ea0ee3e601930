//! The life of a running [`App`]: it serves, and drains once it is asked to stop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{App, lifecycle, listen::Turn};
use crate::{
    admin::{self, Admin},
    config::{ListenerUse, LogLevel},
    http::forwarded::is_trusted,
    proxy::Proxy,
    server::{Listener, Preface, Proxies, Server, Workers},
};

/// The most connections to the admin listener.
const MAX_ADMIN_CONNECTIONS: usize = 100;

/// How long a stop waits for what operators still read.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

/// How long a connection without a request stays open once the listener is closed. Under load the next request comes
/// within that time; others would find the connection closed just when they are sent.
const FAREWELL: Duration = Duration::from_millis(250);

impl App {
    /// Serves until `stop` completes. Then it drains: it ends once all requests have, or after
    /// `drain_timeout`.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut app = self;
        let flush = app.flush.take();
        let shared = Arc::clone(&app.proxy.shared);
        let mut running = Running::start(app);
        stop.await;
        running.drain().await;
        running.end().await;
        shared.semantic.leave().await;
        if let Some(flush) = flush {
            flush.finish().await;
        }
    }
}

/// The two listeners and their connections.
struct Running {
    proxy: Arc<Proxy>,
    workers: Arc<Workers>,
    is_leaving: Arc<AtomicBool>,
    /// The task that accepts clients.
    accepting: JoinHandle<()>,
    stop: CancellationToken,
    tasks: TaskTracker,
    stop_admin: CancellationToken,
    admin_tasks: TaskTracker,
}

impl Running {
    fn start(app: App) -> Self {
        let App { proxy, listener, admin, certificates, workers, tasks, .. } = app;
        let workers = Arc::new(workers);
        let stop = CancellationToken::new();
        let is_leaving = Arc::<AtomicBool>::default();
        let server = {
            let live = proxy.live.load();
            Server {
                stats: Arc::clone(&proxy.shared.stats),
                is_for_operators: false,
                max_connections: live.config.limits.max_connections,
                header_timeout: live.config.limits.header_timeout,
                preface: Preface {
                    proxies: live.config.proxy_protocol.then(|| proxies(&proxy)),
                    certificate: certificates.of(ListenerUse::Clients),
                },
                is_leaving: Arc::clone(&is_leaving),
                stop: stop.clone(),
                farewell: FAREWELL.min(live.config.drain_timeout / 2),
                tasks: tasks.clone(),
            }
        };
        let stop_admin = CancellationToken::new();
        let admin_tasks = TaskTracker::new();
        if let Some(listener) = admin {
            let server = Server {
                is_for_operators: true,
                max_connections: MAX_ADMIN_CONNECTIONS,
                stop: stop_admin.clone(),
                tasks: admin_tasks.clone(),
                preface: Preface { proxies: None, certificate: certificates.of(ListenerUse::Admin) },
                ..server.clone()
            };
            serve_operators(&proxy, server, listener);
        }
        let watching = stop.clone();
        let watched = Arc::clone(&proxy);
        tokio::spawn(async move { watching.run_until_cancelled(certificates.watch(&watched)).await });
        let handler = Arc::clone(&proxy);
        let accepting = tokio::spawn(server.run(listener, Arc::clone(&workers), move |request, caller| {
            Arc::clone(&handler).handle(request, caller)
        }));
        Self { proxy, workers, is_leaving, accepting, stop, tasks, stop_admin, admin_tasks }
    }

    async fn drain(&mut self) {
        let (delay, limit, is_replaced) = {
            let config = &self.proxy.live.load().config;
            (config.drain_delay, config.drain_timeout, config.listen_reuse)
        };
        lifecycle(
            LogLevel::Info,
            "draining",
            json!({"delay_ms": delay.as_millis() as u64, "timeout_ms": limit.as_millis() as u64}),
        );
        self.proxy.health.drain();
        self.is_leaving.store(true, Ordering::Relaxed);
        if is_replaced {
            // The next process waits for the address.
            self.stop_admin.cancel();
        }
        sleep(delay).await;
        self.stop.cancel();
        if timeout(limit, self.connections_end()).await.is_err() {
            lifecycle(
                LogLevel::Warning,
                "the drain's time is up; what still runs is cut",
                json!({"running": self.tasks.len()}),
            );
        }
    }

    async fn connections_end(&mut self) {
        // The last connections begin only now.
        let _ = (&mut self.accepting).await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn end(mut self) {
        // The admin listener stayed up through the drain, for the orchestrator's probes.
        self.stop_admin.cancel();
        self.proxy.shared.watch.close();
        self.admin_tasks.close();
        // Whoever does not read to the end within that time is cut.
        let _ = timeout(ADMIN_DRAIN, self.admin_tasks.wait()).await;
        self.accepting.abort();
        if !self.accepting.is_finished() {
            let _ = (&mut self.accepting).await;
        }
        if let Some(workers) = Arc::into_inner(self.workers) {
            workers.stop().await;
        }
    }
}

/// Those who name their clients: the trusted ones of the settings in force.
fn proxies(proxy: &Arc<Proxy>) -> Proxies {
    let proxy = Arc::clone(proxy);
    Proxies::new(move |peer| is_trusted(&proxy.live.load().config.trusted_proxies, peer))
}

/// Serves the admin listener on the runtime that this is called in: operators' calls delay no client.
fn serve_operators(proxy: &Arc<Proxy>, server: Server, listener: Turn<Listener>) {
    let shared = Arc::clone(&proxy.shared);
    let stop = server.stop.clone();
    let stop_history = stop.clone();
    tokio::spawn(async move { stop_history.run_until_cancelled(admin::keep_history(&shared)).await });
    let admin = Arc::new(Admin::new(Arc::clone(proxy)));
    let workers = Arc::new(Workers::current());
    tokio::spawn(async move {
        let Some(listener) = stop.run_until_cancelled(listener.wait()).await else { return };
        let handle = move |request, caller: Arc<_>| {
            let admin = Arc::clone(&admin);
            async move { admin.handle(request, &caller).await }
        };
        server.run(listener, workers, handle).await;
    });
}
