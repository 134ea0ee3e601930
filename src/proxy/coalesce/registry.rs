//! The answers that are running, so that the same question goes upstream once.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use moka::sync::Cache;
use parking_lot::Mutex;

use crate::{
    cache::key::KeyId,
    proxy::coalesce::flight::{Flight, FlightMeta, FlightReader, FlightWriter},
    store::UNSHAREABLE_FOR,
};

/// How many unshareable keys are remembered, each for [`UNSHAREABLE_FOR`].
const MAX_UNSHAREABLE: u64 = 100_000;

/// How long no refresh of a stale answer begins in the background after one failed.
const REFRESH_HELD_OFF: Duration = Duration::from_secs(5);
const MAX_HELD_OFF: u64 = 100_000;

/// What tells two running answers apart: the key, and the form of the answer.
pub(crate) type FlightId = (KeyId, u64);

#[derive(Debug)]
pub(crate) struct InFlight {
    running: Mutex<HashMap<FlightId, Arc<Flight>>>,
    unshareable: Cache<FlightId, ()>,
    held_off: Cache<FlightId, ()>,
}

impl Default for InFlight {
    fn default() -> Self {
        let unshareable =
            Cache::builder().max_capacity(MAX_UNSHAREABLE).time_to_live(UNSHAREABLE_FOR).build();
        let held_off = Cache::builder().max_capacity(MAX_HELD_OFF).time_to_live(REFRESH_HELD_OFF).build();
        Self { running: Mutex::default(), unshareable, held_off }
    }
}

/// A request's part in a flight.
#[derive(Debug)]
pub(crate) enum Role {
    /// It asks the upstream, and others may join.
    Leader(Start),
    /// It reads the answer to another request.
    Follower(FlightReader),
    /// It asks the upstream for itself.
    Alone,
    /// It asks the upstream for itself because there are enough followers.
    Overflow,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct JoinRequest {
    pub(crate) id: FlightId,
    /// What is known of the answer if this request begins it.
    pub(crate) meta: FlightMeta,
    /// When the request came.
    pub(crate) since: Instant,
    pub(crate) max_followers: usize,
    /// A refresh leads its flight even if nobody may join it: the flight keeps other refreshes from beginning.
    pub(crate) is_refresh: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joinable {
    /// The answer is the request's, too.
    Yes,
    /// The client may not read the answer.
    NotAllowed,
    /// Something that the answer depends on may have been invalidated since it began.
    Outdated,
}

/// A flight that begins.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) writer: FlightWriter,
    /// Reads for the request that asks.
    pub(crate) reader: FlightReader,
    /// Lets others join; `None` if nobody may.
    pub(crate) guard: Option<FlightGuard>,
}

impl Start {
    /// A flight that nobody joins.
    pub(crate) fn alone(meta: FlightMeta) -> Self {
        let (flight, writer) = Flight::start(meta);
        Self { writer, reader: flight.reader(), guard: None }
    }
}

/// Keeps a flight joinable. Once it is dropped, the next request begins another one.
#[derive(Debug)]
pub(crate) struct FlightGuard {
    in_flight: Arc<InFlight>,
    flight: Arc<Flight>,
    id: FlightId,
}

impl FlightGuard {
    /// For a minute, the next requests ask at once, without waiting for each other.
    pub(crate) fn remember_unshareable(&self) {
        self.in_flight.unshareable.insert(self.id, ());
    }

    /// For some seconds, no refresh begins.
    pub(crate) fn hold_off_refresh(&self) {
        self.in_flight.held_off.insert(self.id, ());
    }
}

impl Drop for FlightGuard {
    fn drop(&mut self) {
        let mut running = self.in_flight.running.lock();
        // By now another flight may have its place.
        if running.get(&self.id).is_some_and(|own| Arc::ptr_eq(own, &self.flight)) {
            running.remove(&self.id);
        }
    }
}

impl InFlight {
    /// Whether a refresh of the answer `id` may begin: no flight runs for it, though nobody may join that one (its head
    /// may say that it fails), and none failed lately. A refresh that fails is held off before its flight goes, so the
    /// flight is looked for first.
    pub(crate) fn may_refresh(&self, id: &FlightId) -> bool {
        !self.running.lock().contains_key(id) && !self.held_off.contains_key(id)
    }

    /// Whether an answer is running that would be stored under this key, in any form.
    pub(crate) fn is_running(&self, key: KeyId) -> bool {
        self.running.lock().keys().any(|(own, _)| *own == key)
    }

    /// How many requests read the answer to another one.
    pub(crate) fn waiting(&self) -> u64 {
        self.running.lock().values().map(|flight| flight.followers() as u64).sum()
    }

    /// Joins the flight if it is running, or was when the request came; else begins it. `joinable` says
    /// whether this request may read that flight.
    pub(crate) fn join(
        self: &Arc<Self>,
        request: JoinRequest,
        joinable: impl Fn(FlightMeta) -> Joinable,
    ) -> Role {
        let JoinRequest { id, meta, since, max_followers, is_refresh } = request;
        if !is_refresh && self.unshareable.contains_key(&id) {
            return Role::Alone;
        }
        let mut running = self.running.lock();
        if let Some(flight) = running.get(&id) {
            match (flight.joinable(since), joinable(flight.meta())) {
                // The leader is one of the readers.
                (Some(readers), Joinable::Yes) if readers <= max_followers => {
                    return Role::Follower(flight.reader());
                }
                (Some(_), Joinable::Yes) => return Role::Overflow,
                (Some(_), Joinable::NotAllowed) => return Role::Alone,
                (None, _) | (_, Joinable::Outdated) => {}
            }
        }
        let (flight, writer) = Flight::start(meta);
        let reader = flight.reader();
        running.insert(id, Arc::clone(&flight));
        let guard = FlightGuard { in_flight: Arc::clone(self), flight, id };
        Role::Leader(Start { writer, reader, guard: Some(guard) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cache::{key::Key, route::kind::Kind},
        proxy::coalesce::head::{End, StoredFor},
    };

    const META: FlightMeta = FlightMeta { bound: 100, with_credentials: false, second: false, began: None };

    fn key(name: &[u8]) -> KeyId {
        Key::new("ns".into(), Kind::Query, blake3::hash(name)).id()
    }

    fn request(since: Instant) -> JoinRequest {
        JoinRequest { id: (key(b"a"), 0), meta: META, since, max_followers: 2, is_refresh: false }
    }

    fn join(in_flight: &Arc<InFlight>, joinable: Joinable) -> Role {
        in_flight.join(request(Instant::now()), |_| joinable)
    }

    fn lead(in_flight: &Arc<InFlight>) -> Start {
        match join(in_flight, Joinable::Yes) {
            Role::Leader(start) => start,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_leads_and_a_bounded_number_follows() {
        let in_flight = Arc::new(InFlight::default());
        let leader = lead(&in_flight);
        let followers: Vec<_> = (0..2).map(|_| join(&in_flight, Joinable::Yes)).collect();
        assert!(followers.iter().all(|role| matches!(role, Role::Follower(_))));
        assert!(matches!(join(&in_flight, Joinable::Yes), Role::Overflow));
        drop(followers);
        assert!(in_flight.is_running(key(b"a")) && !in_flight.is_running(key(b"b")));
        assert!(matches!(join(&in_flight, Joinable::NotAllowed), Role::Alone), "not for this caller");
        drop(leader);
        lead(&in_flight);
    }

    #[test]
    fn an_outdated_answer_is_replaced() {
        let in_flight = Arc::new(InFlight::default());
        let _leader = lead(&in_flight);
        let Role::Leader(next) = join(&in_flight, Joinable::Outdated) else { panic!("another one begins") };
        assert!(matches!(join(&in_flight, Joinable::Yes), Role::Follower(_)), "and is joined");
        drop(next);
    }

    #[test]
    fn a_failed_answer_is_replaced_and_its_guard_leaves_the_new_one_alone() {
        let in_flight = Arc::new(InFlight::default());
        let Start { writer, guard, .. } = lead(&in_flight);
        drop(writer);
        let second = lead(&in_flight);
        drop(guard);
        assert!(matches!(join(&in_flight, Joinable::Yes), Role::Follower(_)));
        second.writer.end(End::Complete(Ok(StoredFor::Usual)));
    }

    #[test]
    fn an_answer_that_is_over_is_for_those_who_came_before_its_end() {
        let in_flight = Arc::new(InFlight::default());
        let before = Instant::now();
        let Start { writer, guard, .. } = lead(&in_flight);
        writer.end(End::Complete(Ok(StoredFor::Usual)));
        assert!(matches!(in_flight.join(request(before), |_| Joinable::Yes), Role::Follower(_)));
        let after = Instant::now() + Duration::from_millis(1);
        assert!(matches!(in_flight.join(request(after), |_| Joinable::Yes), Role::Leader(_)));
        drop(guard);
    }

    #[test]
    fn nobody_waits_for_an_unshareable_key() {
        let in_flight = Arc::new(InFlight::default());
        lead(&in_flight).guard.expect("a guard").remember_unshareable();
        assert!(matches!(join(&in_flight, Joinable::Yes), Role::Alone));
    }
}
