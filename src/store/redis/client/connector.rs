//! The background task that connects, watches the connections, and connects again after a loss.

use std::{
    future,
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::Value;
use futures_util::future::join_all;
use tokio::{
    sync::{mpsc, watch},
    time,
};

use super::{
    StoreEvent,
    breaker::{Breaker, Call, CallKind, Loss},
    connections::{Connection, Connections, Probe, get},
    error::describe,
};

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(200);

/// How often it is looked at whether idle connections are to be tried.
const BEAT: Duration = Duration::from_secs(1);

/// How often they are tried, so that no firewall forgets them. Each time is a command for each connection.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// How long they are tried at each beat after the subscriber has lost its connection: so a loss is noticed without
/// traffic.
const DOUBT: Duration = Duration::from_secs(5);

/// Connections that were lost sooner than this after they were made count as a relapse.
const STEADY: Duration = Duration::from_secs(5);

/// The longest wait before the first attempt after a relapse: well below the two seconds in which hits must
/// be back.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// At most one replacement of working connections in this time.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// How long a login with a new password may take, and the time before the next attempt.
const LOGIN_TIMEOUT: Duration = Duration::from_millis(500);
const LOGIN_RETRY: Duration = Duration::from_millis(500);

/// Keeps a [`Breaker`] closed whenever Redis can be used, for as long as the task runs.
pub(super) struct Connector<F> {
    breaker: Arc<Breaker>,
    losses: mpsc::Receiver<Loss>,
    on_change: F,
    /// A key that nothing is stored under; reading it shows that lookups work.
    idle_key: String,
    refusal_reported: bool,
}

impl<F: Fn(StoreEvent)> Connector<F> {
    pub(super) fn new(
        breaker: Arc<Breaker>,
        losses: mpsc::Receiver<Loss>,
        on_change: F,
        namespace: &str,
    ) -> Self {
        Self { breaker, losses, on_change, idle_key: format!("{namespace}:_:probe"), refusal_reported: false }
    }

    /// Runs until dropped.
    pub(super) async fn run(mut self) {
        let mut probe = Probe { key: self.idle_key.clone(), writes: None };
        let mut lost = false;
        let mut relapses = 0_u32;
        loop {
            let connections = self.connect(&probe, &mut lost).await;
            if std::mem::take(&mut lost) {
                (self.on_change)(StoreEvent::Back);
            }
            let since = Instant::now();
            self.breaker.close(connections);
            let Some(loss) = self.watch().await else { return };
            (self.on_change)(StoreEvent::Lost { reason: loss.reason });
            lost = true;
            let idle = || self.idle_key.clone();
            probe = Probe { key: loss.key.unwrap_or_else(idle), writes: loss.takes_no_writes.then(idle) };
            // Connections that are lost again and again are not made as fast as they can be lost.
            relapses = if since.elapsed() < STEADY { relapses + 1 } else { 0 };
            time::sleep((RETRY * relapses.saturating_sub(1)).min(MAX_PAUSE)).await;
        }
    }

    /// Tries until it works. Reports if the first attempt fails.
    async fn connect(&self, probe: &Probe, lost: &mut bool) -> Connections {
        loop {
            match Connections::open(&self.breaker.endpoint, probe, self.breaker.timeout).await {
                Ok(connections) => return connections,
                Err(error) => {
                    let reason = describe(&error);
                    self.breaker.set_last_error(Some(reason.clone()));
                    if !std::mem::replace(lost, true) {
                        (self.on_change)(StoreEvent::Lost { reason });
                    }
                }
            }
            time::sleep(RETRY).await;
        }
    }

    /// Watches the connections until they are lost; `None` when the breaker is gone.
    async fn watch(&mut self) -> Option<Loss> {
        let breaker = Arc::clone(&self.breaker);
        let mut beat = time::interval(BEAT);
        beat.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut refreshed: Option<Instant> = None;
        let mut next_heartbeat = Instant::now();
        let mut doubted_until = Instant::now();
        let mut passwords = breaker.endpoint.passwords();
        let mut login_due = None;
        loop {
            // Whatever else goes on, a loss is received at once.
            tokio::select! {
                biased;
                loss = self.losses.recv() => return loss,
                () = refresh_due(&breaker, refreshed) => {
                    tokio::select! {
                        biased;
                        loss = self.losses.recv() => return loss,
                        () = refresh(&breaker, &self.idle_key) => refreshed = Some(Instant::now()),
                    }
                }
                () = next_password(&mut passwords) => login_due = Some(Instant::now()),
                () = due(login_due) => {
                    tokio::select! {
                        biased;
                        loss = self.losses.recv() => return loss,
                        // If the server does not know the password yet, everything goes on as it is.
                        done = log_in(&breaker) => login_due = (!done).then(|| Instant::now() + LOGIN_RETRY),
                    }
                }
                () = breaker.doubted() => doubted_until = Instant::now() + DOUBT,
                _ = beat.tick() => {
                    let now = Instant::now();
                    if now >= next_heartbeat || now < doubted_until {
                        tokio::select! {
                            biased;
                            loss = self.losses.recv() => return loss,
                            () = heartbeat(&breaker, &self.idle_key) => {}
                        }
                        next_heartbeat = now + HEARTBEAT;
                    }
                    self.report_refusals();
                }
            }
        }
    }

    /// Reports when writes begin to be refused, and when that is over.
    fn report_refusals(&mut self) {
        match self.breaker.writes.refusal(Instant::now()) {
            Some(reason) if !self.refusal_reported => {
                self.refusal_reported = true;
                (self.on_change)(StoreEvent::WritesRefused { reason });
            }
            None if self.refusal_reported => {
                self.refusal_reported = false;
                (self.on_change)(StoreEvent::WritesBack);
            }
            _ => {}
        }
    }
}

/// Waits until fresh connections are asked for, and the last ones are [`REFRESH_INTERVAL`] old.
async fn refresh_due(breaker: &Breaker, refreshed: Option<Instant>) {
    if let Some(at) = refreshed {
        time::sleep_until((at + REFRESH_INTERVAL).into()).await;
    }
    breaker.refresh_asked().await;
}

/// Waits for the next password; for ever, if it is in no file.
async fn next_password(passwords: &mut Option<watch::Receiver<String>>) {
    let changed = match passwords {
        Some(passwords) => passwords.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        future::pending::<()>().await;
    }
}

/// Waits until `at`; for ever, if there is nothing to wait for.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => time::sleep_until(at.into()).await,
        None => future::pending().await,
    }
}

/// Logs the connections in again with the latest password; whether that is done.
async fn log_in(breaker: &Breaker) -> bool {
    match breaker.connections() {
        Ok(connections) => connections.log_in(breaker.timeout.max(LOGIN_TIMEOUT)).await,
        // New connections use the latest one.
        Err(_) => true,
    }
}

/// Replaces the connections by new ones. If that fails, the present ones may still be good; if they are not,
/// lookups and heartbeats will show.
async fn refresh(breaker: &Breaker, idle_key: &str) {
    let Ok(old) = breaker.connections() else { return };
    let probe = Probe { key: idle_key.to_owned(), writes: None };
    if let Ok(fresh) = Connections::open(&breaker.endpoint, &probe, breaker.timeout).await {
        breaker.replace(&old, fresh);
    }
}

/// Tries every connection once.
async fn heartbeat(breaker: &Breaker, idle_key: &str) {
    let Ok(connections) = breaker.connections() else { return };
    join_all(connections.all().map(|connection| try_connection(breaker, &connections, connection, idle_key)))
        .await;
}

async fn try_connection(
    breaker: &Breaker,
    connections: &Arc<Connections>,
    connection: &Connection,
    idle_key: &str,
) {
    let call = Call { connections, connection, key: idle_key, kind: CallKind::Read, within: Duration::MAX };
    match breaker.call(call, connection.send(&get(idle_key))).await {
        Ok(Value::Nil) | Err(_) => {}
        // Another key's value, if replies have slipped; or somebody did store something there.
        Ok(Value::BulkString(_)) => breaker.ask_refresh(),
        Ok(_) => {
            breaker.bad_reply(connections);
        }
    }
}
