//! Hits by meaning from one reload to the next.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{
    embedder::EmbedderError,
    sharing::{self, Sharing},
    state::{Semantic, Surroundings},
};
use crate::config::{Config, SemanticConfig};

/// How many events may wait to be shared.
const MAX_UNSHARED: usize = 10_000;

/// Hits by meaning, if the settings in force switch them on.
#[derive(Debug, Default)]
pub(crate) struct SemanticSlot(Mutex<Option<Arc<Running>>>);

#[derive(Debug)]
struct Running {
    semantic: Arc<Semantic>,
    sharing: Sharing,
}

impl SemanticSlot {
    /// What `config` asks for; the labels and the stored questions stay as they are. `None` where it is off.
    ///
    /// # Errors
    /// If the model cannot be loaded, or an endpoint's settings are of no use.
    pub(crate) fn of(
        &self,
        config: &Config,
        around: &Surroundings<'_>,
    ) -> Result<Option<Arc<Semantic>>, EmbedderError> {
        let mut slot = self.0.lock();
        match (&config.semantic, &*slot) {
            (None, _) => *slot = None,
            (Some(semantic), Some(running)) => {
                running.semantic.reconfigure(semantic, config);
                running.sharing.reconfigure(config);
            }
            (Some(semantic), None) => *slot = Some(Arc::new(start(semantic, config, around)?)),
        }
        Ok(slot.as_ref().map(|running| Arc::clone(&running.semantic)))
    }

    /// Leaves what was learned to other replicas, or to the next process. For the end of this one: nothing is invalidated
    /// after this.
    pub(crate) async fn leave(&self) {
        let running = self.0.lock().take();
        if let Some(running) = running {
            running.sharing.leave(&running.semantic).await;
        }
    }
}

/// Begins, with tasks of this runtime.
fn start(
    semantic: &SemanticConfig,
    config: &Config,
    around: &Surroundings<'_>,
) -> Result<Running, EmbedderError> {
    let (outbox, events) = mpsc::channel(MAX_UNSHARED);
    let events = (outbox.downgrade(), events);
    let semantic = Arc::new(Semantic::new(semantic, config, Arc::clone(around.stats), outbox)?);
    let sharing = sharing::start(Arc::downgrade(&semantic), events, around, config);
    Ok(Running { semantic, sharing })
}
