//! Section 4.2: freshness; section 5.2.1: request directives; RFC 9213.

use super::{counting, follow, get, route, says, second};
use crate::support::{Script, Setup, Upstream, run};

#[test]
fn rfc9111_4_2_1_explicit_freshness_is_obeyed() {
    run(async {
        for (headers, expected) in [
            (&[("cache-control", "max-age=60")][..], "HIT"),
            (&[("cache-control", "max-age=0")], "MISS"),
            (&[("cache-control", "max-age=0, s-maxage=60")], "HIT"),
            (&[("cache-control", "max-age=60, s-maxage=0")], "MISS"),
            (&[("expires", "Fri, 01 Jan 2100 00:00:00 GMT")], "HIT"),
            (&[("expires", "0")], "MISS"),
            (&[("cache-control", "max-age=60"), ("expires", "0")], "HIT"),
            (&[], "MISS"),
        ] {
            let second = second(headers).await;
            assert_eq!(second.cache(), expected, "{headers:?}");
            assert_eq!(second.text(), if expected == "HIT" { "1" } else { "2" });
        }
    });
}

#[test]
fn rfc9111_4_2_2_heuristic_freshness_uses_last_modified() {
    run(async {
        let changed = ("last-modified", "Tue, 15 Nov 1994 08:12:31 GMT");
        assert_eq!(second(&[changed]).await.cache(), "HIT");
        let upstream = Upstream::always(Script::whole(201, &[changed], "x")).await;
        let sidecache = follow(&upstream).await;
        for _ in 0..2 {
            let answer = get(&sidecache.client(), &[]).await;
            assert_eq!((answer.cache(), answer.detail()), ("MISS", Some("status")));
        }
    });
}

#[test]
fn rfc9111_4_2_3_the_received_age_counts() {
    run(async {
        let hit = second(&[("cache-control", "max-age=600"), ("age", "30")]).await;
        assert_eq!(hit.cache(), "HIT");
        let age: u64 = hit.header("age").parse().expect("seconds");
        assert!((30..60).contains(&age), "{age}");
        assert!(hit.header("cache-status").contains("; ttl=5"), "{:?}", hit.headers);
        assert_eq!(second(&[("cache-control", "max-age=30"), ("age", "30")]).await.cache(), "MISS");
        let old = [("cache-control", "max-age=600"), ("date", "Tue, 15 Nov 1994 08:12:31 GMT")];
        assert_eq!(second(&old).await.cache(), "MISS", "apparent age");
    });
}

#[test]
fn rfc9110_6_6_1_a_stored_response_keeps_its_date_or_gets_one() {
    run(async {
        let upstream = counting(&[("cache-control", "max-age=60")]).await;
        let sidecache = follow(&upstream).await;
        get(&sidecache.client(), &[]).await;
        let hits = [get(&sidecache.client(), &[]).await, get(&sidecache.client(), &[]).await];
        assert!(hits[0].header("date").ends_with(" GMT") && hits[0].header("date") == hits[1].header("date"));
        let date = "Fri, 01 Jan 2100 00:00:00 GMT";
        assert_eq!(second(&[("cache-control", "max-age=60"), ("date", date)]).await.header("date"), date);
    });
}

#[test]
fn rfc9213_2_2_cdn_cache_control_replaces_cache_control() {
    run(async {
        for (targeted, plain, expected) in [
            ("max-age=60", "no-store", "HIT"),
            ("no-store", "max-age=60", "MISS"),
            ("private", "max-age=60", "MISS"),
            ("no-cache", "max-age=60", "MISS"),
            ("max-age=60, &&", "no-store", "MISS"),
        ] {
            let headers = [("cdn-cache-control", targeted), ("cache-control", plain)];
            let second = second(&headers).await;
            assert_eq!(second.cache(), expected, "{headers:?}");
            assert_eq!(second.header("cdn-cache-control"), targeted, "it is passed on");
        }
    });
}

#[test]
fn rfc9111_5_2_1_request_directives_restrict_reuse() {
    run(async {
        let upstream = counting(&[("cache-control", "max-age=600"), ("age", "100")]).await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        get(&client, &[]).await;
        for (directive, expected) in [
            ("max-age=200", "HIT"),
            ("min-fresh=400", "HIT"),
            ("only-if-cached", "HIT"),
            ("max-age=50", "MISS"),
            ("min-fresh=550", "MISS"),
            ("no-cache", "MISS"),
        ] {
            let answer = get(&client, &[("cache-control", directive)]).await;
            assert_eq!(answer.cache(), expected, "{directive}");
            if expected == "MISS" {
                assert!(answer.header("cache-status").contains("fwd=request"), "{directive}");
            }
        }
        let no_store = get(&client, &[("cache-control", "no-store")]).await;
        assert_eq!((no_store.cache(), no_store.detail()), ("BYPASS", Some("request-no-store")));
        let pragma = get(&client, &[("pragma", "no-cache")]).await;
        assert_eq!(pragma.cache(), "MISS", "section 5.4");
        let both = get(&client, &[("pragma", "no-cache"), ("cache-control", "max-age=500")]).await;
        assert_eq!(both.cache(), "HIT", "section 5.4: `Cache-Control` wins");
    });
}

#[test]
fn rfc9111_5_2_1_7_only_if_cached_never_asks_the_upstream() {
    run(async {
        let upstream = counting(&[("cache-control", "max-age=60"), ("age", "60"), ("etag", "\"a\"")]).await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        let only = [("cache-control", "only-if-cached")];
        assert_eq!(get(&client, &only).await.status, 504);
        get(&client, &[]).await;
        assert_eq!(get(&client, &only).await.status, 504, "it would have to be validated");
        let stale = get(&client, &[("cache-control", "only-if-cached, max-stale")]).await;
        assert_eq!((stale.status, stale.cache()), (200, "STALE"));
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn a_route_can_ignore_request_directives() {
    run(async {
        let upstream = counting(&[("cache-control", "max-age=60")]).await;
        let lines = "scope = \"shared\"\nhonor_request_cache_control = false";
        let sidecache = Setup::to(&upstream.url()).config(&route(lines)).start().await;
        get(&sidecache.client(), &[]).await;
        for headers in [("cache-control", "no-cache"), ("cache-control", "max-age=0"), ("pragma", "no-cache")]
        {
            assert_eq!(get(&sidecache.client(), &[headers]).await.cache(), "HIT", "{headers:?}");
        }
    });
}

#[test]
fn x_cache_ttl_shortens_the_upstreams_freshness() {
    run(async {
        let upstream = Upstream::always(says(&[("cache-control", "max-age=600")], "x")).await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        get(&client, &[("x-cache-ttl", "60")]).await;
        let hit = get(&client, &[]).await;
        let left = hit.header("cache-status").split("; ").find_map(|part| part.strip_prefix("ttl="));
        assert!((1..=60).contains(&left.expect("a ttl").parse::<i64>().expect("seconds")), "{left:?}");
    });
}
