//! Authentication, and calls that do not exist.

use serde_json::json;

use super::{Fixture, StoreKind};
use crate::support::{
    RawClient, Script, Setup, Upstream, run,
    samples::{CHAT, chat, chat_answer},
};

const TOKEN: &str = "a-token-of-some-length";

/// Every call that changes something: method, target, body.
fn changes(key: &str) -> [(&'static str, String, String); 3] {
    [
        ("PUT", format!("/entries/{key}"), json!({"body": chat_answer(), "status": 404}).to_string()),
        ("DELETE", format!("/entries/{key}"), String::new()),
        ("POST", "/purge".to_owned(), json!({"all": true}).to_string()),
    ]
}

#[test]
fn calls_without_the_right_host_token_and_content_type_change_nothing() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let setup =
            Setup::to(&upstream.url()).env("ADMIN_TOKEN", TOKEN).config("[admin]\nhosts = [\"ops.example\"]");
        let fixture = Fixture::with(StoreKind::Memory, setup).await;
        let key = fixture.client.post(CHAT, &chat()).await.key();
        let bearer = format!("Bearer {TOKEN}");
        let (json, host) = (("content-type", "application/json"), ("host", "127.0.0.1"));
        let token = ("authorization", bearer.as_str());
        for (method, target, body) in changes(&key) {
            for (headers, status) in [
                (vec![json, token, ("host", "evil.example")], 403),
                (vec![json, token, ("host", "127.0.0.1.evil.example:8081")], 403),
                (vec![json, host], 401),
                (vec![json, host, ("authorization", "Bearer another-token")], 401),
                (vec![json, host, ("authorization", "Basic YTph")], 401),
                (vec![token, host], 415),
                (vec![token, host, ("content-type", "text/plain")], 415),
                (vec![token, host, ("content-type", "application/x-www-form-urlencoded")], 415),
                (vec![token, host, ("content-type", "multipart/form-data; boundary=x")], 415),
            ] {
                let answer = fixture.operator.request(method, &target, &headers, body.clone()).await;
                assert_eq!(answer.status, status, "{method} {headers:?}: {}", answer.text());
                assert!(answer.json()["error"].is_string(), "{}", answer.text());
                assert_eq!(answer.header("www-authenticate"), if status == 401 { "Bearer" } else { "" });
                assert_eq!(fixture.asked(CHAT, &chat()).await, "HIT", "{method} {headers:?}");
            }
        }
        for target in ["/stats", "/entries", &format!("/entries/{key}")] {
            assert_eq!(fixture.operator.get(target).await.status, 401, "{target}");
            let rebound =
                fixture.operator.request("GET", target, &[token, ("host", "evil.example")], "").await;
            assert_eq!(rebound.status, 403, "{target}");
            let good = fixture.operator.request("GET", target, &[token, ("host", "ops.example:1")], "").await;
            assert_eq!(good.status, 200, "{target}");
        }
        // A CORS preflight is not allowed.
        let preflight = [
            ("host", "127.0.0.1"),
            ("origin", "http://evil.example"),
            ("access-control-request-method", "POST"),
        ];
        let answer = fixture.operator.request("OPTIONS", "/purge", &preflight, "").await;
        assert!(answer.status >= 400 && answer.header("access-control-allow-origin").is_empty());
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn unknown_calls_and_arguments_are_rejected_with_a_reason() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let fixture = Fixture::new(StoreKind::Memory, &upstream).await;
        for (method, target, status, allow) in [
            ("GET", "/none", 404, ""),
            ("POST", "/", 405, "GET, HEAD"),
            ("POST", "/metrics", 405, "GET, HEAD"),
            ("POST", "/stats", 405, "GET, HEAD"),
            ("DELETE", "/entries", 405, "GET, HEAD"),
            ("GET", "/purge", 405, "POST"),
            ("POST", "/entries/query:0f", 405, "GET, HEAD, PUT, DELETE"),
            ("GET", "/entries/query:0f", 400, ""),
            ("GET", "/entries?kind=queries", 400, ""),
            ("GET", "/entries?limit=x", 400, ""),
        ] {
            let answer = fixture.call(method, target, &json!({})).await;
            assert_eq!((answer.status, answer.header("allow")), (status, allow), "{method} {target}");
            assert!(!answer.json()["error"].as_str().expect("a text").is_empty());
        }
        for (target, received) in [("/entries?kind=queries", "queries"), ("/entries?limit=x", "limit")] {
            assert!(fixture.operator.get(target).await.text().contains(received), "{target}");
        }
        assert_eq!(fixture.operator.request("HEAD", "/stats", &[], "").await.status, 200);
        // On the clients' listener, these are requests like any other.
        assert_eq!(fixture.client.get("/stats").await.json(), chat_answer());
    });
}

#[test]
fn request_bodies_of_the_admin_api_are_bounded() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let config = "[limits]\nmax_body = \"4KiB\"\n[store]\nmax_entry = \"1KiB\"";
        let fixture = Fixture::with(StoreKind::Memory, Setup::to(&upstream.url()).config(config)).await;
        let key = fixture.client.post(CHAT, &chat()).await.key();
        let target = format!("/entries/{key}");
        for (method, target, body) in [
            ("PUT", target.as_str(), json!({"body": "x".repeat(5000)})),
            ("PUT", &target, json!({"body": "x".repeat(2000)})),
            ("POST", "/purge", json!({"tag": "x".repeat(5000)})),
        ] {
            let answer = fixture.call(method, target, &body).await;
            assert_eq!(answer.status, 413, "{}", answer.text());
            assert_eq!(fixture.asked(CHAT, &chat()).await, "HIT");
        }
        // A body that announces too many bytes is not read, and one without an end is read up to the limit.
        for head in ["content-length: 9999999999\r\n\r\n", "transfer-encoding: chunked\r\n\r\nffffff\r\n"] {
            let mut raw = RawClient::connect(fixture.sidecache.admin()).await;
            raw.send(format!(
                "POST /purge HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{head}{}",
                "x".repeat(100_000)
            ))
            .await;
            let received = raw.until("\r\n\r\n").await;
            assert!(received.starts_with("HTTP/1.1 413"), "{received}");
        }
    });
}
