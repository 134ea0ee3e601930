//! What bodies said, so that a body that comes again is not read again.
//!
//! It is known by the BLAKE3 digest of its bytes and of where they were sent: other bytes have another one. A bounded
//! table with a place for each digest. Who comes to a place that is taken has it the second time in a row: where there are
//! many more bodies than places, nothing is remembered only to be forgotten.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{normal::write_part, reading::Reading, route::Route};

/// How many bodies are remembered at most.
const PLACES: usize = 16_384;

/// What the bodies that came last said.
#[derive(Debug)]
pub struct Memo {
    places: Box<[Mutex<Place>]>,
}

#[derive(Debug, Default)]
struct Place {
    known: Option<Known>,
    /// A part of the digest of the body that last came in vain.
    came: u64,
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
        let known = place
            .known
            .as_ref()
            .filter(|known| known.digest == *digest && Arc::ptr_eq(&known.route, route))?;
        Some(Arc::clone(&known.reading))
    }

    /// Remembers it, if its place is free, or it came there last as well.
    pub fn keep(&self, digest: blake3::Hash, route: &Arc<Route>, reading: &Arc<Reading>) {
        if !reading.is_small() {
            return;
        }
        let [_, came, ..] = digest.as_bytes().as_chunks().0 else { return };
        let came = u64::from_le_bytes(*came);
        let mut place = self.place(&digest).lock();
        if place.known.is_none() || place.came == came {
            place.known = Some(Known { digest, route: Arc::clone(route), reading: Arc::clone(reading) });
        } else {
            place.came = came;
        }
    }

    fn place(&self, digest: &blake3::Hash) -> &Mutex<Place> {
        let [low, high, ..] = *digest.as_bytes();
        &self.places[usize::from(u16::from_le_bytes([low, high])) % PLACES]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        reading,
        resource::Resources,
        route::{Kind, Scope},
    };

    #[test]
    fn a_place_that_is_taken_is_had_the_second_time_in_a_row() {
        let route = Route::new("POST /ask", Kind::Query, Duration::from_secs(60), Scope::Credential);
        let (route, resources) = (Arc::new(route.expect("a route")), Resources::default());
        let place =
            reading::Place { route: &route, path: "/ask", resources: &resources, log_questions: false };
        let reading = Arc::new(Reading::opaque(place, b""));
        // One place, as the first bytes are the same.
        let digest = |number: u8| {
            let mut bytes = [0; 32];
            bytes[8] = number;
            blake3::Hash::from_bytes(bytes)
        };
        let memo = Memo::default();
        let known = || [1, 2, 3].map(|number| memo.recall(&digest(number), &route).is_some());
        memo.keep(digest(1), &route, &reading);
        assert_eq!(known(), [true, false, false], "it was free");
        memo.keep(digest(2), &route, &reading);
        memo.keep(digest(3), &route, &reading);
        memo.keep(digest(2), &route, &reading);
        assert_eq!(known(), [true, false, false], "none came twice in a row");
        memo.keep(digest(2), &route, &reading);
        assert_eq!(known(), [false, true, false]);
    }
}
