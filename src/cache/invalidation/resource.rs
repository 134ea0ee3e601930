//! Documents and conversations: which ones a path names, and what a change to them invalidates. Pure.

use http::{HeaderMap, Method, Uri, header};

use crate::cache::{
    invalidation::Target,
    route::{
        Invalidates, Route,
        kind::Kind,
        pattern::{Pattern, decoded},
    },
};

/// The paths of documents and conversations, from the routes that cache them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resources(Vec<(Kind, Pattern)>);

/// A document or a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// [`Kind::Document`] or [`Kind::Conversation`].
    pub(crate) kind: Kind,
    /// Percent-decoded.
    pub(crate) path: String,
    /// Percent-decoded.
    pub(crate) id: String,
}

/// Segments of a path after these are ignored.
const MAX_SEGMENTS: usize = 128;

impl Resources {
    pub(crate) fn from_routes(routes: &[Route]) -> Self {
        let is_resource =
            |route: &&Route| route.cache && matches!(route.kind, Kind::Document | Kind::Conversation);
        Self(routes.iter().filter(is_resource).map(|route| (route.kind, route.pattern.clone())).collect())
    }

    /// The resources that `path` names, or that it is below.
    pub(crate) fn at_or_above(&self, path: &str) -> Vec<Resource> {
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).take(MAX_SEGMENTS);
        let above = ends.map(|end| &path[..end]);
        // A trailing slash names the same resource.
        let own = if path.len() > 1 { path.trim_end_matches('/') } else { path };
        let mut found: Vec<_> = above.chain([own]).flat_map(|path| self.at(path)).collect();
        found.dedup();
        found
    }

    fn at(&self, path: &str) -> impl Iterator<Item = Resource> {
        let covers = |(_, pattern): &&(Kind, Pattern)| pattern.matches(&Method::GET, path);
        self.0.iter().filter(covers).map(|(kind, pattern)| Resource::new(*kind, pattern, path))
    }

    /// What a successful request to `path` with this response has changed: the resources that the path names
    /// or is below, and those that the response says it made or changed (RFC 9111, section 4.4).
    pub(crate) fn changed(&self, path: &str, response: Option<&HeaderMap>) -> Vec<Target> {
        let named = [header::LOCATION, header::CONTENT_LOCATION].into_iter().filter_map(|name| {
            let target: Uri = response?.get(name)?.to_str().ok()?.parse().ok()?;
            Some(target.path().to_owned())
        });
        let named: Vec<_> = named.collect();
        let named = named.iter().flat_map(|path| self.at(path));
        self.at_or_above(path)
            .into_iter()
            .chain(named)
            .flat_map(|resource| resource.changed_targets())
            .collect()
    }
}

impl Resource {
    /// The resource that a route with `pattern` names by `path`. Its id is the last `{…}`, or else the last
    /// segment.
    pub(crate) fn new(kind: Kind, pattern: &Pattern, path: &str) -> Self {
        let last_segment = || path.rsplit('/').find(|segment| !segment.is_empty()).unwrap_or_default();
        Self {
            kind,
            path: decoded(path),
            id: decoded(pattern.last_capture(path).unwrap_or_else(last_segment)),
        }
    }

    /// The target for all answers to `path`, whether it names a resource or not.
    pub(crate) fn path_target(path: &str) -> Target {
        Target::Path(decoded(path))
    }

    /// What `route` says that a success at `path` invalidates.
    pub(crate) fn invalidated_by_route(route: &Route, path: &str) -> Vec<Target> {
        let target = |invalidates: &Invalidates| match invalidates {
            Invalidates::Kind(kind) => Some(Target::Kind(*kind)),
            Invalidates::TagInPath(name) => {
                route.pattern.capture(name, path).map(|tag| Target::Tag(decoded(tag)))
            }
        };
        route.invalidates.iter().filter_map(target).collect()
    }

    /// What `route` says that the answers at `path` depend on.
    pub(crate) fn tags_by_route(route: &Route, path: &str) -> impl Iterator<Item = Target> {
        let captures = route.path_tags.iter().filter_map(|name| route.pattern.capture(name, path));
        captures.map(|tag| Target::Tag(decoded(tag)))
    }

    /// What the answer to a `GET` of it depends on.
    pub(crate) fn view_targets(self) -> Vec<Target> {
        let by_id = if self.kind == Kind::Document { Target::Tag } else { Target::ConversationView };
        vec![Target::Path(self.path), by_id(self.id)]
    }

    /// What a change to it invalidates.
    fn changed_targets(self) -> Vec<Target> {
        let answers = (self.kind == Kind::Conversation).then(|| Target::Conversation(self.id.clone()));
        self.view_targets().into_iter().chain(answers).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;
    use crate::cache::route::Scope;

    fn resources() -> Resources {
        let route = |pattern, kind| {
            Route::new(pattern, kind, Duration::from_secs(1), Scope::Credential).expect("a route")
        };
        Resources::from_routes(&[
            route("GET /docs/{tenant}/{id}", Kind::Document),
            route("GET /files/{id}/meta", Kind::Document),
            route("GET /talks/{id}", Kind::Conversation),
            route("POST /ask/{id}", Kind::Query),
            Route { cache: false, ..route("GET /off/{id}", Kind::Document) },
        ])
    }

    fn ids(path: &str) -> Vec<String> {
        resources().at_or_above(path).into_iter().map(|resource| resource.id).collect()
    }

    #[test]
    fn a_path_is_at_or_below_a_resource() {
        for (path, expected) in [
            ("/docs/t/a%20b", &["a b"][..]),
            ("/docs/t/a/", &["a"]),
            ("/docs/t/a/chunks/7", &["a"]),
            ("/docs/t", &[]),
            ("/files/f/meta", &["f"]),
            ("/files/f", &[]),
            ("/talks/c/turns", &["c"]),
            ("/ask/q", &[]),
            ("/off/x", &[]),
            ("/", &[]),
        ] {
            assert_eq!(ids(path), expected, "{path}");
        }
    }

    #[test]
    fn a_change_invalidates_the_view_and_what_depends_on_it() {
        let text = str::to_owned;
        assert_eq!(
            resources().changed("/docs/t/a%2Fb", None),
            [Target::Path(text("/docs/t/a/b")), Target::Tag(text("a/b"))]
        );
        assert_eq!(
            resources().changed("/talks/c", None),
            [
                Target::Path(text("/talks/c")),
                Target::ConversationView(text("c")),
                Target::Conversation(text("c"))
            ]
        );
        let made =
            HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static("http://x/docs/t/new"))]);
        assert_eq!(
            resources().changed("/docs", Some(&made)),
            [Target::Path(text("/docs/t/new")), Target::Tag(text("new"))]
        );
    }

    #[test]
    fn a_path_of_many_segments_takes_no_long_time() {
        assert!(ids(&"/x".repeat(30_000)).is_empty());
    }
}
