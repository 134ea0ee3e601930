//! RFC 10008: `QUERY` is cached like `GET`, with its body in the key.

use super::{follow, says};
use crate::support::{Answer, Client, Upstream, run};

async fn query(client: &Client, media: &str, body: &str) -> Answer {
    client.request("QUERY", "/a", &[("content-type", media)], body.to_owned()).await
}

#[test]
fn rfc10008_2_7_the_body_and_its_media_type_are_in_the_key() {
    run(async {
        let upstream = Upstream::start(|request| {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            says(&[("cache-control", "max-age=60")], &body)
        })
        .await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        for (media, body, cache) in [
            ("text/plain", "a", "MISS"),
            ("text/plain", "a", "HIT"),
            ("text/plain", "b", "MISS"),
            ("text/other", "a", "MISS"),
            ("text/plain", "b", "HIT"),
        ] {
            let answer = query(&client, media, body).await;
            assert_eq!((answer.cache(), answer.text().as_str()), (cache, body), "{media} {body}");
        }
        assert_eq!(client.get("/a").await.cache(), "MISS", "a `GET` asks for something else");
    });
}

#[test]
fn rfc10008_2_7_a_query_is_validated_like_a_get() {
    run(async {
        let upstream = Upstream::start(|request| match request.header("if-none-match") {
            Some("\"a\"") => crate::support::Script::whole(304, &[("cache-control", "max-age=60")], ""),
            _ => says(&[("cache-control", "max-age=9"), ("age", "9"), ("etag", "\"a\"")], "first"),
        })
        .await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        query(&client, "text/plain", "a").await;
        let confirmed = query(&client, "text/plain", "a").await;
        assert_eq!((confirmed.cache(), confirmed.text().as_str()), ("HIT", "first"));
        assert_eq!(upstream.last().body, b"a");
        let known = [("content-type", "text/plain"), ("if-none-match", "\"a\"")];
        assert_eq!(client.request("QUERY", "/a", &known, "a").await.status, 304);
    });
}

#[test]
fn rfc10008_2_a_query_is_safe() {
    run(async {
        let upstream = Upstream::always(says(&[("cache-control", "max-age=60")], "x")).await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        client.get("/a").await;
        query(&client, "text/plain", "a").await;
        assert_eq!(client.get("/a").await.cache(), "HIT");
    });
}
