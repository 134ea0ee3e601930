//! The settings of hits by meaning.

use std::{path::PathBuf, time::Duration};

use super::upstream_url::UpstreamUrl;

/// How hits by meaning are found, and what bounds them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SemanticConfig {
    pub(crate) mode: SemanticMode,
    /// The highest rate of false hits among those served by meaning, at 95 % confidence; between 0 and 1.
    pub(crate) max_false_hits: f64,
    pub(crate) embeddings: EmbeddingSource,
    /// The rate of hits by meaning that are asked of the service all the same; between 0 and 1.
    pub(crate) audit: f64,
    /// The most vectors in all.
    pub(crate) max_entries: usize,
    /// How long a vector is waited for.
    pub(crate) timeout: Duration,
    /// Says whether two answers are the same, where nothing else can.
    pub(crate) judge: Option<ModelEndpoint>,
    /// Where labels and index are kept from one process to the next, without Redis.
    pub(crate) state: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SemanticMode {
    /// Neighbours are found and labelled; nothing is served by meaning.
    Shadow,
    Serve,
}

/// Where vectors come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum EmbeddingSource {
    /// An endpoint that is compatible with OpenAI's embeddings.
    Endpoint(ModelEndpoint),
    /// A folder with a BERT-type model: `config.json`, `model.safetensors`, `tokenizer.json`.
    Local(PathBuf),
}

/// An endpoint of an API that is compatible with OpenAI's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelEndpoint {
    pub(crate) server: UpstreamUrl,
    /// The path and the query.
    pub(crate) target: String,
    pub(crate) model: String,
    /// A file with the bearer token; read at every call, so that it may change.
    pub(crate) api_key_file: Option<PathBuf>,
}
