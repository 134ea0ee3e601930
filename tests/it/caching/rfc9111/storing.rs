//! Section 3: which responses are stored, and which of their fields.

use super::{counting, follow, get, says, second};
use crate::support::{Client, Gate, Script, Setup, Upstream, run};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[test]
fn rfc9111_3_any_final_status_with_explicit_freshness_is_stored() {
    run(async {
        for (status, expected) in [
            (200, "HIT"),
            (204, "HIT"),
            (299, "HIT"),
            (302, "HIT"),
            (404, "HIT"),
            (503, "HIT"),
            (206, "MISS"),
        ] {
            let upstream = Upstream::always(Script::whole(status, &[FRESH], "")).await;
            let sidecache = follow(&upstream).await;
            get(&sidecache.client(), &[]).await;
            let second = get(&sidecache.client(), &[]).await;
            assert_eq!((second.status, second.cache()), (status, expected));
        }
    });
}

#[test]
fn rfc9111_3_responses_that_forbid_storing_are_not_stored() {
    run(async {
        for (value, reason) in [
            ("max-age=60, no-store", "no-store"),
            ("max-age=60, private", "private"),
            ("max-age=60, must-understand, no-store", "hit"),
            ("max-age=60, private=\"x-mine\"", "hit"),
        ] {
            let second = second(&[("cache-control", value), ("x-mine", "1"), ("x-all", "1")]).await;
            assert_eq!(second.detail().unwrap_or("hit"), reason, "{value}");
            if reason == "hit" {
                let qualified = value.contains("private");
                assert_eq!((second.header("x-mine") == "1", second.header("x-all")), (!qualified, "1"));
            }
        }
    });
}

#[test]
fn rfc9111_3_1_connection_specific_fields_are_not_stored() {
    run(async {
        let headers = [
            FRESH,
            ("connection", "x-named"),
            ("x-named", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("x-kept", "1"),
        ];
        let hit = second(&headers).await;
        assert_eq!((hit.cache(), hit.header("x-kept")), ("HIT", "1"));
        for absent in ["x-named", "keep-alive", "proxy-authenticate"] {
            assert!(!hit.headers.contains_key(absent), "{absent}");
        }
    });
}

#[test]
fn rfc9111_3_3_an_incomplete_response_is_not_stored() {
    run(async {
        let cut = Script::raw().head(200, &[FRESH, ("content-length", "9")]).send("cut").close();
        let endless = Script::raw().head(200, &[FRESH]).send("whole?").close();
        let upstream = Upstream::in_turn(vec![cut, endless, says(&[FRESH], "whole")]).await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        assert_eq!(get(&client, &[]).await.status, 502, "it was cut before anything had gone out");
        assert_eq!(get(&client, &[]).await.detail(), Some("unframed"));
        assert_eq!(get(&client, &[]).await.cache(), "MISS");
        let hit = get(&client, &[]).await;
        assert_eq!((hit.cache(), hit.text().as_str()), ("HIT", "whole"));
    });
}

#[test]
fn rfc9111_3_5_a_response_to_an_authorized_request_is_shared_if_it_allows_that() {
    run(async {
        for (value, expected) in [
            ("max-age=60", "MISS"),
            ("max-age=60, public", "HIT"),
            ("max-age=60, must-revalidate", "HIT"),
            ("s-maxage=60", "HIT"),
        ] {
            let upstream = counting(&[("cache-control", value)]).await;
            let sidecache = follow(&upstream).await;
            let first = get(&sidecache.client(), &[("authorization", "Bearer a")]).await;
            let reason = if expected == "MISS" { Some("authorization") } else { None };
            assert_eq!(first.detail(), reason, "{value}");
            for headers in [&[][..], &[("authorization", "Bearer b")], &[("cookie", "a=b")]] {
                let upstream_said = get(&sidecache.client(), headers).await.text();
                assert_eq!(upstream_said == "1", expected == "HIT", "{value} {headers:?}");
            }
        }
    });
}

async fn ask_as(client: &Client, header: (&str, &str)) -> String {
    get(client, &[header]).await.cache().to_owned()
}

#[test]
fn a_scope_separates_callers_whatever_the_response_says() {
    run(async {
        let upstream = counting(&[("cache-control", "max-age=60, public")]).await;
        let config = super::route("");
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        let client = sidecache.client();
        for caller in [("cookie", "a=b"), ("authorization", "Bearer a"), ("x-api-key", "a")] {
            assert_eq!(ask_as(&client, caller).await, "MISS", "{caller:?}");
            assert_eq!(ask_as(&client, caller).await, "HIT", "{caller:?}");
        }
        assert_eq!(get(&client, &[]).await.cache(), "MISS");
    });
}

#[test]
fn a_response_to_a_caller_with_a_key_is_shared_with_accepted_callers_only() {
    run(async {
        let upstream = counting(&[FRESH]).await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        assert_eq!(ask_as(&client, ("x-api-key", "a")).await, "MISS");
        assert_eq!(ask_as(&client, ("x-api-key", "b")).await, "MISS", "nobody knows that it is good");
        assert_eq!(ask_as(&client, ("x-api-key", "a")).await, "HIT");
        assert_eq!(get(&client, &[]).await.cache(), "MISS");
    });
}

#[test]
fn an_encoded_answer_is_not_stored() {
    run(async {
        let second = second(&[FRESH, ("content-encoding", "gzip")]).await;
        assert_eq!((second.cache(), second.detail()), ("MISS", Some("encoded")));
    });
}

#[test]
fn a_response_that_sets_a_cookie_is_not_shared() {
    run(async {
        let second = second(&[FRESH, ("set-cookie", "a=b")]).await;
        assert_eq!((second.cache(), second.detail()), ("MISS", Some("set-cookie")));
    });
}

#[test]
fn rfc9111_4_followers_get_only_reusable_responses() {
    run(async {
        for (value, expected) in [("max-age=60", 1), ("no-cache", 2), ("max-age=60, private", 2)] {
            let gate = Gate::new();
            let answer = says(&[("cache-control", value), ("etag", "\"a\"")], "x");
            let upstream = Upstream::always(Script::raw().wait(&gate).then(answer)).await;
            let sidecache = follow(&upstream).await;
            let ask = |id: &'static str| {
                let client = sidecache.client();
                tokio::spawn(async move { get(&client, &[("x-request-id", id)]).await })
            };
            let both = [ask("one"), ask("two")];
            sidecache.log.looked_up("one").await;
            sidecache.log.looked_up("two").await;
            gate.open();
            for answer in both {
                assert_eq!(answer.await.expect("an answer").text(), "x");
            }
            assert_eq!(upstream.calls(), expected, "{value}");
        }
    });
}
