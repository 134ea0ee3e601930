//! Whether Redis can be used, and the one place that decides it cannot.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::{Client, ErrorKind, RedisError, Value};
use arc_swap::{ArcSwapOption, Guard};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};

use super::{
    StoreError,
    connections::{Lane, Lanes},
    error::{CANNOT_SAVE, PROTOCOL, Scope, describe, scope},
    write_gate::WriteGate,
};

/// Why Redis was given up.
#[derive(Debug)]
pub(super) struct Loss {
    /// For the log.
    pub(super) reason: String,
    /// The key whose lookup got an error reply: Redis is of use again only when this one works. (A node of a
    /// cluster answers for some keys and not for others.)
    pub(super) key: Option<String>,
    /// Whether it takes no writes: it is of use again only when it does.
    pub(super) takes_no_writes: bool,
}

impl Loss {
    /// One that says nothing of any key.
    fn because(reason: String) -> Self {
        Self { reason, key: None, takes_no_writes: false }
    }
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It changes nothing.
    Read,
    /// It stores, and tells whether Redis takes such writes.
    Put,
    /// It writes no value: how it goes tells nothing of those that do.
    Aside,
}

/// A call of Redis.
pub(super) struct Call<'a> {
    pub(super) lanes: &'a Arc<Lanes>,
    /// The one of them that it goes over.
    pub(super) lane: &'a Lane,
    /// What it concerns.
    pub(super) key: &'a str,
    pub(super) kind: Kind,
    /// How long its caller can wait.
    pub(super) within: Duration,
}

/// Closed: calls go through. Open: they fail at once, until the connector closes it again.
pub(super) struct Breaker {
    pub(super) client: Client,
    /// The outer deadline of every call.
    pub(super) timeout: Duration,
    pub(super) writes: WriteGate,
    /// `None` while open.
    lanes: ArcSwapOption<Lanes>,
    /// One message for each time it opens, to the connector.
    losses: mpsc::Sender<Loss>,
    /// Asks the connector for fresh connections, while the old ones stay in use.
    refresh: Notify,
    connected: watch::Sender<bool>,
    /// Why it is open.
    last_error: Mutex<Option<String>>,
}

impl Breaker {
    /// Open at first. The receiver is the connector's.
    pub(super) fn new(client: Client, timeout: Duration) -> (Self, mpsc::Receiver<Loss>) {
        // It opens once, is heard, and can open again only after the connector closed it: one place is enough.
        let (losses, heard) = mpsc::channel(1);
        let breaker = Self {
            client,
            timeout,
            writes: WriteGate::new(Instant::now()),
            lanes: ArcSwapOption::empty(),
            losses,
            refresh: Notify::new(),
            connected: watch::Sender::new(false),
            last_error: Mutex::new(None),
        };
        (breaker, heard)
    }

    /// The connections to use.
    pub(super) fn lanes(&self) -> Result<Arc<Lanes>, StoreError> {
        self.lanes.load_full().ok_or(StoreError::Unavailable)
    }

    pub(super) fn connected(&self) -> bool {
        self.lanes.load().is_some()
    }

    /// Waits until it is closed.
    pub(super) async fn ready(&self) {
        // The sender is a field of `self`, so the channel outlives the wait.
        let _ = self.connected.subscribe().wait_for(|connected| *connected).await;
    }

    /// Closes it over `lanes`.
    pub(super) fn close(&self, lanes: Lanes) {
        self.writes.open();
        self.set_last_error(None);
        self.lanes.store(Some(Arc::new(lanes)));
        self.connected.send_replace(true);
    }

    /// Puts `fresh` in the place of `old`, unless that was given up meanwhile.
    pub(super) fn replace(&self, old: &Arc<Lanes>, fresh: Lanes) {
        let previous = self.lanes.compare_and_swap(old, Some(Arc::new(fresh)));
        if is(&previous, old) {
            self.writes.probe_now();
        }
    }

    /// Opens it, if `lanes` are still those in use: what an older generation reports is history.
    pub(super) fn trip(&self, lanes: &Arc<Lanes>, loss: Loss) {
        let previous = self.lanes.compare_and_swap(lanes, None);
        if is(&previous, lanes) {
            self.set_last_error(Some(loss.reason.clone()));
            self.connected.send_replace(false);
            // Never full, see `new`.
            let _ = self.losses.try_send(loss);
        }
    }

    /// Asks for fresh connections without giving up the present ones.
    pub(super) fn ask_refresh(&self) {
        self.refresh.notify_one();
    }

    /// Waits for somebody to ask for fresh connections.
    pub(super) async fn refresh_asked(&self) {
        self.refresh.notified().await;
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    pub(super) fn set_last_error(&self, reason: Option<String>) {
        *self.last_error.lock() = reason;
    }

    /// Waits for `reply` within the deadline, and no longer than `call.within`, and draws the conclusions from how it
    /// goes. A call that had less time than others says nothing of Redis where that was not enough.
    pub(super) async fn call(
        &self,
        call: Call<'_>,
        reply: impl Future<Output = Result<Value, RedisError>>,
    ) -> Result<Value, StoreError> {
        let Call { lanes, lane, key, kind, within } = call;
        let started = Instant::now();
        match tokio::time::timeout(within.min(self.timeout), reply).await {
            Err(_) => {
                if within >= self.timeout {
                    self.timed_out(lanes, lane, started);
                }
                Err(StoreError::Timeout)
            }
            Ok(reply) => {
                if !matches!(&reply, Err(error) if error.kind() == ErrorKind::Io) {
                    lane.strikes.clear();
                }
                reply.map_err(|error| self.failed(lanes, &error, key, kind))
            }
        }
    }

    /// A reply of the wrong kind: replies and requests no longer pair, and none is to be trusted.
    pub(super) fn mistrust(&self, lanes: &Arc<Lanes>) -> StoreError {
        self.trip(lanes, Loss::because(PROTOCOL.to_owned()));
        StoreError::Protocol
    }

    fn timed_out(&self, lanes: &Arc<Lanes>, lane: &Lane, started: Instant) {
        if !lane.strikes.timed_out(started, Instant::now()) {
            return;
        }
        if std::ptr::eq(lane, &lanes.small) {
            self.trip(lanes, Loss::because("no answer in time, three times in a row".to_owned()));
        } else {
            self.ask_refresh();
        }
    }

    fn failed(&self, lanes: &Arc<Lanes>, error: &RedisError, key: &str, kind: Kind) -> StoreError {
        if error.code().is_none() {
            let protocol = matches!(error.kind(), ErrorKind::Parse | ErrorKind::UnexpectedReturnType);
            self.trip(lanes, Loss::because(describe(error)));
            return if protocol { StoreError::Protocol } else { StoreError::Lost };
        }
        match scope(error, kind != Kind::Read) {
            Scope::Key => StoreError::WrongType,
            Scope::Writes => {
                if error.code() == Some("READONLY") {
                    // After a fail-over the address leads to another server, but these connections do not.
                    self.ask_refresh();
                }
                if kind == Kind::Put {
                    self.writes.refused(Instant::now(), describe(error));
                }
                StoreError::Refused
            }
            Scope::All => {
                let takes_no_writes = error.code() == Some(CANNOT_SAVE);
                let loss = Loss { reason: describe(error), key: Some(key.to_owned()), takes_no_writes };
                self.trip(lanes, loss);
                StoreError::Lost
            }
        }
    }
}

fn is(previous: &Guard<Option<Arc<Lanes>>>, lanes: &Arc<Lanes>) -> bool {
    previous.as_ref().is_some_and(|previous| Arc::ptr_eq(previous, lanes))
}
