//! The example service, as a module: `examples/rag_service.rs` runs it, and tests include it to have a real upstream.
//!
//! One file a concern:
//!
//! | file | holds |
//! | --- | --- |
//! | `server.rs` | the accept loop and the table of endpoints |
//! | `http.rs` | replies, failures, and the body that sends its events at a pace |
//! | `query.rs` | `/api/v1/query` and `/api/v1/chat` |
//! | `openai.rs`, `openai_stream.rs`, `embeddings.rs` | the same service in OpenAI's shape |
//! | `documents.rs`, `conversations.rs` | what is stored, and the endpoints over it |
//! | `answer.rs` | a question to an answer, its sources and its cost |
//! | `bm25.rs`, `text.rs` | the index, and what words, sentences and passages are |
//!
//! ```ignore
//! let service = Service::new(Options { docs: builtin_docs(), delay: Duration::ZERO });
//! tokio::spawn(serve(listener, service.clone(), std::future::pending()));
//! // … requests …
//! assert_eq!(service.calls("/api/v1/query"), 1);
//! ```
//!
//! `pub(crate)` is what the including program may use, `pub(super)` what these files use of each other.

mod answer;
mod bm25;
mod builtin;
mod conversations;
mod documents;
mod embeddings;
mod http;
mod openai;
mod openai_stream;
mod query;
mod server;
mod text;

#[allow(unused_imports, reason = "not every program that includes this module needs all of it")]
pub(crate) use builtin::builtin_docs;
#[allow(unused_imports, reason = "as above")]
pub(crate) use documents::{Document, load_doc, load_docs};
pub(crate) use server::serve;

use conversations::Conversations;
use documents::Library;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Paths are chosen by callers, so the table of counters must not grow with them for ever.
const MAX_COUNTED_PATHS: usize = 10_000;

/// What a service is made of.
pub(crate) struct Options {
    /// The documents to answer from; more can come by `PUT` and `POST`.
    pub(crate) docs: Vec<Document>,
    /// How long the model seems to think: JSON answers wait for all of it, streams spread it over their events.
    pub(crate) delay: Duration,
}

/// The running service: its documents, its conversations, and how often each path was asked for.
pub(crate) struct Service {
    delay: Duration,
    api_key: Option<String>,
    library: RwLock<Library>,
    conversations: Mutex<Conversations>,
    calls: Mutex<HashMap<String, u64>>,
}

#[allow(dead_code, reason = "not every program that includes this module needs all of it")]
impl Service {
    /// A service that answers everyone.
    pub(crate) fn new(options: Options) -> Arc<Self> {
        Self::with_api_key(options, None)
    }

    /// A service that answers 401 to whoever does not send this key, if there is one.
    pub(crate) fn with_api_key(options: Options, api_key: Option<String>) -> Arc<Self> {
        Arc::new(Self {
            delay: options.delay,
            api_key,
            library: RwLock::new(Library::new(options.docs)),
            conversations: Mutex::default(),
            calls: Mutex::default(),
        })
    }

    /// How many requests, of any method, this path got (without its query string): what a cache in front saved shows
    /// in this number standing still.
    pub(crate) fn calls(&self, path: &str) -> u64 {
        lock(&self.calls).get(path).copied().unwrap_or(0)
    }
}

// No code panics while it holds one of these locks half-way through a change, so a poisoned one is still good.
impl Service {
    fn count_call(&self, path: &str) {
        let mut calls = lock(&self.calls);
        if let Some(count) = calls.get_mut(path) {
            *count += 1;
        } else if calls.len() < MAX_COUNTED_PATHS {
            calls.insert(path.to_owned(), 1);
        }
    }

    fn library(&self) -> RwLockReadGuard<'_, Library> {
        self.library.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn library_mut(&self) -> RwLockWriteGuard<'_, Library> {
        self.library.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn conversations(&self) -> MutexGuard<'_, Conversations> {
        lock(&self.conversations)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds since 1970, for `created` and `updated_at`.
fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_path() {
        let service = Service::new(Options { docs: builtin_docs(), delay: Duration::ZERO });
        service.count_call("/health");
        service.count_call("/health");
        assert_eq!((service.calls("/health"), service.calls("/")), (2, 0));
    }
}
