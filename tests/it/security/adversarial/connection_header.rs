//! What `Connection` names is the connection's: gone before the key is made, and before our own headers are put in.

use crate::support::{
    Raw, Received, Script, Sidecache, Upstream, raw_client, run,
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

/// What the upstream gets all the same, because it is ours to say, and what that says.
fn ours(name: &str, upstream: &Upstream, body: &str) -> Option<String> {
    match name {
        "x-forwarded-for" => Some("127.0.0.1".to_owned()),
        "x-forwarded-proto" => Some("http".to_owned()),
        "content-length" => Some(body.len().to_string()),
        // A caller's id is for us, and we tell the upstream.
        "x-request-id" => Some("mine".to_owned()),
        "host" => Some(upstream.address().to_string()),
        _ => None,
    }
}

/// Posts a chat with a header that `Connection` names; the status line and the headers that come back, and what the
/// upstream got, if it was asked.
async fn post(
    sidecache: &Sidecache,
    upstream: &Upstream,
    target: &str,
    lines: &str,
) -> (String, Option<Received>) {
    let (calls, body) = (upstream.calls(), chat().to_string());
    let mut raw = Raw::connect(sidecache.address()).await;
    raw.send(raw_client::post(target, lines, &body)).await;
    let told = raw.rest().await;
    assert!(told.starts_with("HTTP/1.1 200"), "{lines}: {told}");
    (told, (upstream.calls() > calls).then(|| upstream.last()))
}

#[test]
fn named_headers_reach_nobody() {
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
fn named_headers_are_not_in_the_key() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let (told, _) = post(&sidecache, &upstream, CHAT, "connection: close\r\n").await;
        assert!(told.contains("x-cache: MISS"), "{told}");
        for (name, value) in NAMED {
            for value in [value, "another"] {
                let line = if matches!(name, "host" | "content-length") {
                    String::new()
                } else {
                    format!("{name}: {value}\r\n")
                };
                let (told, request) =
                    post(&sidecache, &upstream, CHAT, &format!("connection: close, {name}\r\n{line}")).await;
                // The same request as the first: nothing else would be right, since the upstream gets the same.
                assert!(told.contains("x-cache: HIT") && request.is_none(), "{name}: {value}: {told}");
            }
        }
        // Not named, they count.
        for (name, value) in &NAMED[..4] {
            let (told, _) =
                post(&sidecache, &upstream, CHAT, &format!("connection: close\r\n{name}: {value}\r\n")).await;
            assert!(told.contains("x-cache: MISS"), "{name}: {told}");
        }
    });
}

#[test]
fn a_content_type_that_is_named_makes_no_json() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let (told, request) = post(&sidecache, &upstream, CHAT, "connection: close, content-type\r\n").await;
        assert_eq!(request.expect("passed through").header("content-type"), None);
        assert!(!told.contains("x-cache"), "{told}");
    });
}
