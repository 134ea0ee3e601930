//! Replaces the settings of a running proxy.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::{Semaphore, mpsc};

use super::{StartError, certificates::Certificates, count_in};
use crate::{
    config::{Config, StoreConfig},
    proxy::{Proxy, reload::ReloadCall, state::Live},
    telemetry::history::Event,
};

/// Replaces the settings of a running [`App`](super::App).
#[derive(Clone, Debug)]
pub struct Reloader {
    pub(super) proxy: Arc<Proxy>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) certificates: Certificates,
}

impl Reloader {
    /// The reloads that operators ask for on the admin listener.
    pub(crate) fn calls(&self) -> mpsc::Receiver<ReloadCall> {
        self.proxy.shared.reloads.listen()
    }

    /// Applies `config`, except for the settings that need a restart.
    ///
    /// # Errors
    /// [`StartError`], if the upstream's settings or the keys of tokens cannot be used, the running admin listener would be open to all, or
    /// the prices are in another currency than before. The old settings stay then.
    pub fn reload(&self, mut config: Config) -> Result<(), StartError> {
        // The running store, listeners and permits are those of the old settings.
        let running = self.proxy.live.load_full();
        config.store = StoreConfig { max_entry: config.store.max_entry, ..running.config.store.clone() };
        config.listen = running.config.listen.clone();
        config.tls = running.config.tls.clone();
        config.admin.tls = running.config.admin.tls.clone();
        config.admin.listen = running.config.admin.listen.clone();
        config.semantic = config.semantic.map(|new| match &running.config.semantic {
            Some(running) => new.reloaded(running),
            None => new,
        });
        config.limits.max_upstream_requests = running.config.limits.max_upstream_requests;
        if let Some(address) = config.admin.exposed() {
            return Err(StartError::Exposed(address));
        }
        let shared = Arc::clone(&self.proxy.shared);
        let live = Live::new(config, shared, Arc::clone(&self.permits))?;
        count_in(&self.proxy.shared.stats, &live.config.prices)?;
        self.proxy.shared.store.set_max_entry(live.config.store.max_entry);
        self.certificates.refresh(&live);
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
