//! Whether Redis can be used, and the one place that decides it cannot: every call goes through
//! [`Breaker::call`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ::redis::{ErrorKind, RedisError, Value};
use arc_swap::{ArcSwapOption, Guard};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};

use super::{
    StoreError,
    connections::{Connection, Connections},
    endpoint::Endpoint,
    error::{Affected, PROTOCOL, affected_by, describe},
    requirements::Lack,
    usage::UsageScan,
    write_gate::WriteGate,
};

/// Why Redis was given up.
#[derive(Debug)]
pub(super) struct Loss {
    /// For the log.
    pub(super) reason: String,
    /// The key whose lookup got an error reply: Redis is of use again only when this lookup works. (A node of
    /// a cluster answers for some keys and not for others.)
    pub(super) key: Option<String>,
}

impl Loss {
    fn because(reason: String) -> Self {
        Self { reason, key: None }
    }
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallKind {
    /// Changes nothing.
    Read,
    /// Stores a value: its outcome says whether Redis takes such writes.
    Put,
    /// Writes no value: its outcome says nothing of calls that do.
    Aside,
}

/// A call of Redis.
pub(super) struct Call<'a> {
    pub(super) connections: &'a Arc<Connections>,
    /// The one of `connections` that the call goes over.
    pub(super) connection: &'a Connection,
    /// The key that it concerns.
    pub(super) key: &'a str,
    pub(super) kind: CallKind,
    /// How long the caller can wait.
    pub(super) within: Duration,
}

/// Closed: calls go through. Open: they fail at once, until the connector closes it again.
pub(super) struct Breaker {
    pub(super) endpoint: Endpoint,
    /// What `/health` shows of the server.
    pub(super) usage: Arc<UsageScan>,
    /// The outer deadline of every call.
    pub(super) timeout: Duration,
    pub(super) writes: WriteGate,
    /// `None` while open.
    connections: ArcSwapOption<Connections>,
    /// One message to the connector for each time the breaker opens.
    losses: mpsc::Sender<Loss>,
    /// Asks the connector for fresh connections, while the old ones stay in use.
    refresh: Notify,
    /// Whether these may lead to another server.
    suspects_other_server: AtomicBool,
    /// Asks the connector to try the connections.
    doubt: Notify,
    connected: watch::Sender<bool>,
    /// Grows with each new generation of connections.
    generation: watch::Sender<u64>,
    /// Why the breaker is open.
    last_error: Mutex<Option<String>>,
    /// What the server lacks, as far as is known.
    lacks: Mutex<Vec<Lack>>,
    /// Gets the redirections of a cluster's server; `None` for a server of its own.
    redirected: Option<Redirected>,
}

/// Takes an error reply that names another server.
type Redirected = Box<dyn Fn(&RedisError) + Send + Sync>;

impl Breaker {
    /// Open at first. The receiver is the connector's.
    pub(super) fn new(
        endpoint: Endpoint,
        timeout: Duration,
        namespace: &str,
    ) -> (Self, mpsc::Receiver<Loss>) {
        // It opens once, and can open again only after the connector received that and closed it: room for
        // one is enough.
        let (losses, received) = mpsc::channel(1);
        let breaker = Self {
            usage: Arc::new(UsageScan::new(endpoint.clone(), namespace)),
            endpoint,
            timeout,
            writes: WriteGate::new(Instant::now()),
            connections: ArcSwapOption::empty(),
            losses,
            refresh: Notify::new(),
            suspects_other_server: AtomicBool::new(false),
            doubt: Notify::new(),
            connected: watch::Sender::new(false),
            generation: watch::Sender::new(0),
            last_error: Mutex::new(None),
            lacks: Mutex::default(),
            redirected: None,
        };
        (breaker, received)
    }

    /// That of a server in a cluster, which may refuse keys that others have.
    pub(super) fn of_shard(
        endpoint: Endpoint,
        timeout: Duration,
        namespace: &str,
        redirected: impl Fn(&RedisError) + Send + Sync + 'static,
    ) -> (Self, mpsc::Receiver<Loss>) {
        let (breaker, received) = Self::new(endpoint, timeout, namespace);
        (Self { redirected: Some(Box::new(redirected)), ..breaker }, received)
    }

    pub(super) fn connections(&self) -> Result<Arc<Connections>, StoreError> {
        self.connections.load_full().ok_or(StoreError::Unavailable)
    }

    /// The one of `connections` for a lookup of `key` on this thread.
    pub(super) fn for_lookup<'a>(
        &self,
        connections: &'a Connections,
        key: &str,
        is_large: bool,
    ) -> &'a Connection {
        if is_large { &connections.large } else { connections.of_thread(key, self.timeout) }
    }

    pub(super) fn connected(&self) -> bool {
        self.connections.load().is_some()
    }

    /// Waits until the breaker is closed.
    pub(super) async fn ready(&self) {
        // The sender is a field of `self`, so the channel outlives the wait.
        let _ = self.connected.subscribe().wait_for(|connected| *connected).await;
    }

    /// Closes the breaker: calls go over `connections`. Writes wait if there is a reason why they are refused.
    pub(super) fn close(&self, connections: Connections, refusal: Option<String>) {
        self.set_refusal(refusal);
        self.set_last_error(None);
        self.connections.store(Some(Arc::new(connections)));
        self.connected.send_replace(true);
        self.next_generation();
    }

    /// Replaces `old` by `fresh`, unless `old` was given up meanwhile.
    pub(super) fn replace(&self, old: &Arc<Connections>, fresh: Connections) {
        let previous = self.connections.compare_and_swap(old, Some(Arc::new(fresh)));
        if is_same(&previous, old) {
            self.writes.probe_now();
            if self.suspects_other_server.swap(false, Ordering::Relaxed) {
                self.next_generation();
            }
        }
    }

    fn next_generation(&self) {
        // The first generation is no change.
        self.generation.send_if_modified(|generation| {
            *generation += 1;
            *generation > 1
        });
    }

    /// Changes with each new generation of connections: from then on calls may go to another server.
    pub(super) fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Opens the breaker, if `connections` are still those in use: a report about older ones changes nothing.
    pub(super) fn trip(&self, connections: &Arc<Connections>, loss: Loss) {
        let previous = self.connections.compare_and_swap(connections, None);
        if is_same(&previous, connections) {
            self.set_last_error(Some(loss.reason.clone()));
            self.connected.send_replace(false);
            // Never full: see `new`.
            let _ = self.losses.try_send(loss);
        }
    }

    /// Asks for fresh connections without giving up the present ones.
    pub(super) fn ask_refresh(&self) {
        self.refresh.notify_one();
    }

    /// Asks for a try of the connections: another one to the same server was lost.
    pub(super) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Waits until somebody asks for a try of the connections.
    pub(super) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// Waits until somebody asks for fresh connections.
    pub(super) async fn refresh_asked(&self) {
        self.refresh.notified().await;
    }

    /// Notes why writes are refused, or that they are not.
    pub(super) fn set_refusal(&self, refusal: Option<String>) {
        match refusal {
            Some(reason) => self.writes.refused(Instant::now(), reason),
            None => self.writes.open(),
        }
    }

    /// What the server lacks, and why it takes no writes.
    pub(super) fn lacks(&self) -> Vec<Lack> {
        let refusal = self.writes.refusal(Instant::now());
        let refusal =
            refusal.map(|reason| Lack { text: format!("writes are refused: {reason}"), is_serious: true });
        self.lacks.lock().iter().cloned().chain(refusal).collect()
    }

    /// Notes what the server lacks; whether that is something else than before.
    pub(super) fn set_lacks(&self, lacks: Vec<Lack>) -> bool {
        let mut known = self.lacks.lock();
        let before = std::mem::replace(&mut *known, lacks);
        before != *known
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    pub(super) fn set_last_error(&self, reason: Option<String>) {
        *self.last_error.lock() = reason;
    }

    /// Waits for `reply` within the deadline, and no longer than `call.within`, and draws the conclusions
    /// from the outcome. If a call that had less time than others times out, that says nothing of Redis.
    pub(super) async fn call(
        &self,
        call: Call<'_>,
        reply: impl Future<Output = Result<Value, RedisError>>,
    ) -> Result<Value, StoreError> {
        let Call { connections, connection, key, kind, within } = call;
        let started = Instant::now();
        match tokio::time::timeout(within.min(self.timeout), reply).await {
            Err(_) => {
                if within >= self.timeout {
                    self.timed_out(connections, connection, started);
                }
                Err(StoreError::Timeout)
            }
            Ok(reply) => {
                if !matches!(&reply, Err(error) if error.kind() == ErrorKind::Io) {
                    connection.timeouts.clear();
                }
                reply.map_err(|error| self.failed(connections, &error, key, kind))
            }
        }
    }

    /// Opens the breaker because another server is the master now.
    pub(super) fn moved(&self, connections: &Arc<Connections>) {
        self.trip(connections, Loss::because("the sentinels name another master".to_owned()));
    }

    /// Opens the breaker for a reply of the wrong kind: replies and requests no longer pair, and no reply can
    /// be trusted.
    pub(super) fn bad_reply(&self, connections: &Arc<Connections>) -> StoreError {
        self.trip(connections, Loss::because(PROTOCOL.to_owned()));
        StoreError::Protocol
    }

    fn timed_out(&self, connections: &Arc<Connections>, connection: &Connection, started: Instant) {
        if !connection.timeouts.timed_out(started, Instant::now()) {
            return;
        }
        if std::ptr::eq(connection, &connections.large) {
            self.ask_refresh();
        } else {
            self.trip(connections, Loss::because("no answer in time, three times in a row".to_owned()));
        }
    }

    fn failed(
        &self,
        connections: &Arc<Connections>,
        error: &RedisError,
        key: &str,
        kind: CallKind,
    ) -> StoreError {
        if error.code().is_none() {
            let protocol = matches!(error.kind(), ErrorKind::Parse | ErrorKind::UnexpectedReturnType);
            self.trip(connections, Loss::because(describe(error)));
            return if protocol { StoreError::Protocol } else { StoreError::Lost };
        }
        if let (Some(code @ ("MOVED" | "ASK")), Some(redirected)) = (error.code(), &self.redirected) {
            redirected(error);
            return if code == "ASK" { StoreError::Moving } else { StoreError::Moved };
        }
        match affected_by(error, kind != CallKind::Read) {
            Affected::Key => StoreError::WrongType,
            Affected::Writes => {
                if error.code() == Some("READONLY") {
                    // After a fail-over the address leads to another server, but these connections do not.
                    self.suspects_other_server.store(true, Ordering::Relaxed);
                    self.ask_refresh();
                }
                if kind == CallKind::Put {
                    self.writes.refused(Instant::now(), describe(error));
                }
                StoreError::Refused
            }
            Affected::Everything => {
                self.trip(connections, Loss { reason: describe(error), key: Some(key.to_owned()) });
                StoreError::Lost
            }
        }
    }
}

fn is_same(previous: &Guard<Option<Arc<Connections>>>, connections: &Arc<Connections>) -> bool {
    previous.as_ref().is_some_and(|previous| Arc::ptr_eq(previous, connections))
}
