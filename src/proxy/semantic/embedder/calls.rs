//! Calls of the model: one for each text at a time, a bounded number at once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

use super::{
    NoVector,
    endpoint::Endpoint,
    health::Health,
    identity::{CONTRAST, Identity, PROBE, tells_apart},
    local::Local,
};
use crate::{cache::semantic::vector::Vector, telemetry::log::events};

/// How many texts are with the model at once; the next one gets no vector.
pub(super) const MAX_CALLS: usize = 64;

/// The longest call of an endpoint. Requests wait for [`semantic.timeout`](crate::config::SemanticConfig::timeout) alone.
const LONGEST: Duration = Duration::from_secs(10);

/// The most components of a vector.
const MAX_DIMENSION: usize = 8_000;

/// Where vectors come from.
#[derive(Debug)]
pub(super) enum Source {
    Endpoint(Box<Endpoint>),
    Local(Local),
}

/// Why a call gave no vector: each with a text for operators that has nothing of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CallError {
    /// Nothing of use came.
    Failed(String),
    /// The model does not take this text. Others may be fine.
    Refused(String),
    /// What came is no vector.
    Odd(String),
    Busy,
}

impl From<&CallError> for NoVector {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::Failed(_) | CallError::Refused(_) => Self::Failed,
            CallError::Odd(_) => Self::Odd,
            CallError::Busy => Self::Busy,
        }
    }
}

type Outcome = Result<Vector, NoVector>;

/// The model, the calls of it that run, and what is known of it.
#[derive(Debug)]
pub(super) struct Calls {
    source: Source,
    /// By the digests of their texts.
    running: Mutex<HashMap<blake3::Hash, watch::Receiver<Option<Outcome>>>>,
    identity: watch::Sender<Option<Identity>>,
    health: Health,
    /// Tells that the embedder may be another one.
    doubt: Notify,
    /// The digest of the text that was embedded last, and its vector.
    last: Mutex<Option<(blake3::Hash, Vector)>>,
}

/// Takes a call off the list, however it ends.
struct Running {
    calls: Arc<Calls>,
    text: blake3::Hash,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.calls.running.lock().remove(&self.text);
    }
}

impl Source {
    async fn call(&self, text: &str) -> Result<Vec<f32>, CallError> {
        match self {
            Self::Endpoint(endpoint) => endpoint.call(text).await,
            Self::Local(model) => model.call(text).await,
        }
    }

    /// The longest call for requests that wait `in_time`. An endpoint's goes on after that, since its connection is of use to the
    /// next one; a model in this process has better things to do.
    fn longest(&self, in_time: Duration) -> Duration {
        match self {
            Self::Endpoint(_) => LONGEST.max(in_time),
            Self::Local(_) => in_time,
        }
    }

    /// What the model is called.
    fn model(&self) -> &str {
        match self {
            Self::Endpoint(endpoint) => endpoint.model(),
            // Replicas may have it in different folders.
            Self::Local(_) => "local",
        }
    }
}

impl Calls {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            running: Mutex::default(),
            identity: watch::Sender::default(),
            health: Health::default(),
            doubt: Notify::new(),
            last: Mutex::default(),
        }
    }

    pub(super) const fn source(&self) -> &Source {
        &self.source
    }

    pub(super) const fn health(&self) -> &Health {
        &self.health
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity.borrow().clone()
    }

    #[cfg(test)]
    pub(super) fn identities(&self) -> watch::Receiver<Option<Identity>> {
        self.identity.subscribe()
    }

    #[cfg(test)]
    pub(super) fn set_identity(&self, identity: Identity) {
        self.identity.send_replace(Some(identity));
    }

    /// Waits until the embedder may be another one.
    pub(super) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// The vector of `text`. A call that takes longer than `in_time` is late: requests do not wait for the next one.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn vector(self: &Arc<Self>, text: &str, in_time: Duration) -> Outcome {
        let mut outcome = self.join(text, in_time)?;
        match outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            // The task was aborted, or panicked.
            Ok(None) | Err(_) => Err(NoVector::Failed),
        }
    }

    /// Joins the call for `text`, or begins one.
    fn join(
        self: &Arc<Self>,
        text: &str,
        in_time: Duration,
    ) -> Result<watch::Receiver<Option<Outcome>>, NoVector> {
        let digest = blake3::hash(text.as_bytes());
        let mut running = self.running.lock();
        if let Some(outcome) = running.get(&digest) {
            return Ok(outcome.clone());
        }
        if running.len() >= MAX_CALLS {
            drop(running);
            self.health.failed(CallError::Busy);
            return Err(NoVector::Busy);
        }
        let (sender, outcome) = watch::channel(None);
        running.insert(digest, outcome.clone());
        drop(running);
        let (running, text) = (Running { calls: Arc::clone(self), text: digest }, text.to_owned());
        tokio::spawn(async move {
            let outcome = running.calls.call(&text, in_time).await;
            sender.send_replace(Some(outcome));
            // Only now: whoever comes next finds the outcome, or begins a call.
            drop(running);
        });
        Ok(outcome)
    }

    async fn call(&self, text: &str, in_time: Duration) -> Outcome {
        let began = Instant::now();
        let longest = self.source.longest(in_time);
        let made = self.ask(text, longest).await.and_then(|vector| self.of_one_dimension(vector));
        // Whoever waited for a late one has said so, and the model may be well again since then.
        let is_in_time = began.elapsed() <= in_time;
        match made {
            Ok(vector) => {
                // Before the probe, or if it shows that texts are not told apart, no vector says that all is well.
                if is_in_time && self.identity.borrow().is_some() {
                    self.succeeded(true);
                }
                self.doubt_if_repeated(text, &vector);
                Ok(vector)
            }
            Err(error) => {
                let reason = NoVector::from(&error);
                if reason == NoVector::Odd {
                    self.doubt.notify_one();
                }
                if is_in_time {
                    self.health.failed(error);
                }
                Err(reason)
            }
        }
    }

    /// Has the probe show whether texts are told apart, if two texts in a row have one vector. To some models two texts are the same.
    fn doubt_if_repeated(&self, text: &str, vector: &Vector) {
        let text = blake3::hash(text.as_bytes());
        let last = self.last.lock().replace((text, vector.clone()));
        if last.is_some_and(|(other, same)| other != text && same == *vector) {
            self.doubt.notify_one();
        }
    }

    /// Refuses a vector of another dimension than the probe's.
    fn of_one_dimension(&self, vector: Vector) -> Result<Vector, CallError> {
        let known = self.identity.borrow().as_ref().map(Identity::dimension);
        match known.filter(|known| *known != vector.dimension()) {
            None => Ok(vector),
            Some(known) => {
                let new = vector.dimension();
                Err(CallError::Odd(format!("a vector has {new} dimensions, and the one before had {known}")))
            }
        }
    }

    fn succeeded(&self, in_time: bool) {
        if self.health.succeeded(in_time) {
            events::embedder_back(&self.identity().map(|identity| identity.to_string()).unwrap_or_default());
        }
    }

    async fn ask(&self, text: &str, longest: Duration) -> Result<Vector, CallError> {
        let components = timeout(longest, self.source.call(text)).await.unwrap_or_else(|_| {
            Err(CallError::Failed(format!("no answer within {} ms", longest.as_millis())))
        })?;
        if components.len() > MAX_DIMENSION {
            let (found, most) = (components.len(), MAX_DIMENSION);
            return Err(CallError::Odd(format!("a vector has {found} dimensions; {most} is the most")));
        }
        let no_direction =
            || CallError::Odd("a vector has no direction: all zeros, or no numbers".to_owned());
        Vector::new(&components).ok_or_else(no_direction)
    }

    /// Embeds the probe, which says which embedder this is. One that does not tell texts apart is no embedder.
    ///
    /// # Errors
    /// Why that is not known, for operators.
    pub(super) async fn probe(&self, in_time: Duration) -> Result<(), String> {
        let contrast = self.ask(CONTRAST, LONGEST).await;
        let began = Instant::now();
        let probe = self.ask(PROBE, LONGEST).await;
        let told_apart = probe.and_then(|probe| {
            if tells_apart(&probe, &contrast?) {
                return Ok(probe);
            }
            self.identity.send_replace(None);
            Err(CallError::Odd("texts that have nothing in common get nearly the same vector".to_owned()))
        });
        match told_apart {
            Ok(vector) => {
                let new = Identity::new(self.source.model(), &vector);
                self.identity.send_if_modified(|identity| {
                    let differs = !identity.as_ref().is_some_and(|identity| identity.is_near(&new));
                    if differs {
                        *identity = Some(new);
                    }
                    differs
                });
                self.succeeded(began.elapsed() <= in_time);
                Ok(())
            }
            Err(error) => {
                let text = error.to_string();
                self.health.failed(error);
                Err(text)
            }
        }
    }

    pub(super) fn recognises(&self, other: &str) -> Option<bool> {
        let other = Identity::parse(other);
        let mut known = None;
        self.identity.send_if_modified(|identity| {
            let Some(own) = identity else { return false };
            known = Some(false);
            let Some(other) = other.filter(|other| other.is_near(own)) else { return false };
            known = Some(true);
            // Both sides of such a call choose the same one. It is the same embedder, so nobody is told of a change.
            if other.to_string() < own.to_string() {
                *own = other;
            }
            false
        });
        known
    }
}
