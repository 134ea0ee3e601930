//! Which route was chosen for a body, where several have conditions on it: a body that comes again is not held against
//! a hundred conditions again.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, OnceLock},
};

use http::Method;
use parking_lot::Mutex;

use super::parse_cache::BodyId;
use crate::cache::route::Route;

/// How many choices are remembered. One that comes to the place of another replaces it.
const CELLS: usize = 16 * 1024;

/// A body, and a keyed hash of where it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChoiceId {
    body: BodyId,
    sent_to: u64,
}

/// A body, and the place of its route.
type Cell = Mutex<Option<(ChoiceId, usize)>>;

/// The choices of one set of routes.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    /// Made at the first choice: most configurations have no conditions.
    cells: OnceLock<Box<[Cell]>>,
    hasher: RandomState,
}

impl Choices {
    /// Names a body that was sent to `path`, where `first` is the first route that covers it.
    pub(super) fn id(&self, body: BodyId, first: &Arc<Route>, method: &Method, path: &str) -> ChoiceId {
        ChoiceId { body, sent_to: self.hasher.hash_one((Arc::as_ptr(first), method, path)) }
    }

    /// The place of the chosen route among the routes, if it is known.
    pub(super) fn recall(&self, id: ChoiceId) -> Option<usize> {
        let cell = &self.cells.get()?[Self::place(id)];
        cell.lock().filter(|(own, _)| *own == id).map(|(_, route)| route)
    }

    pub(super) fn remember(&self, id: ChoiceId, route: usize) {
        let cells = self.cells.get_or_init(|| (0..CELLS).map(|_| Mutex::default()).collect());
        *cells[Self::place(id)].lock() = Some((id, route));
    }

    /// Both parts are keyed hashes.
    fn place(id: ChoiceId) -> usize {
        (id.body.hash() as usize ^ id.sent_to as usize) % CELLS
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        cache::route::{Scope, kind::Kind},
        request::parse_cache::ParseCache,
    };

    #[test]
    fn a_choice_is_that_of_its_body_route_method_and_path() {
        let route =
            || Arc::new(Route::new("* /**", Kind::Query, Duration::ZERO, Scope::Shared).expect("a route"));
        let (one, other) = (route(), route());
        let (choices, parse_cache) = (Choices::default(), ParseCache::for_store(0));
        let id = |body: &str, route, method, path| {
            choices.id(parse_cache.body_id(body.as_bytes()), route, &method, path)
        };
        choices.remember(id("a", &one, Method::POST, "/a"), 7);
        assert_eq!(choices.recall(id("a", &one, Method::POST, "/a")), Some(7));
        for another in [
            id("b", &one, Method::POST, "/a"),
            id("a", &other, Method::POST, "/a"),
            id("a", &one, Method::PUT, "/a"),
            id("a", &one, Method::POST, "/b"),
        ] {
            assert_eq!(choices.recall(another), None);
        }
    }
}
