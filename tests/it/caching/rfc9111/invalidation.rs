//! Section 4.4: invalidation by unsafe requests.

use super::{follow, route, says};
use crate::support::{Client, Received, Script, Setup, Upstream, run};

/// An upstream that answers `GET` with a fresh response, and other methods with `other`.
async fn upstream(other: impl Fn(&Received) -> Script + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |request| match request.method.as_str() {
        "GET" => says(&[("cache-control", "max-age=600")], &request.target),
        _ => other(request),
    })
    .await
}

async fn cache_of(client: &Client, target: &str) -> String {
    client.get(target).await.cache().to_owned()
}

#[test]
fn rfc9111_4_4_a_successful_unsafe_request_invalidates_its_target() {
    run(async {
        let upstream = upstream(|request| {
            let refused = request.header("x-refused").is_some();
            Script::whole(if refused { 409 } else { 204 }, &[], "")
        })
        .await;
        for kind in ["document", "other"] {
            let config = route("scope = \"shared\"").replace("document", kind);
            let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
            let client = sidecache.client();
            for method in ["POST", "PUT", "PATCH", "DELETE", "M-SEARCH"] {
                for target in ["/x/y", "/x/y?q=1", "/z"] {
                    client.get(target).await;
                }
                client.request(method, "/x/y", &[("x-refused", "1")], "").await;
                assert_eq!(cache_of(&client, "/x/y").await, "HIT", "{method} was refused");
                client.request(method, "/x/y", &[], "").await;
                assert_eq!(cache_of(&client, "/x/y").await, "MISS", "{method}");
                assert_eq!(cache_of(&client, "/x/y?q=1").await, "MISS", "{method}, whatever the query");
                assert_eq!(cache_of(&client, "/z").await, "HIT", "{method}");
            }
            for method in ["OPTIONS", "HEAD"] {
                client.request(method, "/x/y", &[], "").await;
                assert_eq!(cache_of(&client, "/x/y").await, "HIT", "{method} is safe");
            }
        }
    });
}

#[test]
fn rfc9111_4_4_its_location_headers_are_invalidated_for_the_same_origin() {
    run(async {
        let upstream = upstream(|request| {
            let headers = [("location", request.header("x-l")), ("content-location", request.header("x-c"))];
            let headers: Vec<_> =
                headers.iter().filter_map(|(name, value)| Some((*name, (*value)?))).collect();
            Script::whole(201, &headers, "")
        })
        .await;
        let sidecache =
            Setup::to(&upstream.url()).config(&route("scope = \"shared\"").replace("document", "other"));
        let sidecache = sidecache.start().await;
        let client = sidecache.client();
        let own = format!("http://{}/l", sidecache.address());
        for (name, value, expected) in [
            ("x-l", "/l", "MISS"),
            ("x-c", "/l", "MISS"),
            ("x-l", "l", "MISS"),
            ("x-l", own.as_str(), "MISS"),
            ("x-l", "http://elsewhere.example/l", "HIT"),
            ("x-c", "//elsewhere.example/l", "HIT"),
        ] {
            client.get("/l").await;
            client.request("POST", "/things", &[(name, value)], "").await;
            assert_eq!(cache_of(&client, "/l").await, expected, "{name}: {value}");
        }
    });
}

#[test]
fn rfc9111_4_4_every_variant_and_every_scope_is_invalidated() {
    run(async {
        let upstream = Upstream::start(|request| match request.method.as_str() {
            "GET" => says(&[("cache-control", "max-age=600, public"), ("vary", "foo")], "x"),
            _ => Script::whole(204, &[], ""),
        })
        .await;
        let sidecache = Setup::to(&upstream.url()).config(&route("")).start().await;
        let client = sidecache.client();
        let callers = [&[("foo", "1")][..], &[("foo", "2")], &[("foo", "1"), ("authorization", "Bearer a")]];
        for expected in ["MISS", "HIT"] {
            for caller in callers {
                assert_eq!(client.request("GET", "/a", caller, "").await.cache(), expected);
            }
        }
        client.request("DELETE", "/a", &[], "").await;
        for caller in callers {
            assert_eq!(client.request("GET", "/a", caller, "").await.cache(), "MISS", "{caller:?}");
        }
    });
}

#[test]
fn a_large_upload_is_streamed_on_a_cacheable_route() {
    run(async {
        let upstream = upstream(|request| Script::whole(200, &[], request.body.len().to_string())).await;
        let limits = "[limits]\nmax_body = \"1KiB\"\n";
        let config = format!("{limits}{}", route("scope = \"shared\""));
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        let answer = sidecache.client().request("PUT", "/a", &[], vec![b'x'; 100_000]).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "100000"));
    });
}

#[test]
fn an_rfc9111_route_invalidates_without_kind_document() {
    run(async {
        let upstream = upstream(|_| Script::whole(204, &[], "")).await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        client.get("/a").await;
        client.request("POST", "/b", &[], "").await;
        assert_eq!(cache_of(&client, "/a").await, "HIT", "another path is left alone");
    });
}
