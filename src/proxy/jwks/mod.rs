//! The keys of tokens, as they are now: who callers are is judged by them ([`Identities`]).
//!
//! ```text
//! JwksSlot      lasts as long as the process: a reload that does not change [jwks] keeps the keys
//!   → Jwks      the keys of one [jwks], and a task that looks after them
//!   → source.rs asks the server, or reads the file
//!   → watch.rs  when: at the start, each jwks.refresh, and soon after a token that names an unknown key
//! ```
//!
//! No request ever waits for keys. While they are not known, claims do not count, and credentials count whole.

mod source;
mod state;
mod watch;

use std::{sync::Arc, time::SystemTime};

use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinHandle};

pub(crate) use self::state::JwksStatus;
use self::{source::Source, state::State, watch::Watch};
use crate::{cache::identity::Identities, config::JwksConfig, time::since_epoch};

/// Why keys cannot be got: one line that names the setting.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct JwksError(String);

/// The keys of the settings in force.
#[derive(Debug, Default)]
pub(crate) struct JwksSlot(Mutex<Option<Arc<Jwks>>>);

/// The keys that one configuration names. They are looked after until this is dropped.
#[derive(Debug)]
pub(crate) struct Jwks {
    config: JwksConfig,
    identities: Arc<Identities>,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl JwksSlot {
    /// The keys for `config`: those that are there, if they were of the same settings; `None` without `[jwks]`.
    ///
    /// # Errors
    /// If a file, or the system's certificates, are of no use.
    pub(crate) fn of(&self, config: Option<&JwksConfig>) -> Result<Option<Arc<Jwks>>, JwksError> {
        let mut slot = self.0.lock();
        if slot.as_ref().map(|jwks| &jwks.config) != config {
            *slot = config.map(Jwks::start).transpose()?.map(Arc::new);
        }
        Ok(slot.clone())
    }
}

impl Jwks {
    /// Begins to look after the keys, with a task of this runtime. Those of a file are known at once.
    ///
    /// # Errors
    /// If a file, or the system's certificates, are of no use.
    fn start(config: &JwksConfig) -> Result<Self, JwksError> {
        let mut source = Source::open(&config.source)?;
        let keys = source.load_file(0)?;
        let wanted = Arc::<Notify>::default();
        let identities = {
            let wanted = Arc::clone(&wanted);
            Identities::verified(unix_time, config.rules.clone(), move || wanted.notify_one())
        };
        let identities = Arc::new(identities);
        identities.set_keys(keys);
        let state = Arc::<State>::default();
        let watch = Watch::new(source, config.refresh, Arc::clone(&identities), Arc::clone(&state));
        Ok(Self { config: config.clone(), identities, state, task: tokio::spawn(watch.run(wanted)) })
    }

    pub(crate) fn identities(&self) -> &Arc<Identities> {
        &self.identities
    }

    /// What operators see of it.
    pub(crate) fn status(&self) -> JwksStatus {
        let keys = self.identities.keys().map_or(0, |keys| keys.len());
        self.state.status(&self.config.source, keys)
    }
}

impl Drop for Jwks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tries the source of keys once.
///
/// # Errors
/// Why it gives no keys: one line that names the setting.
pub(crate) async fn try_once(config: &JwksConfig) -> Result<(), JwksError> {
    Source::open(&config.source)?.load(0, u64::MAX).await.map(drop)
}

/// In seconds.
pub(crate) fn unix_time() -> u64 {
    since_epoch(SystemTime::now()).as_secs()
}
