//! What bodies said, so that a body that comes again is not read again.
//!
//! It is known by the BLAKE3 digest of its bytes: other bytes have another one. A bounded table with a place for each
//! digest, which the last one has.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{reading::Reading, route::Route};

/// How many bodies are remembered at most.
const PLACES: usize = 16_384;

/// What the bodies that came last said.
#[derive(Debug)]
pub struct Memo {
    places: Box<[Mutex<Option<Known>>]>,
}

#[derive(Clone, Debug)]
struct Known {
    digest: blake3::Hash,
    /// Read on another route or another path, the same bytes may say something else.
    route: Arc<Route>,
    path: Box<str>,
    reading: Arc<Reading>,
}

impl Default for Memo {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| Mutex::default()).collect() }
    }
}

impl Memo {
    /// What a body is known by.
    pub fn digest(body: &[u8]) -> blake3::Hash {
        blake3::hash(body)
    }

    /// What the body said that is known by `digest`, sent to `route` at `path`.
    pub fn recall(&self, digest: &blake3::Hash, route: &Arc<Route>, path: &str) -> Option<Arc<Reading>> {
        let place = self.place(digest).lock();
        let is_it = |known: &&Known| {
            known.digest == *digest && Arc::ptr_eq(&known.route, route) && *known.path == *path
        };
        Some(Arc::clone(&place.as_ref().filter(is_it)?.reading))
    }

    /// Remembers it.
    pub fn keep(&self, digest: blake3::Hash, route: &Arc<Route>, path: &str, reading: &Arc<Reading>) {
        if reading.is_small() {
            let (route, path) = (Arc::clone(route), path.into());
            let known = Known { digest, route, path, reading: Arc::clone(reading) };
            *self.place(&digest).lock() = Some(known);
        }
    }

    fn place(&self, digest: &blake3::Hash) -> &Mutex<Option<Known>> {
        let [low, high, ..] = *digest.as_bytes();
        &self.places[usize::from(u16::from_le_bytes([low, high])) % PLACES]
    }
}
