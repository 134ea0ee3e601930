//! Forwarded headers: hop-by-hop ones, `X-Forwarded-*` and `Forwarded`, `Host`, and encodings.

use crate::support::{
    RawClient, Received, Script, Setup, Sidecache, Upstream, run,
    samples::{CHAT, chat, chat_answer},
};

/// A path that is passed through, and a cacheable one.
const TARGETS: [&str; 2] = ["/some", CHAT];

async fn chatting() -> Upstream {
    Upstream::always(Script::json(&chat_answer())).await
}

/// Posts a chat to `target`; returns the request that the upstream got.
async fn forwarded(
    sidecache: &Sidecache,
    upstream: &Upstream,
    target: &str,
    headers: &[(&str, &str)],
) -> Received {
    let calls = upstream.calls();
    let mut all = headers.to_vec();
    all.push(("cache-control", "no-store"));
    let answer = sidecache.client().post_with(target, &all, &chat()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.calls(), calls + 1);
    upstream.last()
}

#[test]
fn hop_by_hop_headers_of_the_client_are_not_forwarded() {
    run(async {
        let upstream = chatting().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let body = chat().to_string();
        for target in TARGETS {
            let mut raw = RawClient::connect(sidecache.address()).await;
            raw.send(format!(
                "POST {target} HTTP/1.1\r\nhost: a\r\nconnection: close, X-Named\r\nconnection: x-other\r\n\
                 x-named: 1\r\nx-other: 1\r\nkeep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nte: trailers\r\n\
                 trailer: x-t\r\nhttp2-settings: AAAA\r\nx-kept: 1\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            ))
            .await;
            assert!(raw.rest().await.starts_with("HTTP/1.1 200"));
            let request = upstream.last();
            for name in [
                "x-named",
                "x-other",
                "keep-alive",
                "proxy-connection",
                "te",
                "trailer",
                "http2-settings",
                "upgrade",
            ] {
                assert_eq!(request.header(name), None, "{target}: {name}");
            }
            let connection = request.header("connection").unwrap_or_default();
            assert!(!connection.contains("x-") && !connection.contains("close"), "{target}: {connection}");
            assert_eq!(request.header("x-kept"), Some("1"));
            assert_eq!(request.header("content-length"), Some(body.len().to_string().as_str()));
        }
    });
}

#[test]
fn hop_by_hop_headers_of_the_upstream_are_not_forwarded() {
    run(async {
        let headers = [
            ("connection", "X-Named, keep-alive"),
            ("x-named", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("trailer", "x-t"),
            ("upgrade", "h2c"),
            ("x-kept", "1"),
        ];
        let upstream = Upstream::always(Script::json_with(200, &headers, &chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for (target, turn) in [("/some", "PASS"), (CHAT, "MISS"), (CHAT, "HIT")] {
            let answer = sidecache.client().post(target, &chat()).await;
            assert_eq!((answer.cache(), answer.header("x-kept")), (turn, "1"));
            for name in ["x-named", "keep-alive", "proxy-connection", "trailer", "upgrade", "connection"] {
                assert_eq!(answer.header(name), "", "{target} {turn}: {name}");
            }
        }
    });
}

#[test]
fn forwarding_headers_of_an_untrusted_client_are_replaced() {
    run(async {
        let upstream = chatting().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let received = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-port", "1"),
            ("x-forwarded-prefix", "/x"),
            ("forwarded", "for=1.1.1.1;host=evil.example"),
            ("x-real-ip", "1.1.1.1"),
        ];
        for target in TARGETS {
            let request = forwarded(&sidecache, &upstream, target, &received).await;
            assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
            assert_eq!(request.header("x-forwarded-proto"), Some("http"));
            for name in ["x-forwarded-port", "x-forwarded-prefix", "forwarded", "x-real-ip"] {
                assert_eq!(request.header(name), None, "{target}: {name}");
            }
            // On a cacheable route the client's host could change an answer that others get.
            let own = sidecache.address().to_string();
            let host = (target != CHAT).then_some(own.as_str());
            assert_eq!(request.header("x-forwarded-host"), host, "{target}");
        }
    });
}

#[test]
fn forwarding_headers_of_a_trusted_proxy_are_extended() {
    run(async {
        let upstream = chatting().await;
        let config = "trusted_proxies = [\"10.0.0.0/8\", \"127.0.0.1\"]";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let received = [
            ("x-forwarded-for", "1.1.1.1, 10.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "front.example"),
            ("x-request-id", "way"),
        ];
        for target in TARGETS {
            let request = forwarded(&sidecache, &upstream, target, &received).await;
            assert_eq!(request.all("x-forwarded-for").join(", "), "1.1.1.1, 10.1.1.1, 127.0.0.1", "{target}");
            assert_eq!(request.header("x-forwarded-proto"), Some("https"));
            let host = (target != CHAT).then_some("front.example");
            assert_eq!(request.header("x-forwarded-host"), host, "{target}");
        }
        let line = sidecache.log.wait_for("the request", |line| line["event_type"] == "http_request").await;
        assert_eq!(line["client_ip"], "1.1.1.1");
    });
}

#[test]
fn the_host_header_is_the_upstreams() {
    run(async {
        let upstream = chatting().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for target in TARGETS {
            let request = forwarded(&sidecache, &upstream, target, &[("host", "front.example")]).await;
            assert_eq!(request.header("host"), Some(upstream.address().to_string().as_str()), "{target}");
        }
    });
}

#[test]
fn a_preserved_host_is_passed_on_and_in_the_key() {
    run(async {
        let upstream = chatting().await;
        let config = "[upstream]\nhost = \"preserve\"";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        for target in TARGETS {
            let request = forwarded(&sidecache, &upstream, target, &[("host", "front.example")]).await;
            assert_eq!(request.header("host"), Some("front.example"), "{target}");
        }
        for (host, turn) in [("a.example", "MISS"), ("b.example", "MISS"), ("a.example", "HIT")] {
            let answer = sidecache.client().post_with(CHAT, &[("host", host)], &chat()).await;
            assert_eq!(answer.cache(), turn, "{host}");
        }
    });
}

#[test]
fn accept_encoding_is_removed_on_cacheable_routes_only() {
    run(async {
        let encoded = Script::json_with(200, &[("content-encoding", "gzip")], &chat_answer());
        let upstream = Upstream::always(encoded).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let accepts = [("accept-encoding", "gzip, br;q=0.5")];
        for target in TARGETS {
            let request = forwarded(&sidecache, &upstream, target, &accepts).await;
            let expected = (target != CHAT).then_some("gzip, br;q=0.5");
            assert_eq!(request.header("accept-encoding"), expected, "{target}");
            let answer = sidecache.client().post_with(target, &accepts, &chat()).await;
            assert_eq!((answer.header("content-encoding"), answer.json()), ("gzip", chat_answer()));
        }
    });
}

#[test]
fn end_to_end_headers_pass_unchanged() {
    run(async {
        let headers = [
            ("etag", "\"a\""),
            ("x-many", "1"),
            ("x-many", "2"),
            ("server", "theirs"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("set-cookie", "a=b"),
            ("set-cookie", "c=d"),
        ];
        let upstream = Upstream::always(Script::json_with(200, &headers, &chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for target in TARGETS {
            let sent = [("accept", "x/y"), ("user-agent", "me/1"), ("cookie", "e=f"), ("x-odd", "\u{e9}")];
            let request = forwarded(&sidecache, &upstream, target, &sent).await;
            assert_eq!(request.header("accept"), Some("x/y"));
            assert_eq!(request.header("user-agent"), Some("me/1"));
            assert_eq!(request.header("cookie"), Some("e=f"));
            assert!(request.header("x-odd").is_some());
            let answer =
                sidecache.client().post_with(target, &[("cache-control", "no-store")], &chat()).await;
            for (name, value) in headers {
                let values: Vec<_> = answer.headers.get_all(name).iter().collect();
                assert!(values.iter().any(|own| *own == value), "{target}: {name}: {values:?}");
                let sent = headers.iter().filter(|(own, _)| *own == name).count();
                assert_eq!(values.len(), sent, "{target}: {name}");
            }
        }
    });
}
