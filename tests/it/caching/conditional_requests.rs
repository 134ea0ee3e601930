//! Conditional requests, `HEAD` and `Range`, on routes that cache for a TTL.

use serde_json::json;

use crate::support::{
    Answer, Client, Script, Setup, Sidecache, Upstream, run,
    samples::{CHAT, chat, chat_answer},
};

const DOCUMENT: &str = "/api/v1/documents/d1";
const CHANGED: &str = "Tue, 15 Nov 1994 08:12:31 GMT";
const LATER: &str = "Tue, 15 Nov 1994 08:12:32 GMT";

/// A document with both validators.
fn document() -> Script {
    let headers =
        [("etag", "\"a\""), ("last-modified", CHANGED), ("cache-control", "max-age=9"), ("x-a", "1")];
    Script::json_with(200, &headers, &json!({"id": "d1"}))
}

async fn ask(client: &Client, method: &str, headers: &[(&str, &str)]) -> Answer {
    client.request(method, DOCUMENT, headers, "").await
}

#[track_caller]
fn assert_not_modified(answer: &Answer, cache: &str) {
    assert_eq!((answer.status, answer.cache()), (304, cache), "{:?}", answer.headers);
    assert!(answer.body.is_empty());
    assert_eq!(answer.header("etag"), "\"a\"");
    assert_eq!(answer.header("cache-control"), "max-age=9");
    assert_eq!(answer.header("x-a"), "1");
    for absent in ["content-type", "content-length", "last-modified"] {
        assert!(!answer.headers.contains_key(absent), "{absent}");
    }
}

#[test]
fn rfc9111_4_3_2_a_condition_is_answered_from_the_store() {
    run(async {
        let upstream = Upstream::always(document()).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        assert_eq!(ask(&client, "GET", &[]).await.cache(), "MISS");
        for condition in [
            ("if-none-match", "\"a\""),
            ("if-none-match", "\"b\", W/\"a\""),
            ("if-none-match", "*"),
            ("if-modified-since", CHANGED),
            ("if-modified-since", LATER),
        ] {
            assert_not_modified(&ask(&client, "GET", &[condition]).await, "HIT");
            assert_not_modified(&ask(&client, "HEAD", &[condition]).await, "HIT");
        }
        for conditions in [
            &[("if-none-match", "\"b\"")][..],
            &[("if-none-match", "\"b\""), ("if-modified-since", LATER)],
            &[("if-modified-since", "Tue, 15 Nov 1994 08:12:30 GMT")],
        ] {
            let answer = ask(&client, "GET", conditions).await;
            assert_eq!((answer.status, answer.cache(), answer.json()["id"] == "d1"), (200, "HIT", true));
        }
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn a_condition_on_a_miss_is_evaluated_on_the_fetched_answer() {
    run(async {
        let upstream = Upstream::always(document()).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let answer = ask(&client, "GET", &[("if-none-match", "\"a\""), ("if-modified-since", CHANGED)]).await;
        assert_not_modified(&answer, "MISS");
        let asked = upstream.last();
        assert!(asked.header("if-none-match").is_none() && asked.header("if-modified-since").is_none());
        assert_eq!(ask(&client, "GET", &[]).await.cache(), "HIT", "it was stored");
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn a_condition_goes_upstream_when_the_store_is_bypassed() {
    run(async {
        let upstream = Upstream::start(|request| match request.header("if-none-match") {
            Some("\"b\"") => Script::whole(304, &[("etag", "\"b\"")], ""),
            _ => document(),
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let headers = [("cache-control", "no-store"), ("if-none-match", "\"b\"")];
        let answer = ask(&sidecache.client(), "GET", &headers).await;
        assert_eq!((answer.status, answer.cache(), answer.header("etag")), (304, "BYPASS", "\"b\""));
    });
}

/// A cache does not evaluate these conditions, and must not store an answer that one caller's condition
/// changed.
#[test]
fn other_preconditions_of_a_get_go_upstream_and_those_of_a_post_are_ignored() {
    run(async {
        let upstream = Upstream::start(|request| {
            match request.headers.iter().any(|(name, _)| name.starts_with("if-")) {
                true => Script::whole(412, &[], ""),
                false if request.target == CHAT => Script::json(&chat_answer()),
                false => document(),
            }
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        for condition in [("if-match", "\"x\""), ("if-unmodified-since", CHANGED)] {
            let received = ask(&client, "GET", &[condition]).await;
            assert_eq!(
                (received.status, received.cache(), received.detail()),
                (412, "BYPASS", Some("request-precondition"))
            );
        }
        for name in ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"] {
            let value = if name.ends_with("since") { CHANGED } else { "\"x\"" };
            let received = client.post_with(CHAT, &[(name, value)], &chat()).await;
            assert_eq!(
                (received.status, received.json()),
                (200, chat_answer()),
                "{name}: {}",
                received.cache()
            );
        }
        assert_eq!(upstream.calls(), 3);
    });
}

#[test]
fn rfc9110_13_2_1_conditions_do_not_apply_to_a_stored_404() {
    run(async {
        let headers = [("last-modified", CHANGED)];
        let upstream = Upstream::always(Script::json_with(404, &headers, &json!({}))).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for cache in ["MISS", "HIT"] {
            let answer = ask(&sidecache.client(), "GET", &[("if-modified-since", LATER)]).await;
            assert_eq!((answer.status, answer.cache()), (404, cache));
        }
    });
}

#[test]
fn rfc9110_9_3_2_head_is_answered_from_a_stored_get() {
    run(async {
        let upstream = Upstream::always(document()).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for client in [sidecache.client(), Client::h2c(sidecache.address())] {
            let whole = ask(&client, "GET", &[]).await;
            let head = ask(&client, "HEAD", &[]).await;
            assert_eq!((head.status, head.cache()), (200, "HIT"));
            assert!(head.body.is_empty());
            assert_eq!(head.header("content-length"), whole.body.len().to_string());
            assert_eq!(head.header("etag"), "\"a\"");
        }
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn head_on_a_miss_goes_upstream_and_stores_nothing() {
    run(async {
        let upstream = Upstream::start(|request| match request.method.as_str() {
            "HEAD" => Script::raw().head(200, &[("content-length", "11"), ("etag", "\"a\"")]),
            _ => document(),
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        for _ in 0..2 {
            let head = ask(&client, "HEAD", &[]).await;
            assert_eq!((head.status, head.cache(), head.header("content-length")), (200, "MISS", "11"));
            assert_eq!((upstream.last().method.as_str(), head.detail()), ("HEAD", Some("request-method")));
        }
        assert_eq!(ask(&client, "GET", &[]).await.cache(), "MISS");
        assert_eq!(ask(&client, "HEAD", &[]).await.cache(), "HIT");
        assert_eq!(upstream.calls(), 3);
    });
}

#[test]
fn rfc9110_14_2_a_range_is_passed_on_with_its_conditions() {
    run(async {
        let upstream = Upstream::start(|request| match request.header("range") {
            Some(_) => Script::whole(206, &[("content-range", "bytes 0-1/11")], "{\""),
            None => document(),
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        assert_eq!(ask(&client, "GET", &[]).await.cache(), "MISS");
        let headers = [("range", "bytes=0-1"), ("if-range", "\"a\""), ("if-none-match", "\"z\"")];
        for calls in [2, 3] {
            let part = ask(&client, "GET", &headers).await;
            assert_eq!((part.status, part.cache(), part.detail()), (206, "BYPASS", Some("request-range")));
            assert_eq!((part.text().as_str(), upstream.calls()), ("{\"", calls));
            let asked = upstream.last();
            assert!(headers.iter().all(|(name, value)| asked.header(name) == Some(*value)));
        }
        assert_eq!(ask(&client, "GET", &[]).await.cache(), "HIT", "the whole is still there");
    });
}

#[test]
fn if_none_match_on_a_post_is_ignored() {
    run(async {
        let headers = [("etag", "\"a\"")];
        let answer = json!({"answer": "yes"});
        let upstream = Upstream::always(Script::json_with(200, &headers, &answer)).await;
        let route = "[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\ndialect = \"rag\"";
        let sidecache = Setup::to(&upstream.url()).config(route).start().await;
        let question = json!({"query": "Is it?"});
        for cache in ["MISS", "HIT"] {
            let answer = sidecache.client().post_with("/ask", &[("if-none-match", "\"a\"")], &question).await;
            assert_eq!((answer.status, answer.cache()), (200, cache));
        }
    });
}
