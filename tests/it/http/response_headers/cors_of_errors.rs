//! CORS: web pages that may read the service's answers may read sidecache's own errors.

use serde_json::{Value, json};

use crate::support::{
    Answer, Gate, Received, RedisServer, Script, Setup, Sidecache, Upstream, eventually, run,
    samples::{CHAT, chat, chat_answer},
};

const PAGE: &str = "https://app.example";
const OTHER: &str = "https://other.example";

/// A path that is passed through, a cacheable one, and one for vectors.
const TARGETS: [&str; 3] = ["/some", CHAT, "/v1/embeddings"];

fn question(target: &str) -> Value {
    if target.ends_with("embeddings") { json!({"model": "e", "input": ["Who?", "Why?"]}) } else { chat() }
}

/// An answer that pages of one origin may read, with the headers of common middleware.
fn allowing(request: &Received) -> Script {
    let origin = request.header("origin").filter(|origin| *origin == PAGE);
    let Some(origin) = origin else { return Script::json(&chat_answer()) };
    let lines = [
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "X-Request-ID, X-Own"),
        ("access-control-max-age", "600"),
        ("vary", "Origin"),
        ("x-own", "secret"),
        ("set-cookie", "a=b"),
    ];
    Script::json_with(200, &lines, &chat_answer())
}

/// Sends a request like a page of `origin`.
async fn ask(sidecache: &Sidecache, target: &str, origin: &str) -> Answer {
    let headers = [("origin", origin), ("cache-control", "no-cache")];
    sidecache.client().post_with(target, &headers, &question(target)).await
}

/// Checks an error of sidecache's own, and whether its page can read it.
#[track_caller]
fn assert_readable(answer: &Answer, status: u16, readable: bool, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    assert!(answer.json()["request_id"].is_string(), "{what}: it is our own");
    for (name, value) in [
        ("access-control-allow-origin", PAGE),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "X-Request-ID, X-Own"),
        ("vary", "Origin"),
    ] {
        assert_eq!(answer.header(name), if readable { value } else { "" }, "{what}: {name}");
    }
    for name in ["access-control-max-age", "x-own", "set-cookie"] {
        assert_eq!(answer.header(name), "", "{what}: nothing else of the answer");
    }
}

/// An upstream that closes without an answer once the gate is open.
async fn failing_after(gate: &Gate) -> Upstream {
    let gone = gate.clone();
    Upstream::start(move |request| if gone.is_open() { Script::raw().close() } else { allowing(request) })
        .await
}

#[test]
fn an_unreachable_upstreams_502_is_readable_by_the_allowed_origin() {
    run(async {
        for taught in TARGETS {
            let gone = Gate::new();
            let upstream = failing_after(&gone).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            for origin in [PAGE, OTHER] {
                ask(&sidecache, taught, origin).await;
            }
            gone.open();
            for target in TARGETS {
                for origin in [PAGE, OTHER] {
                    let error = ask(&sidecache, target, origin).await;
                    assert_readable(&error, 502, origin == PAGE, &format!("{taught} then {target}"));
                }
            }
            let none = sidecache.client().post("/some", &json!({})).await;
            assert_readable(&none, 502, false, "no page");
        }
    });
}

#[test]
fn every_own_error_is_readable_by_the_allowed_origin() {
    run(async {
        let upstream = Upstream::start(|request| match request.header("x-how") {
            Some("late") => Script::raw().hang(),
            Some("broken") => Script::raw().send("SSH-2.0\r\n\r\n").close(),
            _ => allowing(request),
        })
        .await;
        let config = "[upstream]\nfirst_byte_timeout = \"2s\"\n[limits]\nmax_body = \"1KiB\"";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        ask(&sidecache, "/some", PAGE).await;
        let own = ("origin", PAGE);
        for target in ["/some", CHAT] {
            for (how, status) in [("late", 504), ("broken", 502)] {
                let answer = client.post_with(target, &[own, ("x-how", how)], &chat()).await;
                assert_readable(&answer, status, true, &format!("{target} {how}"));
            }
        }
        let only = client.post_with(CHAT, &[own, ("cache-control", "only-if-cached")], &chat()).await;
        assert_readable(&only, 504, true, "only-if-cached");
        let large = client.post_text(CHAT, &[own], &format!("\"{}\"", "a".repeat(2048))).await;
        assert_readable(&large, 413, true, "too large");
        let odd = client.request("GET", "/some", &[own, ("host", "a b")], "").await;
        assert_readable(&odd, 400, true, "an odd request");
        let preflight = client.request("OPTIONS", "/some", &[own, ("x-how", "broken")], "").await;
        assert_readable(&preflight, 502, true, "a preflight, which fails all the same");
    });
}

#[test]
fn an_overload_503_is_readable_by_the_allowed_origin() {
    run(async {
        let gate = Gate::new();
        let wait = gate.clone();
        let upstream = Upstream::start(move |request| match request.target.as_str() {
            "/held" => Script::chunked("text/plain").chunk("begun").wait(&wait).end(),
            _ => allowing(request),
        })
        .await;
        let config = "[limits]\nmax_upstream_requests = 1";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        ask(&sidecache, "/some", PAGE).await;
        // The permit of the first request is returned after its body was sent.
        let held = eventually("its place", async || {
            let held = sidecache.client().open("GET", "/held", &[], "").await;
            (held.status == 200).then_some(held)
        })
        .await;
        for target in TARGETS {
            assert_readable(&ask(&sidecache, target, PAGE).await, 503, true, target);
        }
        gate.open();
        assert_eq!(held.rest().await.expect("whole"), "begun");
    });
}

#[test]
fn errors_have_no_cors_headers_before_the_first_answer() {
    run(async {
        let nowhere = format!("http://127.0.0.1:{}", RedisServer::free_port());
        let sidecache = Sidecache::start(&nowhere).await;
        for target in TARGETS {
            assert_readable(&ask(&sidecache, target, PAGE).await, 502, false, target);
        }
    });
}

#[test]
fn the_last_answer_of_the_upstream_decides_on_cors() {
    run(async {
        let upstream = Upstream::start(|request| match request.header("x-how") {
            Some("broken") => Script::raw().close(),
            Some("closed") => Script::json(&chat_answer()),
            Some("foreign") => {
                Script::json_with(200, &[("access-control-allow-origin", OTHER)], &chat_answer())
            }
            _ => allowing(request),
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let asked = async |target: &str, how: &str| {
            let headers = [("origin", PAGE), ("x-how", how)];
            sidecache.client().post_with(target, &headers, &chat()).await
        };
        for target in ["/some", CHAT] {
            for (how, readable) in [("open", true), ("closed", false), ("again", true), ("foreign", false)] {
                assert_eq!(asked(target, how).await.status, 200);
                assert_readable(&asked(target, "broken").await, 502, readable, &format!("{target} {how}"));
            }
        }
        // A hit is not an answer of the service.
        let hit = asked(CHAT, "open").await;
        assert_eq!((hit.cache(), hit.header("access-control-allow-origin")), ("HIT", PAGE));
        assert_readable(&asked(CHAT, "broken").await, 502, false, "after a hit");
    });
}

#[test]
fn the_health_page_does_not_change_cors() {
    run(async {
        let gone = Gate::new();
        let upstream = failing_after(&gone).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        ask(&sidecache, "/some", PAGE).await;
        let page = sidecache.client().request("GET", "/health", &[("origin", PAGE)], "").await;
        assert_eq!((page.status, page.header("access-control-allow-origin")), (200, ""));
        gone.open();
        assert_readable(&ask(&sidecache, "/some", PAGE).await, 502, true, "after the health page");
    });
}
