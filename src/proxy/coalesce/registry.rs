//! Which answers are running, so that the same question is asked once.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use moka::sync::Cache;
use parking_lot::Mutex;

use crate::{
    cache::key::Id,
    proxy::coalesce::flight::{Flight, Origin, Reader, Writer},
};

/// How long a key is remembered whose answer proved to be for its own caller only.
const UNSHAREABLE_FOR: Duration = Duration::from_secs(60);
const MAX_UNSHAREABLE: u64 = 100_000;

/// How long a stale answer is not asked for anew in the background, after that failed.
const REFRESH_HELD_OFF: Duration = Duration::from_secs(5);
const MAX_HELD_OFF: u64 = 100_000;

/// What tells two running answers apart: the key, and the form of the answer.
pub type FlightId = (Id, u64);

/// The answers that are running.
#[derive(Debug)]
pub struct Flights {
    running: Mutex<HashMap<FlightId, Arc<Flight>>>,
    unshareable: Cache<FlightId, ()>,
    held_off: Cache<FlightId, ()>,
}

impl Default for Flights {
    fn default() -> Self {
        let unshareable =
            Cache::builder().max_capacity(MAX_UNSHAREABLE).time_to_live(UNSHAREABLE_FOR).build();
        let held_off = Cache::builder().max_capacity(MAX_HELD_OFF).time_to_live(REFRESH_HELD_OFF).build();
        Self { running: Mutex::default(), unshareable, held_off }
    }
}

/// A request's part in an answer.
#[derive(Debug)]
pub enum Seat {
    /// It asks the upstream, and others may join it.
    Lead(Start),
    /// It reads what another asked for.
    Follow(Reader),
    /// It asks the upstream for itself.
    Alone,
    /// It does so because enough others follow.
    Full,
}

/// What a running answer is to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// An answer to it too.
    Fits,
    /// Not for its caller.
    NotTheirs,
    /// One that something may have been retired for since it began.
    Outdated,
}

/// An answer that is about to be asked for.
#[derive(Debug)]
pub struct Start {
    /// Writes it.
    pub writer: Writer,
    /// Reads it for the request that asks.
    pub reader: Reader,
    /// Ends its being joined, where others can join it.
    pub landing: Option<Landing>,
}

impl Start {
    /// An answer that nobody joins.
    pub fn alone(origin: Origin) -> Self {
        let (flight, writer) = Flight::start(origin);
        Self { writer, reader: flight.reader(), landing: None }
    }
}

/// Keeps an answer joinable; once dropped, the next request begins another.
#[derive(Debug)]
pub struct Landing {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    id: FlightId,
}

impl Landing {
    /// Has the next requests for a minute ask at once, without waiting for each other.
    pub fn remember_unshareable(&self) {
        self.flights.unshareable.insert(self.id, ());
    }

    /// Has no refresh begun for a while.
    pub fn hold_off_refresh(&self) {
        self.flights.held_off.insert(self.id, ());
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut running = self.flights.running.lock();
        // By now another one may have taken its place.
        if running.get(&self.id).is_some_and(|own| Arc::ptr_eq(own, &self.flight)) {
            running.remove(&self.id);
        }
    }
}

impl Flights {
    /// Whether a refresh of the answer `id` failed lately.
    pub fn is_refresh_held_off(&self, id: &FlightId) -> bool {
        self.held_off.contains_key(id)
    }

    /// Whether an answer is running that would be kept under this key, in whatever form.
    pub fn is_running(&self, key: Id) -> bool {
        self.running.lock().keys().any(|(own, _)| *own == key)
    }

    /// Joins the answer `id` where it is running, or was at `since`, and begins it where it was not. `fit` tells what
    /// an answer of that origin is to the request.
    pub fn join(
        self: &Arc<Self>,
        id: FlightId,
        origin: Origin,
        since: Instant,
        max_followers: usize,
        fit: impl Fn(Origin) -> Fit,
    ) -> Seat {
        if self.unshareable.contains_key(&id) {
            return Seat::Alone;
        }
        let mut running = self.running.lock();
        if let Some(flight) = running.get(&id) {
            match (flight.joinable(since), fit(flight.origin())) {
                // The request that leads reads too.
                (Some(readers), Fit::Fits) if readers <= max_followers => {
                    return Seat::Follow(flight.reader());
                }
                (Some(_), Fit::Fits) => return Seat::Full,
                (Some(_), Fit::NotTheirs) => return Seat::Alone,
                (None, _) | (_, Fit::Outdated) => {}
            }
        }
        let (flight, writer) = Flight::start(origin);
        let reader = flight.reader();
        running.insert(id, Arc::clone(&flight));
        let landing = Landing { flights: Arc::clone(self), flight, id };
        Seat::Lead(Start { writer, reader, landing: Some(landing) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cache::{key::Key, route::kind::Kind},
        proxy::coalesce::flight::{End, StoredFor},
    };

    const ORIGIN: Origin = Origin { bound: 100, with_credentials: false, second: false, began: None };

    fn key(name: &[u8]) -> Id {
        Key::new("ns".into(), Kind::Query, blake3::hash(name)).id()
    }

    fn id() -> FlightId {
        (key(b"a"), 0)
    }

    fn lead(flights: &Arc<Flights>) -> Start {
        match flights.join(id(), ORIGIN, Instant::now(), 2, |_| Fit::Fits) {
            Seat::Lead(start) => start,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_leads_and_a_bounded_number_follows() {
        let flights = Arc::new(Flights::default());
        let leader = lead(&flights);
        let followers: Vec<_> =
            (0..2).map(|_| flights.join(id(), ORIGIN, Instant::now(), 2, |_| Fit::Fits)).collect();
        assert!(followers.iter().all(|seat| matches!(seat, Seat::Follow(_))));
        assert!(matches!(flights.join(id(), ORIGIN, Instant::now(), 2, |_| Fit::Fits), Seat::Full));
        drop(followers);
        assert!(flights.is_running(key(b"a")) && !flights.is_running(key(b"b")));
        assert!(
            matches!(flights.join(id(), ORIGIN, Instant::now(), 2, |_| Fit::NotTheirs), Seat::Alone),
            "not for this caller"
        );
        drop(leader);
        lead(&flights);
    }

    #[test]
    fn an_outdated_answer_is_replaced() {
        let flights = Arc::new(Flights::default());
        let _leader = lead(&flights);
        let join = |fit| flights.join(id(), ORIGIN, Instant::now(), 2, move |_| fit);
        let Seat::Lead(next) = join(Fit::Outdated) else { panic!("another one begins") };
        assert!(matches!(join(Fit::Fits), Seat::Follow(_)), "and is joined");
        drop(next);
    }

    #[test]
    fn a_failed_answer_is_replaced_and_its_landing_leaves_the_new_one_alone() {
        let flights = Arc::new(Flights::default());
        let Start { writer, landing, .. } = lead(&flights);
        drop(writer);
        let second = lead(&flights);
        drop(landing);
        assert!(matches!(flights.join(id(), ORIGIN, Instant::now(), 2, |_| Fit::Fits), Seat::Follow(_)));
        second.writer.end(End::Complete(Ok(StoredFor::Usual)));
    }

    #[test]
    fn an_answer_that_is_over_is_for_those_who_came_before_its_end() {
        let flights = Arc::new(Flights::default());
        let before = Instant::now();
        let Start { writer, landing, .. } = lead(&flights);
        writer.end(End::Complete(Ok(StoredFor::Usual)));
        assert!(matches!(flights.join(id(), ORIGIN, before, 2, |_| Fit::Fits), Seat::Follow(_)));
        let after = Instant::now() + Duration::from_millis(1);
        assert!(matches!(flights.join(id(), ORIGIN, after, 2, |_| Fit::Fits), Seat::Lead(_)));
        drop(landing);
    }

    #[test]
    fn an_unshareable_key_is_waited_for_by_nobody() {
        let flights = Arc::new(Flights::default());
        lead(&flights).landing.expect("a landing").remember_unshareable();
        assert!(matches!(flights.join(id(), ORIGIN, Instant::now(), 2, |_| Fit::Fits), Seat::Alone));
    }
}
