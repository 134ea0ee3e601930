//! What bodies said, so that a body that comes again is not read again.
//!
//! It is known by the BLAKE3 digest of its bytes and of where they were sent: other bytes have another one. A bounded
//! table with a place for each digest, which the last one has.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{normal::write_part, reading::Reading, route::Route};

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
    /// Read on another route, the same bytes may say something else.
    route: Arc<Route>,
    reading: Arc<Reading>,
}

impl Default for Memo {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| Mutex::default()).collect() }
    }
}

impl Memo {
    /// What a body is known by that was sent to `path`.
    pub fn digest(path: &str, body: &[u8]) -> blake3::Hash {
        let mut head = Vec::with_capacity(64);
        write_part(path.as_bytes(), &mut head);
        blake3::Hasher::new().update(&head).update(body).finalize()
    }

    /// What the body said that is known by `digest`, sent to `route`.
    pub fn recall(&self, digest: &blake3::Hash, route: &Arc<Route>) -> Option<Arc<Reading>> {
        let place = self.place(digest).lock();
        let known =
            place.as_ref().filter(|known| known.digest == *digest && Arc::ptr_eq(&known.route, route))?;
        Some(Arc::clone(&known.reading))
    }

    /// Remembers it.
    pub fn keep(&self, digest: blake3::Hash, route: &Arc<Route>, reading: &Arc<Reading>) {
        if reading.is_small() {
            let known = Known { digest, route: Arc::clone(route), reading: Arc::clone(reading) };
            *self.place(&digest).lock() = Some(known);
        }
    }

    fn place(&self, digest: &blake3::Hash) -> &Mutex<Option<Known>> {
        let [low, high, ..] = *digest.as_bytes();
        &self.places[usize::from(u16::from_le_bytes([low, high])) % PLACES]
    }
}
