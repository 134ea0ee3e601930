//! Vectors of texts: from an endpoint, or from a model in this process; each text is embedded once.
//!
//! ```text
//! Embedder::embed     the store has it? (stored.rs; not with a model in this process)
//!   → calls.rs        does a call for this text run? else a task begins one, and it runs on after the timeout, so
//!                     that its connection is there for the next one
//!   → endpoint.rs     asks the server, answer.rs reads what came
//!   → local/          a queue, threads of its own, a BERT
//! probe.rs            who is it? At the start, every ten minutes, and after each odd vector (identity.rs)
//! health.rs           was the last vector in time? What do operators hear?
//! ```
//!
//! Whatever goes wrong is a [`NoVector`] within the timeout, and to a request no more than a miss by meaning.

mod answer;
mod calls;
mod endpoint;
mod health;
mod identity;
mod local;
mod probe;
mod stored;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::timeout};

use self::{
    calls::{Calls, Source},
    endpoint::Endpoint,
    local::Local,
};
use crate::{
    cache::semantic::vector::Vector,
    config::{EmbeddingSource, SemanticConfig},
    request::ClassifyContext,
    store::Store,
};

/// The longest text, in bytes: some 4,000 tokens. Endpoints refuse longer ones, and models cut them off much earlier.
const MAX_TEXT: usize = 16 * 1024;

/// Makes vectors of texts. It is looked after until this is dropped.
#[derive(Debug)]
pub(crate) struct Embedder {
    calls: Arc<Calls>,
    probing: JoinHandle<()>,
}

/// Why there is no embedder: one line that names the setting.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct EmbedderError(pub(crate) String);

/// Why a text has no vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoVector {
    TimedOut,
    /// The endpoint cannot be reached, or answered with an error; or it is not known yet which embedder it is.
    Failed,
    /// What it gave is no vector: another dimension, no numbers, nothing but zeros.
    Odd,
    /// Too many texts wait already.
    Busy,
}

/// A text's vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Embedded {
    pub(crate) vector: Vector,
    /// Whether the store had it, and the model was not asked.
    pub(crate) is_stored: bool,
}

/// Where vectors of an endpoint are stored, and how long one is waited for: the settings in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) store: &'a Store,
    pub(crate) context: &'a ClassifyContext,
    /// How long a vector is stored (`ttl.embedding`).
    pub(crate) ttl: Duration,
    /// How long it is waited for (`semantic.timeout`).
    pub(crate) timeout: Duration,
}

impl Embedder {
    /// Opens the embedder, and begins to look after it with a task of this runtime.
    ///
    /// # Errors
    /// If the model cannot be loaded, or the endpoint's settings are of no use.
    pub(crate) fn open(config: &SemanticConfig) -> Result<Self, EmbedderError> {
        let calls = Arc::new(Calls::new(open_source(&config.embeddings)?));
        let probing = tokio::spawn(probe::run(Arc::clone(&calls), config.timeout));
        Ok(Self { calls, probing })
    }

    /// The vector of `text`, from the store if it is there, else from the model.
    ///
    /// # Errors
    /// Why there is none. It takes no longer than the timeout of `terms`.
    pub(crate) async fn embed(&self, terms: &Terms<'_>, text: &str) -> Result<Embedded, NoVector> {
        timeout(terms.timeout, self.find(terms, text)).await.unwrap_or_else(|_| {
            self.calls.health().late(terms.timeout);
            Err(NoVector::TimedOut)
        })
    }

    async fn find(&self, terms: &Terms<'_>, text: &str) -> Result<Embedded, NoVector> {
        // Vectors of an unknown embedder could meet those of another one in the index.
        let identity = self.calls.identity().ok_or(NoVector::Failed)?;
        if text.len() > MAX_TEXT {
            return Err(NoVector::Failed);
        }
        let Source::Endpoint(endpoint) = self.calls.source() else {
            let vector = self.calls.vector(text, terms.timeout).await?;
            return Ok(Embedded { vector, is_stored: false });
        };
        let key = stored::key(terms.context, endpoint, &identity, text);
        if let Some(vector) = stored::find(terms.store, &key).await {
            return Ok(Embedded { vector, is_stored: true });
        }
        let began = terms.store.now();
        let vector = self.calls.vector(text, terms.timeout).await?;
        stored::keep(terms, key, endpoint, &vector, began);
        Ok(Embedded { vector, is_stored: false })
    }

    /// What tells this embedder from another one: the model's name, the dimension, and what a probe text's vector looks
    /// like from afar. `None` until the probe was embedded.
    pub(crate) fn identity(&self) -> Option<String> {
        self.calls.identity().map(|identity| identity.to_string())
    }

    /// [`Self::identity`], and each change of it.
    #[cfg(test)]
    pub(crate) fn identities(&self) -> tokio::sync::watch::Receiver<Option<identity::Identity>> {
        self.calls.identities()
    }

    /// Whether vectors of the embedder `other`, as its [`Self::identity`] says, are this one's; `None` until this one's is
    /// known. Some models give a text a slightly different vector each time, so texts of identities are not compared: two
    /// that are near are one embedder, and the first of the two in the alphabet is the identity of both from now on.
    pub(crate) fn recognises(&self, other: &str) -> Option<bool> {
        self.calls.recognises(other)
    }

    /// Whether the last text was embedded in time: otherwise no request waits for a search.
    pub(crate) fn is_timely(&self) -> bool {
        self.calls.health().is_timely()
    }

    /// Why vectors are missing at the moment, for operators; `None` if nothing is wrong.
    pub(crate) fn problem(&self) -> Option<String> {
        self.calls.health().problem()
    }
}

impl Drop for Embedder {
    fn drop(&mut self) {
        self.probing.abort();
    }
}

fn open_source(source: &EmbeddingSource) -> Result<Source, EmbedderError> {
    Ok(match source {
        EmbeddingSource::Endpoint(endpoint) => Source::Endpoint(Box::new(Endpoint::open(endpoint)?)),
        EmbeddingSource::Local(folder) => Source::Local(Local::open(folder)?),
    })
}

/// Opens the embedder, and embeds a text once.
///
/// # Errors
/// If it cannot be opened.
pub(crate) async fn try_once(config: &SemanticConfig) -> Result<Result<(), String>, EmbedderError> {
    let calls = Calls::new(open_source(&config.embeddings)?);
    Ok(calls.probe(config.timeout).await)
}
