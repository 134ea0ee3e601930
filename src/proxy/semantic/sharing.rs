//! What other replicas, and the next process, hear of labels and stored questions.

use std::sync::Weak;

use tokio::sync::mpsc;

use super::state::{Semantic, Surroundings};
use crate::{cache::semantic::event::SemanticEvent, config::Config};

/// Begins to share the `events` that `semantic` publishes, and to apply what others say ([`Semantic::apply`]) or what was
/// kept ([`Semantic::restore`]). Its tasks end once `semantic` is gone, and `events` with it.
pub(super) fn start(
    _semantic: Weak<Semantic>,
    _events: mpsc::Receiver<SemanticEvent>,
    _around: &Surroundings<'_>,
    _config: &Config,
) {
}
