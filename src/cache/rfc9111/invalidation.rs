//! Which stored responses an unsafe request invalidates (RFC 9111, section 4.4).

use http::{HeaderMap, Method, header};
use url::Url;

/// The paths whose stored responses an unsafe request to `path` invalidates when it succeeds with these
/// response headers: its own, and those in `Location` and `Content-Location` if they have the same origin.
///
/// `origin` is the scheme and authority that the client sent the request to.
pub(crate) fn invalidated(origin: &str, path: &str, headers: &HeaderMap) -> Vec<String> {
    let mut paths = vec![path.to_owned()];
    if let Ok(target) = Url::parse(&format!("{origin}{path}")) {
        let named = [header::LOCATION, header::CONTENT_LOCATION];
        let named = named.iter().filter_map(|name| headers.get(name)?.to_str().ok());
        let resolved = named.filter_map(|reference| target.join(reference).ok());
        paths.extend(resolved.filter(|url| url.origin() == target.origin()).map(|url| url.path().to_owned()));
    }
    paths.dedup();
    paths
}

/// Whether a method is registered as safe. A method whose safety is unknown invalidates, too.
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(
        method.as_str(),
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY" | "PROPFIND" | "REPORT" | "SEARCH"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::rfc9111::testing::map;

    fn paths(lines: &[(&str, &str)]) -> Vec<String> {
        invalidated("http://a.example", "/x/y", &map(lines))
    }

    #[test]
    fn rfc9111_4_4_unsafe_and_unknown_methods_make_what_is_stored_invalid() {
        for (method, expected) in
            [("GET", true), ("HEAD", true), ("QUERY", true), ("PUT", false), ("M-SEARCH", false)]
        {
            assert_eq!(is_safe(&Method::from_bytes(method.as_bytes()).expect("a method")), expected);
        }
    }

    #[test]
    fn rfc9111_4_4_the_target_and_what_its_locations_name_of_the_same_origin() {
        assert_eq!(paths(&[]), ["/x/y"]);
        let named = |location| paths(&[("location", location)]);
        assert_eq!(named("/z?q=1"), ["/x/y", "/z"]);
        assert_eq!(named("z"), ["/x/y", "/x/z"]);
        assert_eq!(named("http://A.example/z"), ["/x/y", "/z"]);
        assert_eq!(named("//a.example:80/z"), ["/x/y", "/z"]);
        for other in ["http://b.example/z", "https://a.example/z", "http://a.example:81/z", "//b.example/z"] {
            assert_eq!(named(other), ["/x/y"], "{other}");
        }
        assert_eq!(paths(&[("location", "/l"), ("content-location", "/c")]), ["/x/y", "/l", "/c"]);
    }
}
