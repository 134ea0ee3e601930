//! Documents and conversations: what a path names, and what lies above it. Pure.

use http::{HeaderMap, Method, Uri, header};
use percent_encoding::percent_decode_str;

use crate::cache::{
    invalidation::Target,
    route::{Route, kind::Kind, pattern::Pattern},
};

/// The paths of documents and conversations, from the routes that cache them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resources(Vec<(Kind, Pattern)>);

/// A document, or a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Which of the two.
    pub(crate) kind: Kind,
    /// Its path, percent-decoded.
    pub(crate) path: String,
    /// Its id, percent-decoded.
    pub(crate) id: String,
}

/// Paths with more segments name nothing beyond these.
const MAX_SEGMENTS: usize = 128;

impl Resources {
    /// Those of `routes`.
    pub(crate) fn from_routes(routes: &[Route]) -> Self {
        let caches =
            |route: &&Route| route.cache && matches!(route.kind, Kind::Document | Kind::Conversation);
        Self(routes.iter().filter(caches).map(|route| (route.kind, route.pattern.clone())).collect())
    }

    /// What `path` names, and what it is below of.
    pub(crate) fn at_or_above(&self, path: &str) -> Vec<Resource> {
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).take(MAX_SEGMENTS);
        let above = ends.map(|end| &path[..end]);
        // A trailing slash names the same.
        let own = if path.len() > 1 { path.trim_end_matches('/') } else { path };
        let mut found: Vec<_> = above.chain([own]).flat_map(|path| self.at(path)).collect();
        found.dedup();
        found
    }

    fn at(&self, path: &str) -> impl Iterator<Item = Resource> {
        let fits = |(_, pattern): &&(Kind, Pattern)| pattern.matches(&Method::GET, path);
        self.0.iter().filter(fits).map(|(kind, pattern)| Resource::new(*kind, pattern, path))
    }

    /// What is other once a request of `path` has succeeded with such a response: what it names, what it is below of,
    /// and what the response says it made or changed (RFC 9111, section 4.4).
    pub(crate) fn changed(&self, path: &str, response: Option<&HeaderMap>) -> Vec<Target> {
        let told = [header::LOCATION, header::CONTENT_LOCATION].into_iter().filter_map(|name| {
            let target: Uri = response?.get(name)?.to_str().ok()?.parse().ok()?;
            Some(target.path().to_owned())
        });
        let told: Vec<_> = told.collect();
        let told = told.iter().flat_map(|path| self.at(path));
        self.at_or_above(path)
            .into_iter()
            .chain(told)
            .flat_map(|resource| resource.changed_targets())
            .collect()
    }
}

impl Resource {
    /// What a route of `pattern` names by `path`: its id is the last `{…}`, or else the last segment.
    pub(crate) fn new(kind: Kind, pattern: &Pattern, path: &str) -> Self {
        let last = || path.rsplit('/').find(|segment| !segment.is_empty()).unwrap_or_default();
        Self { kind, path: decoded(path), id: decoded(pattern.last_capture(path).unwrap_or_else(last)) }
    }

    /// What was got from `path`, be it a resource or not.
    pub(crate) fn path_target(path: &str) -> Target {
        Target::Path(decoded(path))
    }

    /// What its `GET` depends on.
    pub(crate) fn view_targets(self) -> Vec<Target> {
        let by_id = if self.kind == Kind::Document { Target::Tag } else { Target::ConversationView };
        vec![Target::Path(self.path), by_id(self.id)]
    }

    /// What a change to it retires.
    fn changed_targets(self) -> Vec<Target> {
        let answers = (self.kind == Kind::Conversation).then(|| Target::Conversation(self.id.clone()));
        self.view_targets().into_iter().chain(answers).collect()
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
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
    fn a_change_retires_what_was_seen_and_what_depends_on_it() {
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
