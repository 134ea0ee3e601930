//! Requests by route: the routes of a process have numbers, and each thread has counters under these.

use std::sync::OnceLock;

use super::{
    counter::Counter,
    labels::{CACHES, NONE, STATUSES},
    names::Names,
};
use crate::cache::route::{Route, RouteNumber};

/// The most routes that are counted apart; any further ones count as none.
const MAX_ROUTES: usize = 1024;

/// The names and kinds of all routes that the process has had. The first one is for requests without a route.
#[derive(Debug)]
pub(crate) struct RouteNames(Names<RouteName>);

/// A route's labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteName {
    pub(crate) route: String,
    pub(crate) kind: &'static str,
}

impl Default for RouteNames {
    fn default() -> Self {
        Self(Names::new(RouteName { route: NONE.to_owned(), kind: NONE }, MAX_ROUTES))
    }
}

impl RouteNames {
    /// The number of a route: the same one for all routes of one name and kind.
    pub(crate) fn number(&self, route: &Route) -> RouteNumber {
        let own = RouteName { route: route.label().to_owned(), kind: route.kind.as_str() };
        RouteNumber(self.0.number(own))
    }

    /// All names, in the order of their numbers.
    pub(crate) fn all(&self) -> Vec<RouteName> {
        self.0.all()
    }
}

/// The requests of one route, by the word of `X-Cache` and the class of the status.
type RouteRequests = [[Counter; STATUSES.len()]; CACHES.len()];

/// The requests of each route on one thread.
#[derive(Debug)]
pub(crate) struct Requests(Box<[OnceLock<Box<RouteRequests>>]>);

impl Default for Requests {
    fn default() -> Self {
        Self((0..MAX_ROUTES).map(|_| OnceLock::new()).collect())
    }
}

impl Requests {
    /// Counts one request, whose labels have these places.
    pub(crate) fn count(&self, route: RouteNumber, cache: usize, status: usize) {
        if let Some(requests) = self.0.get(usize::from(route.0)) {
            requests.get_or_init(Box::default)[cache][status].increment();
        }
    }

    /// The requests of all routes with this word of `X-Cache`.
    pub(crate) fn with_cache(&self, cache: usize) -> u64 {
        let routes = self.0.iter().filter_map(OnceLock::get);
        routes.flat_map(|requests| &requests[cache]).map(Counter::get).sum()
    }

    /// The requests of all routes whose status is of this class.
    pub(crate) fn with_status(&self, status: usize) -> u64 {
        let routes = self.0.iter().filter_map(OnceLock::get);
        routes.flat_map(|requests| requests.iter()).map(|statuses| statuses[status].get()).sum()
    }

    pub(crate) fn get(&self, route: usize, cache: usize, status: usize) -> u64 {
        self.0.get(route).and_then(OnceLock::get).map_or(0, |requests| requests[cache][status].get())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cache::route::{Scope, kind::Kind};

    fn route(name: &str, kind: Kind) -> Route {
        let route = Route::new("GET /x", kind, Duration::from_secs(1), Scope::Shared).expect("a route");
        Route { name: name.to_owned(), ..route }
    }

    #[test]
    fn a_name_and_kind_have_one_number_however_often_they_come() {
        let names = RouteNames::default();
        let numbers: Vec<_> =
            [("a", Kind::Query), ("b", Kind::Query), ("a", Kind::Other), ("a", Kind::Query)]
                .map(|(name, kind)| names.number(&route(name, kind)).0)
                .into();
        assert_eq!(numbers, [1, 2, 3, 1]);
        assert_eq!(names.all()[0], RouteName { route: NONE.to_owned(), kind: NONE });
        assert_eq!(names.all()[3], RouteName { route: "a".to_owned(), kind: "other" });
    }

    #[test]
    fn the_number_of_routes_is_bounded() {
        let names = RouteNames::default();
        for number in 1..3 * MAX_ROUTES {
            let expected = if number < MAX_ROUTES { number } else { 0 };
            assert_eq!(usize::from(names.number(&route(&number.to_string(), Kind::Query)).0), expected);
        }
        assert_eq!(names.all().len(), MAX_ROUTES);
        let requests = Requests::default();
        requests.count(RouteNumber(u16::MAX), 0, 0);
        requests.count(RouteNumber(7), 1, 2);
        assert_eq!((requests.get(7, 1, 2), requests.get(7, 1, 1), requests.get(8, 1, 2)), (1, 0, 0));
        assert_eq!([0, 1, 2].map(|place| requests.with_status(place)), [0, 0, 1]);
        assert_eq!([0, 1, 2].map(|place| requests.with_cache(place)), [0, 1, 0]);
    }
}
