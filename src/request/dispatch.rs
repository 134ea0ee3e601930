//! Where a request goes, by its head: to a health page, to a route, or through to the upstream. Pure.

use std::sync::Arc;

use http::{Method, request::Parts};

use crate::{cache::route::Route, http::validation, reason::Reason};

#[derive(Debug)]
pub(crate) enum Dispatch<'a> {
    /// A health page answers it.
    Health(HealthPage),
    /// This route covers it and caches its answer.
    Cacheable(&'a Arc<Route>),
    /// It goes on to the upstream, and its answer back, without the store.
    PassThrough(PassThrough<'a>),
}

#[derive(Debug)]
pub(crate) struct PassThrough<'a> {
    /// The route that covers it without caching its answer.
    pub(crate) covering: Option<&'a Arc<Route>>,
    /// The protocol that it asks its connection to become.
    pub(crate) upgrade: Option<String>,
    pub(crate) why: PassThroughReason,
}

/// Why a request is passed through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassThroughReason {
    /// It asks for an upgrade of the connection.
    Upgrade,
    /// No route covers it.
    Uncovered,
    /// Its route has `cache = false`.
    NotCached,
    /// Its route names its method, answers to which are not cached.
    NamedMethod,
    /// Its route covers all methods, and does not cache answers to this one.
    Method,
    /// The upstream may take its path for another one.
    Climbs,
    /// Conditions on the body do not hold on the routes that cover it.
    Unmet,
    /// Its route is built in, and its body is not JSON by its `Content-Type`.
    NotJson,
    /// Its route is built in, and its body lacks what the API requires.
    NotInDialect,
    /// Its route is built in and for forms, and its body is larger than what is read.
    TooLarge,
}

impl PassThroughReason {
    /// Why a request with `method` that `route` covers is not cached; `None` if it is.
    pub(crate) fn of_route(route: &Route, method: &Method) -> Option<Self> {
        if !route.cache {
            Some(Self::NotCached)
        } else if route.caches(method) {
            None
        } else if route.pattern.names_method() {
            Some(Self::NamedMethod)
        } else {
            Some(Self::Method)
        }
    }

    /// As in `Cache-Status` and the log.
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::Upgrade => Reason::Upgrade,
            Self::Uncovered | Self::Unmet => Reason::NoRoute,
            Self::NotCached | Self::NamedMethod => Reason::RouteOff,
            Self::Method => Reason::Method,
            Self::Climbs => Reason::DotSegment,
            Self::NotJson => Reason::NotJson,
            Self::NotInDialect => Reason::NotInDialect,
            Self::TooLarge => Reason::RequestTooLarge,
        }
    }
}

/// A health page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HealthPage {
    /// At `health.path` itself.
    Report,
    /// Whether the process lives.
    Live,
    /// Whether it takes requests.
    Ready,
}

impl HealthPage {
    /// The page at `path` if `health.path` is `base`.
    pub(crate) fn from_path(base: &str, path: &str) -> Option<Self> {
        match path.strip_prefix(base)? {
            "" => Some(Self::Report),
            "/live" => Some(Self::Live),
            "/ready" => Some(Self::Ready),
            _ => None,
        }
    }

    /// The page that a request is for, whatever route may cover it as well.
    pub(crate) fn from_request(base: &str, method: &Method, path: &str) -> Option<Self> {
        Self::from_path(base, path).filter(|_| matches!(*method, Method::GET | Method::HEAD))
    }
}

impl<'a> Dispatch<'a> {
    /// For a request with the head in `parts`; the health page is at `health_path`.
    pub(crate) fn new(health_path: &str, routes: &'a [Arc<Route>], parts: &Parts) -> Self {
        let method = &parts.method;
        let path = parts.uri.path();
        if let Some(page) = HealthPage::from_request(health_path, method, path) {
            return Self::Health(page);
        }
        let covering = routes.iter().find(|route| route.pattern.matches(method, path));
        let upgrade = validation::upgrade(&parts.headers).map(str::to_owned);
        let why = match covering {
            // First, since no route could change it.
            _ if upgrade.is_some() => PassThroughReason::Upgrade,
            None => PassThroughReason::Uncovered,
            // Only the body shows whether it covers the request.
            Some(route) if !route.when.is_empty() && !validation::climbs(path) => {
                return Self::Cacheable(route);
            }
            Some(route) => match PassThroughReason::of_route(route, method) {
                Some(why) => why,
                None if validation::climbs(path) => PassThroughReason::Climbs,
                None => return Self::Cacheable(route),
            },
        };
        Self::PassThrough(PassThrough { covering, upgrade, why })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;

    use super::*;
    use crate::cache::route::{Mode, Scope, kind::Kind};

    #[test]
    fn each_way_has_its_reason() {
        let route = |pattern, cache| {
            let route = Route::new(pattern, Kind::Query, Duration::from_secs(60), Scope::Credential);
            Arc::new(Route { cache, ..route.expect("a route") })
        };
        let followed = Route { mode: Mode::Rfc9111, ..Route::clone(&route("POST /followed", true)) };
        let routes = [route("* /off/**", false), route("* /**/ask", true), Arc::new(followed)];
        let way = |method: &str, path: &str, upgrades: bool| {
            let request = Request::builder().method(method).uri(path);
            let request = match upgrades {
                true => request.header("connection", "upgrade").header("upgrade", "websocket"),
                false => request,
            };
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            match Dispatch::new("/health", &routes, &parts) {
                Dispatch::Health(page) => format!("{page:?}"),
                Dispatch::Cacheable(route) => route.name.clone(),
                Dispatch::PassThrough(PassThrough { covering, upgrade, why }) => {
                    format!("{why:?} {} {}", covering.map_or("none", |route| &route.name), upgrade.is_some())
                }
            }
        };
        for (method, path, upgrades, expected) in [
            ("GET", "/health", false, "Report"),
            ("HEAD", "/health/ready", true, "Ready"),
            ("POST", "/health", false, "Uncovered none false"),
            ("POST", "/a/ask", false, "* /**/ask"),
            ("GET", "/a/ask", false, "* /**/ask"),
            ("PATCH", "/a/ask", false, "Method * /**/ask false"),
            ("PATCH", "/a/ask", true, "Upgrade * /**/ask true"),
            ("GET", "/a/ask", true, "Upgrade * /**/ask true"),
            ("POST", "/a/%2e%2e/ask", false, "Climbs * /**/ask false"),
            ("POST", "/off/ask", false, "NotCached * /off/** false"),
            ("POST", "/off/ask", true, "Upgrade * /off/** true"),
            ("POST", "/followed", false, "NamedMethod POST /followed false"),
            ("GET", "/followed", false, "Uncovered none false"),
            ("GET", "/", true, "Upgrade none true"),
        ] {
            assert_eq!(way(method, path, upgrades), expected, "{method} {path}");
        }
    }
}
