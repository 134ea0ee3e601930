//! RFC 9110, section 14, and RFC 9111, section 3.3: ranges of stored responses.

use super::{counting, follow, get, says};
use crate::support::{Script, Upstream, run};

const FRESH: [(&str, &str); 3] =
    [("cache-control", "max-age=60"), ("etag", "\"a\""), ("content-type", "text/plain")];

#[test]
fn rfc9111_3_3_a_range_is_served_from_a_stored_response() {
    run(async {
        let upstream = Upstream::always(says(&FRESH, "0123456789")).await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        get(&client, &[]).await;
        for (range, status, received, body) in [
            ("bytes=2-4", 206, "bytes 2-4/10", "234"),
            ("bytes=7-", 206, "bytes 7-9/10", "789"),
            ("bytes=-1", 206, "bytes 9-9/10", "9"),
            ("bytes=10-", 416, "bytes */10", ""),
        ] {
            let part = get(&client, &[("range", range)]).await;
            assert_eq!((part.status, part.cache(), part.text().as_str()), (status, "HIT", body), "{range}");
            assert_eq!((part.header("content-range"), part.header("etag")), (received, "\"a\""));
            assert_eq!(part.header("content-length"), body.len().to_string());
        }
        let known = [("range", "bytes=0-1"), ("if-none-match", "\"a\"")];
        assert_eq!(get(&client, &known).await.status, 304, "the conditions come first");
        let other = [("range", "bytes=0-1"), ("if-range", "\"b\"")];
        assert_eq!(get(&client, &other).await.text(), "0123456789");
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn rfc9111_3_3_a_range_on_a_miss_goes_upstream_and_is_not_stored() {
    run(async {
        let part = [("content-range", "bytes 0-1/10"), ("cache-control", "max-age=60")];
        let upstream = Upstream::start(move |request| match request.header("range") {
            Some("bytes=0-1") => Script::whole(206, &part, "01"),
            Some(several) => says(&[], several),
            None => says(&FRESH, "0123456789"),
        })
        .await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        for _ in 0..2 {
            let answer = get(&client, &[("range", "bytes=0-1"), ("if-none-match", "\"x\"")]).await;
            assert_eq!((answer.status, answer.cache(), answer.text().as_str()), (206, "MISS", "01"));
            assert_eq!(answer.detail(), Some("request-range"));
            assert_eq!(upstream.last().header("if-none-match"), Some("\"x\""));
        }
        assert_eq!(get(&client, &[]).await.text(), "0123456789");
        // Multiple ranges go upstream.
        let several = get(&client, &[("range", "bytes=0-1,4-5")]).await;
        assert_eq!((several.cache(), several.text().as_str()), ("BYPASS", "bytes=0-1,4-5"));
    });
}

#[test]
fn rfc9111_3_3_a_range_of_a_stale_response_refreshes_the_whole() {
    run(async {
        let headers = [("cache-control", "max-age=9, stale-while-revalidate=600"), ("age", "9")];
        let upstream = counting(&headers).await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        get(&client, &[]).await;
        let part = get(&client, &[("range", "bytes=0-0")]).await;
        assert_eq!((part.status, part.cache(), part.text().as_str()), (206, "STALE", "1"));
        let asked = async || (upstream.calls() == 2).then_some(());
        crate::support::eventually("a refresh", asked).await;
        assert_eq!(upstream.last().header("range"), None);
    });
}
