//! Vectors of texts: from an endpoint, or from a model in this process; each text is embedded once.

use crate::{
    cache::{key::namespace::Namespace, semantic::vector::Vector},
    config::SemanticConfig,
    store::Store,
};

/// Makes vectors of texts.
#[derive(Debug)]
pub(crate) struct Embedder {}

/// Why there is no embedder.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct EmbedderError(pub(crate) String);

/// Why a text has no vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoVector {
    TimedOut,
    /// The endpoint cannot be reached, or answered with an error.
    Failed,
    /// What it gave is no vector: another dimension, no numbers, nothing but zeros.
    Odd,
    /// Too many texts wait already.
    Busy,
}

impl Embedder {
    /// # Errors
    /// If the model cannot be loaded, or the endpoint's settings are of no use.
    pub(crate) fn open(_config: &SemanticConfig) -> Result<Self, EmbedderError> {
        unimplemented!()
    }

    /// The vector of `text`, from the store if it is there, else from the model.
    ///
    /// # Errors
    /// Why there is none. It takes no longer than the timeout of the settings.
    pub(crate) async fn embed(
        &self,
        _store: &Store,
        _namespace: Namespace,
        _text: &str,
    ) -> Result<Vector, NoVector> {
        unimplemented!()
    }

    /// What tells this embedder from another one: the model's name, the dimension, and the digest of a probe text's vector,
    /// rounded. `None` until the probe was embedded.
    pub(crate) fn identity(&self) -> Option<String> {
        unimplemented!()
    }

    /// Whether the last text was embedded in time: otherwise no request waits for a search.
    pub(crate) fn is_timely(&self) -> bool {
        unimplemented!()
    }
}
