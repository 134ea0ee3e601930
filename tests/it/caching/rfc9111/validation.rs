//! Section 4.3: validation of stored responses, and the client's own conditions.

use super::{follow, get, route, says};
use crate::support::{Received, Script, Setup, Upstream, run};

const STALE: [(&str, &str); 2] = [("cache-control", "max-age=9"), ("age", "9")];
const CHANGED: &str = "Tue, 15 Nov 1994 08:12:31 GMT";

/// An upstream whose first response `"a"` is stale and has the headers `first`; it confirms `"a"` with a 304
/// and the headers `confirmed`.
async fn confirming(first: &'static [(&str, &str)], confirmed: &'static [(&str, &str)]) -> Upstream {
    Upstream::start(move |request| {
        if is_asked_to_confirm(request) {
            return Script::whole(304, confirmed, "");
        }
        says(&[&STALE[..], &[("etag", "\"a\"")], first].concat(), "first")
    })
    .await
}

fn is_asked_to_confirm(request: &Received) -> bool {
    request.header("if-none-match") == Some("\"a\"")
}

#[test]
fn rfc9111_4_3_1_a_stale_response_is_validated_with_its_validators() {
    run(async {
        for (name, value, condition) in [
            ("etag", "\"a\"", "if-none-match"),
            ("etag", "W/\"a\"", "if-none-match"),
            ("last-modified", CHANGED, "if-modified-since"),
        ] {
            let upstream = Upstream::start(move |request| match request.header(condition) {
                Some(given) if given == value => Script::whole(304, &[("cache-control", "max-age=60")], ""),
                _ => says(&[&STALE[..], &[(name, value)]].concat(), "first"),
            })
            .await;
            let sidecache = follow(&upstream).await;
            assert_eq!(get(&sidecache.client(), &[]).await.cache(), "MISS");
            let confirmed = get(&sidecache.client(), &[]).await;
            assert_eq!(
                (confirmed.status, confirmed.cache(), confirmed.text().as_str()),
                (200, "HIT", "first")
            );
            let received = confirmed.header("cache-status");
            assert!(received.starts_with("sidecache; fwd=stale; fwd-status=304; ttl="), "{received}");
            let hit = get(&sidecache.client(), &[]).await;
            assert!(hit.header("cache-status").starts_with("sidecache; hit"), "it is fresh again");
            assert_eq!(upstream.calls(), 2);
        }
    });
}

#[test]
fn rfc9111_3_2_a_304_updates_the_stored_fields() {
    run(async {
        let first = &[("x-a", "1"), ("x-kept", "1"), ("content-type", "text/plain")];
        let confirmed =
            &[("cache-control", "max-age=60"), ("x-a", "2"), ("x-new", "1"), ("content-range", "x")];
        let upstream = confirming(first, confirmed).await;
        let sidecache = follow(&upstream).await;
        get(&sidecache.client(), &[]).await;
        for _ in 0..2 {
            let answer = get(&sidecache.client(), &[]).await;
            for (name, value) in [
                ("x-a", "2"),
                ("x-kept", "1"),
                ("x-new", "1"),
                ("cache-control", "max-age=60"),
                ("etag", "\"a\""),
                ("content-length", "5"),
                ("content-range", ""),
            ] {
                assert_eq!(answer.header(name), value, "{name}");
            }
            assert_eq!(answer.header("age"), "0");
        }
        assert_eq!(upstream.calls(), 2);
    });
}

#[test]
fn rfc9111_4_3_4_a_304_for_another_response_updates_nothing() {
    run(async {
        let upstream = confirming(&[], &[("cache-control", "max-age=60"), ("etag", "\"b\"")]).await;
        let sidecache = follow(&upstream).await;
        for calls in 1..4 {
            let answer = get(&sidecache.client(), &[]).await;
            assert_eq!((answer.text().as_str(), answer.header("etag")), ("first", "\"a\""));
            assert_eq!(upstream.calls(), calls, "it is as stale as before");
        }
    });
}

#[test]
fn rfc9111_4_3_3_a_full_response_replaces_the_stored_one() {
    run(async {
        let upstream = Upstream::start(|request| {
            if is_asked_to_confirm(request) {
                return says(&[("cache-control", "max-age=60"), ("etag", "\"b\"")], "second");
            }
            says(&[&STALE[..], &[("etag", "\"a\"")]].concat(), "first")
        })
        .await;
        let sidecache = follow(&upstream).await;
        for (cache, text) in [("MISS", "first"), ("MISS", "second"), ("HIT", "second")] {
            let answer = get(&sidecache.client(), &[]).await;
            assert_eq!((answer.cache(), answer.text().as_str()), (cache, text));
        }
    });
}

#[test]
fn rfc9111_5_2_2_4_no_cache_is_validated_however_fresh() {
    run(async {
        let upstream = Upstream::start(|request| {
            if is_asked_to_confirm(request) {
                return Script::whole(304, &[], "");
            }
            says(&[("cache-control", "no-cache, max-age=60"), ("etag", "\"a\"")], "first")
        })
        .await;
        let sidecache = follow(&upstream).await;
        for (calls, cache) in [(1, "MISS"), (2, "HIT"), (3, "HIT")] {
            assert_eq!(get(&sidecache.client(), &[]).await.cache(), cache);
            assert_eq!(upstream.calls(), calls);
        }
    });
}

#[test]
fn rfc9111_5_2_1_4_no_cache_in_a_request_validates_a_fresh_response() {
    run(async {
        let upstream = Upstream::start(|request| {
            if is_asked_to_confirm(request) {
                return Script::whole(304, &[], "");
            }
            says(&[("cache-control", "max-age=60"), ("etag", "\"a\"")], "first")
        })
        .await;
        let sidecache = follow(&upstream).await;
        get(&sidecache.client(), &[]).await;
        let confirmed = get(&sidecache.client(), &[("cache-control", "no-cache")]).await;
        assert_eq!(confirmed.cache(), "HIT");
        assert!(confirmed.header("cache-status").contains("fwd=request; fwd-status=304"));
    });
}

#[test]
fn rfc9111_4_3_2_a_clients_condition_is_evaluated_on_the_stored_response() {
    run(async {
        let upstream = confirming(&[], &[("cache-control", "max-age=60")]).await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        get(&client, &[]).await;
        for cache in ["HIT", "HIT"] {
            let answer = get(&client, &[("if-none-match", "\"b\", \"a\"")]).await;
            assert_eq!((answer.status, answer.cache(), answer.header("etag")), (304, cache, "\"a\""));
        }
        assert_eq!(upstream.calls(), 2, "the first was confirmed, with the stored tag alone");
        let other = get(&client, &[("if-none-match", "\"b\"")]).await;
        assert_eq!((other.status, other.text().as_str()), (200, "first"));
    });
}

#[test]
fn rfc9111_4_3_2_a_condition_on_a_miss_goes_upstream() {
    run(async {
        let upstream = confirming(&[], &[("etag", "\"a\"")]).await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        for _ in 0..2 {
            let answer = get(&client, &[("if-none-match", "\"a\"")]).await;
            assert_eq!((answer.status, answer.cache()), (304, "MISS"), "and a 304 is not stored");
        }
        assert_eq!(upstream.calls(), 2);
        let answer = get(&client, &[("if-match", "\"a\"")]).await;
        assert_eq!((answer.cache(), answer.detail()), ("BYPASS", Some("request-precondition")));
        assert_eq!(upstream.last().header("if-match"), Some("\"a\""));
    });
}

#[test]
fn rfc9111_4_3_5_a_head_response_freshens_the_stored_get() {
    run(async {
        for (tag, expected) in [("\"a\"", "HIT"), ("\"b\"", "MISS")] {
            let upstream = Upstream::start(move |request| match request.method.as_str() {
                "HEAD" => {
                    let fresh = [("etag", tag), ("cache-control", "max-age=60"), ("x-a", "2"), ("age", "0")];
                    Script::raw().head(200, &[&fresh[..], &[("content-length", "5")]].concat())
                }
                _ => says(&[&STALE[..], &[("etag", "\"a\""), ("x-a", "1")]].concat(), "first"),
            })
            .await;
            let sidecache = follow(&upstream).await;
            let client = sidecache.client();
            get(&client, &[]).await;
            let head = client.request("HEAD", "/a", &[], "").await;
            assert_eq!((head.status, head.cache(), head.header("x-a")), (200, "MISS", "2"));
            let after = get(&client, &[]).await;
            assert_eq!((after.cache(), upstream.calls()), (expected, if expected == "HIT" { 2 } else { 3 }));
            if expected == "HIT" {
                assert_eq!((after.header("x-a"), after.text().as_str()), ("2", "first"));
                assert_eq!(client.request("HEAD", "/a", &[], "").await.cache(), "HIT");
            }
        }
    });
}

#[test]
fn a_response_that_can_be_validated_is_stored_for_the_routes_ttl() {
    run(async {
        let upstream = confirming(&[], &[("cache-control", "max-age=60")]).await;
        let config = route("scope = \"shared\"\nttl = 0");
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        for _ in 0..2 {
            let answer = get(&sidecache.client(), &[]).await;
            assert_eq!((answer.cache(), answer.detail()), ("BYPASS", Some("ttl-zero")));
        }
    });
}
