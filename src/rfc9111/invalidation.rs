//! Which stored responses an unsafe request makes invalid (RFC 9111, section 4.4).

use http::{HeaderMap, Method, StatusCode, header};
use url::Url;

/// The paths whose stored responses a response of this status and with these headers makes invalid: that of the
/// request's target, and those of `Location` and `Content-Location`, where they are of the same origin. Empty
/// where the method is safe or the response is an error.
///
/// `origin` is the scheme and authority that the client sent the request to, `path` the target's path.
pub fn invalidated(
    method: &Method,
    origin: &str,
    path: &str,
    status: StatusCode,
    headers: &HeaderMap,
) -> Vec<String> {
    if is_safe(method) || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
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

/// The methods registered as safe; one whose safety is unknown counts as unsafe.
fn is_safe(method: &Method) -> bool {
    matches!(
        method.as_str(),
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY" | "PROPFIND" | "REPORT" | "SEARCH"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rfc9111::testing::map;

    fn paths(method: &str, status: u16, lines: &[(&str, &str)]) -> Vec<String> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let status = StatusCode::from_u16(status).expect("a status");
        invalidated(&method, "http://a.example", "/x/y", status, &map(lines))
    }

    #[test]
    fn rfc9111_4_4_a_success_of_an_unsafe_method_makes_its_target_invalid() {
        for method in ["PUT", "POST", "DELETE", "PATCH", "M-SEARCH"] {
            for status in [200, 204, 302] {
                assert_eq!(paths(method, status, &[]), ["/x/y"], "{method} {status}");
            }
            for status in [404, 500] {
                assert!(paths(method, status, &[]).is_empty(), "{method} {status}");
            }
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"] {
            assert!(paths(method, 200, &[]).is_empty(), "{method}");
        }
    }

    #[test]
    fn rfc9111_4_4_what_its_locations_name_is_invalid_where_the_origin_is_the_same() {
        let named = |location| paths("POST", 201, &[("location", location)]);
        assert_eq!(named("/z?q=1"), ["/x/y", "/z"]);
        assert_eq!(named("z"), ["/x/y", "/x/z"]);
        assert_eq!(named("http://A.example/z"), ["/x/y", "/z"]);
        assert_eq!(named("//a.example:80/z"), ["/x/y", "/z"]);
        for other in ["http://b.example/z", "https://a.example/z", "http://a.example:81/z", "//b.example/z"] {
            assert_eq!(named(other), ["/x/y"], "{other}");
        }
        let both = [("location", "/l"), ("content-location", "/c")];
        assert_eq!(paths("POST", 201, &both), ["/x/y", "/l", "/c"]);
    }
}
