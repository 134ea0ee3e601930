//! Section 4.2.4 and RFC 5861: stale responses.

use super::{follow, get, route, says};
use crate::support::{Client, Gate, Script, Setup, Upstream, eventually, run};

/// Headers of a response that is stale on arrival and can be validated.
fn stale(directives: &str) -> [(String, String); 3] {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    [pair("cache-control", &format!("max-age=9{directives}")), pair("age", "9"), pair("etag", "\"a\"")]
}

/// An upstream whose first response is stale and has these directives; all others are `next`.
async fn once(directives: &str, next: Script) -> Upstream {
    let headers = stale(directives);
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Upstream::in_turn(vec![says(&headers, "first"), next]).await
}

async fn received(client: &Client, headers: &[(&str, &str)]) -> (u16, String, String) {
    let answer = get(client, headers).await;
    (answer.status, answer.cache().to_owned(), answer.text())
}

const FIRST: &str = "first";

#[test]
fn rfc5861_3_a_stale_response_is_served_while_it_is_validated() {
    run(async {
        let gate = Gate::new();
        let confirmed = Script::whole(304, &[("cache-control", "max-age=60")], "");
        let next = Script::raw().wait(&gate).then(confirmed);
        let upstream = once(", stale-while-revalidate=60", next).await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        get(&client, &[]).await;
        for _ in 0..3 {
            assert_eq!(received(&client, &[]).await, (200, "STALE".to_owned(), FIRST.to_owned()));
        }
        eventually("it is validated", async || (upstream.calls() == 2).then_some(())).await;
        assert_eq!(upstream.last().header("if-none-match"), Some("\"a\""));
        gate.open();
        eventually("it is fresh", async || (get(&client, &[]).await.cache() == "HIT").then_some(())).await;
        assert_eq!(upstream.calls(), 2, "once");
    });
}

#[test]
fn rfc5861_3_and_rfc9111_4_2_4_directives_that_forbid_stale_responses_win() {
    run(async {
        for directive in ["must-revalidate", "proxy-revalidate", "s-maxage=9", "no-cache"] {
            let directives = format!(", stale-while-revalidate=60, stale-if-error=60, {directive}");
            let upstream = once(&directives, says(&[("cache-control", "no-store")], "second")).await;
            let sidecache = follow(&upstream).await;
            get(&sidecache.client(), &[]).await;
            let second = received(&sidecache.client(), &[("cache-control", "max-stale")]).await;
            assert_eq!(second, (200, "MISS".to_owned(), "second".to_owned()), "{directive}");
        }
    });
}

#[test]
fn rfc5861_4_a_stale_response_is_served_instead_of_an_error() {
    run(async {
        for status in [500, 502, 503, 504] {
            let error = Script::whole(status, &[("cache-control", "max-age=60")], "error");
            let upstream = once(", stale-if-error=60", error).await;
            let sidecache = follow(&upstream).await;
            get(&sidecache.client(), &[]).await;
            for _ in 0..2 {
                let answer = get(&sidecache.client(), &[]).await;
                assert_eq!((answer.status, answer.cache(), answer.text().as_str()), (200, "STALE", FIRST));
                let expected = format!("sidecache; fwd=stale; fwd-status={status}");
                assert!(answer.header("cache-status").starts_with(&expected), "{:?}", answer.headers);
            }
        }
    });
}

#[test]
fn rfc5861_4_an_error_is_passed_on_without_stale_if_error() {
    run(async {
        let error = || Script::whole(503, &[], "error");
        let upstream = once("", error()).await;
        let sidecache = follow(&upstream).await;
        get(&sidecache.client(), &[]).await;
        assert_eq!(received(&sidecache.client(), &[]).await.0, 503);
        let allowed = received(&sidecache.client(), &[("cache-control", "stale-if-error=60")]).await;
        assert_eq!(allowed, (200, "STALE".to_owned(), FIRST.to_owned()), "by the request");
        let upstream = once("", error()).await;
        let config = route("scope = \"shared\"\nstale_if_error = \"1m\"");
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        get(&sidecache.client(), &[]).await;
        assert_eq!(received(&sidecache.client(), &[]).await.1, "STALE", "by the route");
    });
}

#[test]
fn rfc9111_4_2_4_a_stale_response_is_served_while_the_upstream_is_unreachable() {
    run(async {
        for (directives, expected) in [("", 200), (", must-revalidate", 502), (", s-maxage=9", 502)] {
            let upstream = once(directives, Script::raw().close()).await;
            let sidecache = follow(&upstream).await;
            get(&sidecache.client(), &[]).await;
            assert_eq!(received(&sidecache.client(), &[]).await.0, expected, "it closed: {directives}");
            drop(upstream);
            let (status, cache, _) = received(&sidecache.client(), &[]).await;
            assert_eq!(status, expected, "it is gone: {directives}");
            assert_eq!(cache == "STALE", expected == 200);
            let refused = received(&sidecache.client(), &[("cache-control", "no-cache")]).await;
            assert_eq!(refused.0, 502, "section 5.2.1.4");
        }
    });
}

#[test]
fn rfc9111_5_2_1_2_max_stale_accepts_a_stale_response() {
    run(async {
        let upstream = once("", Script::whole(500, &[], "error")).await;
        let sidecache = follow(&upstream).await;
        get(&sidecache.client(), &[]).await;
        for (directive, expected) in
            [("max-stale", 200), ("max-stale=60", 200), ("max-stale=60, max-age=5", 500)]
        {
            assert_eq!(
                received(&sidecache.client(), &[("cache-control", directive)]).await.0,
                expected,
                "{directive}"
            );
        }
    });
}
