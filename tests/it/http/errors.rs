//! Errors: sidecache's own, and the upstream's in sidecache's form.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::{
    Answer, Gate, RedisServer, Script, Setup, Sidecache, Upstream, run,
    samples::{CHAT, chat, chat_answer},
};

/// A path that is passed through and a cacheable one, each with its `X-Cache`.
const TARGETS: [(&str, &str); 2] = [("/some/thing", "PASS"), (CHAT, "MISS")];

/// Checks an error of sidecache's own: its status, its name, and the other members of its body.
#[track_caller]
fn assert_error(answer: &Answer, status: u16, name: &str, path: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    let body = answer.json();
    let mut members: Vec<_> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["details", "error", "message", "path", "request_id", "timestamp"]);
    assert_eq!(body["error"], name);
    assert_eq!(body["path"], path);
    assert_eq!(body["request_id"], answer.header("x-request-id"));
    assert!(body["details"].is_object() && !body["message"].as_str().expect("a text").is_empty());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!((now - body["timestamp"].as_f64().expect("a number")).abs() < 60.0, "{body}");
    body
}

/// Sends a request to both paths, and expects the same error.
async fn assert_both(sidecache: &Sidecache, status: u16, name: &str) {
    for (target, cache) in TARGETS {
        let id = format!("error-of{}", target.replace('/', "-"));
        let answer = sidecache.client().post_with(target, &[("x-request-id", &id)], &chat()).await;
        assert_eq!(answer.header("x-request-id"), id);
        assert_error(&answer, status, name, target);
        assert_eq!(answer.cache(), cache, "{target}");
        let is = |line: &Value| line["event_type"] == "error" && line["request_id"] == *id;
        let line = sidecache.log.wait_for("the error", is).await;
        assert_eq!((&line["error_type"], &line["level"]), (&json!(name), &json!("ERROR")), "{line}");
        sidecache.log.response(&id).await;
        let errors = sidecache.log.of(&id).into_iter().filter(|line| line["event_type"] == "error");
        assert_eq!(errors.count(), 1, "an error is logged once");
    }
}

#[test]
fn an_unreachable_upstream_is_a_502() {
    run(async {
        let nowhere = format!("http://127.0.0.1:{}", RedisServer::free_port());
        let sidecache = Sidecache::start(&nowhere).await;
        assert_both(&sidecache, 502, "UpstreamConnectionException").await;
    });
}

#[test]
fn an_upstream_that_does_not_speak_http_is_a_502() {
    run(async {
        let unasked =
            Script::raw().send("HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
        let two_lengths =
            Script::raw().head(200, &[("content-length", "1"), ("content-length", "2")]).send("ab");
        for (what, script) in [
            ("garbage", Script::raw().send("SSH-2.0-OpenSSH_9.2p1\r\n\r\n").close()),
            ("nothing", Script::raw().close()),
            ("half a head", Script::raw().send("HTTP/1.1 200 OK\r\ncontent-").close()),
            ("an unasked 101", unasked),
            ("two lengths", two_lengths.close()),
        ] {
            let upstream = Upstream::always(script).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            assert_both(&sidecache, 502, "UpstreamProtocolException").await;
            assert_eq!(upstream.calls(), 2, "{what}: a request is not sent twice");
        }
    });
}

#[test]
fn an_upstream_beyond_first_byte_timeout_is_a_504() {
    run(async {
        let upstream = Upstream::always(Script::raw().hang()).await;
        let config = "[upstream]\nfirst_byte_timeout = \"100ms\"";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        assert_both(&sidecache, 504, "UpstreamTimeoutException").await;
        assert_eq!(sidecache.health().await["limits"]["first_byte_timeout"], 2);
    });
}

#[test]
fn a_connection_beyond_connect_timeout_is_a_504() {
    run(async {
        // Accepts, but does not answer the TLS handshake.
        let upstream = Upstream::serve(|mut conn| async move { conn.drain().await }).await;
        let config = "[upstream]\nconnect_timeout = \"100ms\"";
        let url = upstream.url().replace("http://", "https://");
        let sidecache = Setup::to(&url).config(config).start().await;
        assert_both(&sidecache, 504, "UpstreamTimeoutException").await;
        assert_eq!(sidecache.health().await["limits"]["connect_timeout"], 2);
    });
}

#[test]
fn an_answer_beyond_idle_timeout_is_cut() {
    run(async {
        let begun = Script::chunked("text/plain").chunk("begun");
        let upstream = Upstream::always(begun.hang()).await;
        let sidecache =
            Setup::to(&upstream.url()).config("[upstream]\nidle_timeout = \"300ms\"").start().await;
        for (number, (target, _)) in TARGETS.into_iter().enumerate() {
            let mut answer = sidecache.client().stream(target, &chat()).await;
            answer.until("begun").await;
            answer.rest().await.expect_err("a cut body");
            let is = |line: &Value| line["event_type"] == "error" && line["context"]["path"] == target;
            let line = sidecache.log.wait_for("the error", is).await;
            assert_eq!(line["error_type"], "UpstreamTimeoutException", "{line}");
            assert_eq!(sidecache.health().await["limits"]["idle_timeout"], number + 1);
        }
    });
}

#[test]
fn requests_beyond_max_upstream_requests_get_a_503() {
    run(async {
        let (asked, go_on) = (Gate::new(), Gate::new());
        let held = Script::raw().tell(&asked).wait(&go_on).head(200, &[("content-length", "4")]).send("held");
        let upstream = Upstream::in_turn(vec![held, Script::json(&chat_answer())]).await;
        let config = "[limits]\nmax_upstream_requests = 1";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        let first = tokio::spawn(async move { client.get("/held").await });
        asked.passed().await;
        for (target, cache) in TARGETS {
            let answer = sidecache.client().post(target, &chat()).await;
            assert_error(&answer, 503, "OverloadedException", target);
            let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
            assert!(seconds > 0);
            assert_eq!(answer.cache(), cache);
        }
        assert_eq!(sidecache.health().await["limits"]["max_upstream_requests"], 2);
        go_on.open();
        assert_eq!(first.await.expect("an answer").text(), "held");
        assert_eq!(sidecache.client().post(CHAT, &chat()).await.status, 200, "there is room again");
    });
}

#[test]
fn upstream_errors_pass_unchanged() {
    run(async {
        let said = json!({"detail": "the model is tired"});
        let script = Script::json_with(503, &[("retry-after", "7"), ("x-own", "1")], &said);
        let upstream = Upstream::always(script).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for (target, _) in TARGETS {
            let answer = sidecache.client().post(target, &chat()).await;
            assert_eq!((answer.status, answer.json()), (503, said.clone()));
            assert_eq!((answer.header("retry-after"), answer.header("x-own")), ("7", "1"));
        }
    });
}

/// Checks normalised errors in an environment, and how much of the upstream's error they show.
async fn assert_normalized(environment: &str, shows_server_errors: bool) {
    let said = json!({"detail": "canary"});
    let upstream = Upstream::start(|request| {
        let status = request.header("x-status").expect("a status").parse().expect("a number");
        Script::json_with(status, &[("retry-after", "7")], &json!({"detail": "canary"}))
    })
    .await;
    let config = "[errors]\nnormalize = true";
    let sidecache = Setup::to(&upstream.url()).config(config).env("ENVIRONMENT", environment).start().await;
    let (document, conversation) = ("/api/v1/documents/d", "/api/v1/conversations/c");
    for (method, target, status, name) in [
        ("GET", document, "404", "DocumentNotFoundException"),
        ("GET", document, "500", "VectorStoreException"),
        ("GET", conversation, "503", "VectorStoreException"),
        ("GET", conversation, "404", "UpstreamException"),
        ("POST", CHAT, "500", "LLMInferenceException"),
        ("POST", CHAT, "413", "FileTooLargeException"),
        ("POST", CHAT, "415", "InvalidFileTypeException"),
        ("POST", CHAT, "429", "UpstreamException"),
        ("POST", "/v1/embeddings", "502", "EmbeddingGenerationException"),
        ("POST", "/some/thing", "413", "FileTooLargeException"),
        ("POST", "/some/thing", "415", "InvalidFileTypeException"),
        ("POST", "/some/thing", "500", "UpstreamException"),
        ("GET", "/some/thing", "404", "UpstreamException"),
    ] {
        let mut body = chat();
        body["input"] = "text".into();
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let id = format!("{}-{status}", target.replace('/', "."));
        let headers =
            [("x-status", status), ("content-type", "application/json"), ("x-request-id", id.as_str())];
        let answer = sidecache.client().request(method, target, &headers, body).await;
        let error = assert_error(&answer, status.parse().expect("a number"), name, target);
        assert_eq!(answer.header("retry-after"), "7", "{target} {status}");
        let shown = !status.starts_with('5') || shows_server_errors;
        assert_eq!(error["details"].to_string().contains("canary"), shown, "{target} {status}: {error}");
        assert!(shown || !answer.text().contains("canary"));
        let is = |line: &Value| line["event_type"] == "error" && line["request_id"] == *id;
        let line = sidecache.log.wait_for("the error", is).await;
        assert_eq!((&line["error_type"], &line["context"]["upstream"]), (&json!(name), &said), "{line}");
    }
    let fine = sidecache.client().request("GET", "/fine", &[("x-status", "201")], "").await;
    assert_eq!((fine.status, fine.json()), (201, said));
}

#[test]
fn normalized_errors_hide_the_body_of_a_5xx_in_production() {
    run(assert_normalized("production", false));
}

#[test]
fn normalized_errors_show_every_body_in_development() {
    run(assert_normalized("development", true));
}

#[test]
fn an_error_whose_body_ends_late_is_normalized() {
    run(async {
        for media in ["application/json", "text/event-stream"] {
            let (begun, rest) = (Gate::new(), Gate::new());
            let head = [("content-type", media), ("transfer-encoding", "chunked")];
            let script =
                Script::raw().head(500, &head).chunk("data: 1").tell(&begun).wait(&rest).chunk("\n\n").end();
            let upstream = Upstream::always(script).await;
            let config = "[errors]\nnormalize = true";
            let sidecache = Setup::to(&upstream.url()).config(config).start().await;
            let client = sidecache.client();
            let mut asked = tokio::spawn(async move { client.post(CHAT, &chat()).await });
            begun.passed().await;
            // Longer than the 50 ms that a head waits for the end of a short body.
            let early = tokio::time::timeout(Duration::from_millis(150), &mut asked).await;
            assert!(early.is_err(), "answered before the body has ended: {early:?}");
            rest.open();
            assert_error(&asked.await.expect("an answer"), 500, "LLMInferenceException", CHAT);
        }
    });
}
