//! Ambiguous requests, which a server behind might read differently: rejected, and their connection closed.

use crate::support::{
    RawClient, Script, Setup, Sidecache, Upstream, measured, run,
    samples::{CHAT, chat, chat_answer},
};

#[test]
fn ambiguous_requests_never_reach_the_upstream() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
        for target in ["/some", CHAT] {
            for (what, text) in [
                (
                    "two lengths",
                    format!(
                        "POST {target} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{{}}."
                    ),
                ),
                (
                    "a length with a sign",
                    format!("POST {target} HTTP/1.1\r\nhost: a\r\ncontent-length: +2\r\n\r\n{{}}"),
                ),
                (
                    "a coding besides chunked",
                    format!(
                        "POST {target} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n{smuggled}"
                    ),
                ),
                (
                    "chunked twice",
                    format!(
                        "POST {target} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n{smuggled}"
                    ),
                ),
                (
                    "an invalid coding",
                    format!(
                        "POST {target} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n{smuggled}"
                    ),
                ),
                (
                    "chunks in HTTP/1.0",
                    format!(
                        "POST {target} HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{smuggled}"
                    ),
                ),
                ("no host", format!("GET {target} HTTP/1.1\r\n\r\n")),
                ("two hosts", format!("GET {target} HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n")),
                ("an invalid host", format!("GET {target} HTTP/1.1\r\nhost: a b\r\n\r\n")),
                ("a host with a user", format!("GET {target} HTTP/1.1\r\nhost: u@a\r\n\r\n")),
                (
                    "another host in the target",
                    format!("GET http://evil.example{target} HTTP/1.1\r\nhost: a\r\n\r\n"),
                ),
                ("CONNECT", "CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n".to_owned()),
                ("a target that is no path", "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
                (
                    "a header folded over two lines",
                    format!("GET {target} HTTP/1.1\r\nhost: a\r\nx-a: 1\r\n b: 2\r\n\r\n"),
                ),
                ("a space before the colon", format!("GET {target} HTTP/1.1\r\nhost : a\r\n\r\n")),
            ] {
                let mut raw = RawClient::connect(sidecache.address()).await;
                raw.send(&text).await;
                // The response ends by itself, because the connection is closed.
                let received = raw.rest().await;
                assert!(
                    received.starts_with("HTTP/1.1 400") || received.starts_with("HTTP/1.0 400"),
                    "{what}: {received:?}"
                );
                assert_eq!(received.matches("HTTP/1.").count(), 1, "{what}: {received}");
                if received.contains("application/json") {
                    assert!(received.contains("InvalidRequestException"), "{what}: {received}");
                }
                assert_eq!(upstream.calls(), 0, "{what}");
            }
        }
    });
}

#[test]
fn a_length_beside_chunks_makes_no_second_request() {
    run(async {
        let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
        let (length, chunked) = ("content-length: 5", "transfer-encoding: chunked");
        for target in ["/some", CHAT] {
            let upstream = Upstream::always(Script::json(&chat_answer())).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            for (first, second) in [(length, chunked), (chunked, length)] {
                let mut raw = RawClient::connect(sidecache.address()).await;
                raw.send(format!(
                    "POST {target} HTTP/1.1\r\nhost: a\r\n{first}\r\n{second}\r\n\r\n{smuggled}"
                ))
                .await;
                // The HTTP parser takes the chunks and drops the length, which RFC 9112 (6.3) allows where
                // the connection is closed then.
                let received = raw.rest().await;
                assert_eq!(received.matches("HTTP/1.").count(), 1, "{first}, {second}: {received}");
                assert!(
                    received.starts_with("HTTP/1.1 400") || received.contains("connection: close"),
                    "{received}"
                );
                for request in upstream.requests() {
                    assert_eq!((request.target.as_str(), request.body.as_slice()), (target, &b""[..]));
                    assert!(request.header("content-length").is_none_or(|length| length == "0"));
                }
            }
        }
    });
}

#[test]
fn absolute_targets_with_the_own_host_are_accepted() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for text in [
            "GET http://A.example/x?y=1 HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n",
            "GET /x?y=1 HTTP/1.0\r\n\r\n",
        ] {
            let mut raw = RawClient::connect(sidecache.address()).await;
            raw.send(text).await;
            let received = raw.rest().await;
            assert!(received.contains(" 200 "), "{received}");
            let request = upstream.last();
            assert_eq!(request.target, "/x?y=1");
            assert_eq!(request.header("host"), Some(upstream.address().to_string().as_str()));
        }
    });
}

#[test]
fn a_parser_error_is_answered_without_a_body() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x-a: 1\r\n".repeat(2000));
        let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx-a: {}\r\n\r\n", "x".repeat(200_000));
        for (what, text, statuses) in [
            ("garbage", "\x16\x03\x01 not http\r\n\r\n".to_owned(), &["400"][..]),
            ("another version", "GET / HTTP/7.3\r\nhost: a\r\n\r\n".to_owned(), &["400", "505"]),
            ("too many headers", many, &["431"]),
            ("a header too long", long, &["431"]),
        ] {
            let mut raw = RawClient::connect(sidecache.address()).await;
            raw.send(&text).await;
            let received = raw.rest().await;
            let status = received.split(' ').nth(1).unwrap_or_default();
            assert!(statuses.contains(&status), "{what}: {received:?}");
            assert!(received.ends_with("\r\n\r\n"), "{what}: {received:?}");
            assert_eq!(upstream.calls(), 0);
        }
        measured("4 of 4 refused, no call");
    });
}

#[test]
fn a_rejected_request_closes_its_own_connection_only() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let config = "[limits]\nmax_body = \"1KiB\"";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        assert_eq!(client.post(CHAT, &chat()).await.cache(), "MISS");
        let mut raw = RawClient::connect(sidecache.address()).await;
        // What follows is the body of the rejected request, and must not be read as a request.
        let inner = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
        let padding = "x".repeat(5000);
        raw.send(format!(
            "POST {CHAT} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 6000\r\n\r\n{inner}{padding}"
        ))
        .await;
        let received = raw.rest().await;
        assert!(
            received.starts_with("HTTP/1.1 413") && received.matches("HTTP/1.1").count() == 1,
            "{received}"
        );
        assert_eq!(client.post(CHAT, &chat()).await.cache(), "HIT");
        assert_eq!(upstream.calls(), 1);
    });
}
