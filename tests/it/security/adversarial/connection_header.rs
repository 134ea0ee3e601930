//! Headers that `Connection` names are hop-by-hop: removed before the key is made and before sidecache adds
//! its own.

use crate::support::{
    RawClient, Received, Script, Sidecache, Upstream, raw_client, run,
    samples::{CHAT, chat, chat_answer},
};

/// Headers that a client may name in `Connection`, and what they say.
const NAMED: [(&str, &str); 16] = [
    ("authorization", "Bearer one"),
    ("cookie", "session=one"),
    ("x-api-key", "one"),
    ("x-tenant", "one"),
    ("x-forwarded-for", "1.1.1.1"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "evil.example"),
    ("forwarded", "for=1.1.1.1"),
    ("x-real-ip", "1.1.1.1"),
    ("x-request-id", "mine"),
    ("content-length", ""),
    ("host", ""),
    ("cache-control", "no-store"),
    ("accept-encoding", "gzip"),
    ("user-agent", "one/1"),
    ("x-cache-ttl", "0"),
];

/// The value that the upstream gets nevertheless, because sidecache sets this header.
fn ours(name: &str, upstream: &Upstream, body: &str) -> Option<String> {
    match name {
        "x-forwarded-for" => Some("127.0.0.1".to_owned()),
        "x-forwarded-proto" => Some("http".to_owned()),
        "content-length" => Some(body.len().to_string()),
        // The client's request id is for sidecache, which passes it on.
        "x-request-id" => Some("mine".to_owned()),
        "host" => Some(upstream.address().to_string()),
        _ => None,
    }
}

/// Posts a chat with a header that `Connection` names; the status line and the headers that come back, and
/// what the upstream got, if it was asked.
async fn post(
    sidecache: &Sidecache,
    upstream: &Upstream,
    target: &str,
    lines: &str,
) -> (String, Option<Received>) {
    let (calls, body) = (upstream.calls(), chat().to_string());
    let mut raw = RawClient::connect(sidecache.address()).await;
    raw.send(raw_client::post(target, lines, &body)).await;
    let received = raw.rest().await;
    assert!(received.starts_with("HTTP/1.1 200"), "{lines}: {received}");
    (received, (upstream.calls() > calls).then(|| upstream.last()))
}

#[test]
fn headers_named_by_connection_are_not_forwarded() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let body = chat().to_string();
        for (name, value) in NAMED {
            let line = if value.is_empty() { String::new() } else { format!("{name}: {value}\r\n") };
            for connection in [name.to_owned(), format!("close, {}", name.to_ascii_uppercase())] {
                let close = if connection.starts_with("close") { "" } else { "connection: close\r\n" };
                let lines = format!("connection: {connection}\r\n{close}{line}");
                let (_, request) = post(&sidecache, &upstream, "/some", &lines).await;
                let request = request.expect("it is passed through");
                match ours(name, &upstream, &body) {
                    Some(own) => assert_eq!(request.header(name), Some(own.as_str()), "{lines}"),
                    None => assert!(request.header(name).is_none_or(|own| own != value), "{lines}"),
                }
                assert_eq!(request.body, body.as_bytes(), "{lines}");
            }
        }
    });
}

#[test]
fn headers_named_by_connection_are_not_in_the_key() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let (received, _) = post(&sidecache, &upstream, CHAT, "connection: close\r\n").await;
        assert!(received.contains("x-cache: MISS"), "{received}");
        for (name, value) in NAMED {
            for value in [value, "another"] {
                let line = if matches!(name, "host" | "content-length") {
                    String::new()
                } else {
                    format!("{name}: {value}\r\n")
                };
                let (received, request) =
                    post(&sidecache, &upstream, CHAT, &format!("connection: close, {name}\r\n{line}")).await;
                // The upstream would get the same request as the first time, so this is a hit.
                assert!(
                    received.contains("x-cache: HIT") && request.is_none(),
                    "{name}: {value}: {received}"
                );
            }
        }
        // If `Connection` does not name them, they are in the key.
        for (name, value) in &NAMED[..4] {
            let (received, _) =
                post(&sidecache, &upstream, CHAT, &format!("connection: close\r\n{name}: {value}\r\n")).await;
            assert!(received.contains("x-cache: MISS"), "{name}: {received}");
        }
    });
}

#[test]
fn a_content_type_named_by_connection_does_not_count() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let (received, request) =
            post(&sidecache, &upstream, CHAT, "connection: close, content-type\r\n").await;
        assert_eq!(request.expect("passed through").header("content-type"), None);
        assert!(received.contains("x-cache: PASS") && received.contains("; detail=not-json"), "{received}");
    });
}
