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
    requirements::{Findings, look},
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

/// How often sentinels are asked whether the master is still the same.
const ASK_SENTINELS: Duration = Duration::from_secs(5);

/// Connections that were lost sooner than this after they were made count as a relapse.
const STEADY: Duration = Duration::from_secs(5);

/// The longest wait before the first attempt after a relapse: well below the two seconds in which hits must
/// be back.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// At most one replacement of working connections in this time.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// The least time between two looks at what the server lacks, over connections that are in use or cannot be made.
const LOOK_PAUSE: Duration = Duration::from_secs(5);

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
    /// When it was last looked at what the server lacks.
    looked: Option<Instant>,
}

impl<F: Fn(StoreEvent)> Connector<F> {
    pub(super) fn new(
        breaker: Arc<Breaker>,
        losses: mpsc::Receiver<Loss>,
        on_change: F,
        idle_key: String,
    ) -> Self {
        Self { breaker, losses, on_change, idle_key, refusal_reported: false, looked: None }
    }

    /// Runs until dropped.
    pub(super) async fn run(mut self) {
        let mut probe = self.idle_probe();
        let mut lost = false;
        let mut relapses = 0_u32;
        loop {
            let connections = self.connect(&probe, &mut lost).await;
            if std::mem::take(&mut lost) {
                (self.on_change)(StoreEvent::Back);
            }
            let since = Instant::now();
            let found = self.look().await;
            self.breaker.close(connections, found.and_then(|found| self.note(found)));
            let Some(loss) = self.watch().await else { return };
            (self.on_change)(StoreEvent::Lost { reason: loss.reason });
            lost = true;
            probe = self.idle_probe();
            probe.key = loss.key.unwrap_or(probe.key);
            // Connections that are lost again and again are not made as fast as they can be lost.
            relapses = if since.elapsed() < STEADY { relapses + 1 } else { 0 };
            time::sleep((RETRY * relapses.saturating_sub(1)).min(MAX_PAUSE)).await;
        }
    }

    /// Tries until it works. Reports if the first attempt fails.
    async fn connect(&mut self, probe: &Probe, lost: &mut bool) -> Connections {
        loop {
            match Connections::open(&self.breaker.endpoint, probe, self.breaker.timeout).await {
                Ok(connections) => return connections,
                Err(error) => {
                    let reason = describe(&error);
                    self.breaker.set_last_error(Some(reason.clone()));
                    if !std::mem::replace(lost, true) {
                        (self.on_change)(StoreEvent::Lost { reason });
                    }
                    // It is there: perhaps it is a sentinel, or the user lacks a right.
                    if error.code().is_some()
                        && self.is_look_due(true)
                        && let Some(found) = self.look().await
                    {
                        self.note(found);
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
        let mut next_question = Instant::now() + ASK_SENTINELS;
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
                    let is_doubted = now < doubted_until;
                    if now >= next_heartbeat || is_doubted {
                        tokio::select! {
                            biased;
                            loss = self.losses.recv() => return loss,
                            () = heartbeat(&breaker, &self.idle_key) => {}
                        }
                        next_heartbeat = now + HEARTBEAT;
                        if self.is_look_due(is_doubted) {
                            self.looked = Some(now);
                            tokio::select! {
                                biased;
                                loss = self.losses.recv() => return loss,
                                found = look(&breaker.endpoint, &self.idle_key) => self.note_again(found.ok()),
                            }
                        }
                    }
                    if now >= next_question {
                        tokio::select! {
                            biased;
                            loss = self.losses.recv() => return loss,
                            () = ask_sentinels(&breaker) => {}
                        }
                        next_question = now + ASK_SENTINELS;
                    }
                    self.report_refusals();
                }
            }
        }
    }

    /// Looks at what the server lacks; `None` if it does not say.
    async fn look(&mut self) -> Option<Findings> {
        self.looked = Some(Instant::now());
        look(&self.breaker.endpoint, &self.idle_key).await.ok()
    }

    /// Reports what the server lacks, if that is new; why it takes no writes.
    fn note(&self, found: Findings) -> Option<String> {
        let Findings { refusal, lacks } = found;
        let texts = lacks.iter().map(|lack| lack.text.clone()).collect();
        if self.breaker.set_lacks(lacks) {
            (self.on_change)(StoreEvent::Lacks { texts });
        }
        refusal
    }

    /// The same of connections that are in use.
    fn note_again(&self, found: Option<Findings>) {
        if let Some(found) = found {
            self.breaker.set_refusal(self.note(found));
        }
    }

    /// Whether it is to be looked again at what the server lacks: rights can be granted, and taken away.
    fn is_look_due(&self, is_doubted: bool) -> bool {
        let is_rested = self.looked.is_none_or(|at| at.elapsed() > LOOK_PAUSE);
        is_rested && (is_doubted || self.breaker.lacks().iter().any(|lack| lack.is_serious))
    }

    fn idle_probe(&self) -> Probe {
        Probe { key: self.idle_key.clone(), idle_key: self.idle_key.clone() }
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
    let probe = Probe { key: idle_key.to_owned(), idle_key: idle_key.to_owned() };
    if let Ok(fresh) = Connections::open(&breaker.endpoint, &probe, breaker.timeout).await {
        breaker.replace(&old, fresh);
    }
}

/// Gives the connections up if they lead to a server that is no master any more.
async fn ask_sentinels(breaker: &Breaker) {
    let Ok(connections) = breaker.connections() else { return };
    if connections.are_outdated(&breaker.endpoint).await {
        breaker.moved(&connections);
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
