//! Gemini's clients may put their credentials into the query. They count as those in headers do, and appear nowhere.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Client, RedisServer, Script, Setup, Sidecache, Upstream, run, samples::data};

const DOCUMENT: &str = "/v1beta/models/m:generateContent";
const STREAM: &str = "/v1beta/models/m:streamGenerateContent";

/// A text that is in every secret and nowhere else.
const CANARY: &str = "canary";

fn question() -> Value {
    json!({"contents": [{"parts": [{"text": "Who?"}]}]})
}

fn answer() -> Value {
    json!({"candidates": [{"content": {"parts": [{"text": "Redis."}], "role": "model"}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 2}, "modelVersion": "m"})
}

/// A service that refuses callers with "wrong" in their credentials, and fails for those with "fail".
async fn service() -> Upstream {
    Upstream::start(|request| {
        let from = format!("{} {:?}", request.target, request.headers);
        if from.contains("wrong") {
            let error = json!({"error": {"code": 403, "message": "no", "status": "PERMISSION_DENIED"}});
            return Script::json_with(403, &[], &error);
        }
        match request.target.contains("alt=sse") {
            _ if from.contains("fail") => Script::raw().send("garbage\r\n\r\n").close(),
            true => Script::events(&[&data(&answer())]),
            false => Script::json(&answer()),
        }
    })
    .await
}

/// Sends the question with these parameters and headers; returns the status and `X-Cache`.
async fn ask(client: &Client, target: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let answer = client.post_with(target, headers, &question()).await;
    (answer.status, answer.cache().to_owned())
}

#[test]
fn each_credential_in_the_query_has_its_own_entry() {
    run(async {
        let upstream = service().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let google = |value: &'static str| [("x-goog-api-key", value)];
        for (query, headers) in [
            ("", &[][..]),
            ("key=one", &[]),
            ("key=two", &[]),
            ("%24key=one", &[]),
            ("access_token=one", &[]),
            ("access_token=two", &[]),
            ("oauth_token=one", &[]),
            ("key=one&key=two", &[]),
            ("", &google("one")),
            ("key=one", &google("one")),
            ("key=one", &google("two")),
            ("key=two", &google("one")),
        ] {
            let calls = upstream.calls();
            let target = format!("{DOCUMENT}?{query}");
            assert_eq!(ask(&client, &target, headers).await, (200, "MISS".to_owned()), "{query} {headers:?}");
            assert_eq!(ask(&client, &target, headers).await.1, "HIT", "{query} {headers:?}");
            let stream = format!("{STREAM}?alt=sse&{query}");
            assert_eq!(ask(&client, &stream, headers).await.1, "HIT", "{query} {headers:?}");
            assert_eq!(upstream.calls(), calls + 1);
            assert_eq!(upstream.last().target, target, "the service gets the caller's own query");
        }
    });
}

/// A body that is not Gemini's says nothing of credentials, and `vary_by` leaves them out of the target.
#[test]
fn a_credential_counts_on_a_route_of_gemini_whatever_the_body_is() {
    run(async {
        let upstream = Upstream::always(Script::json(&json!({"cachedContents": []}))).await;
        let ttl = "kind = \"query\"\ndialect = \"gemini\"\nvary_by = [\"pageSize\"]\n";
        let rfc9111 = "mode = \"rfc9111\"\n";
        for (mode, scope) in [("", "credential"), ("", "shared"), (rfc9111, "credential")] {
            let config = format!(
                "[[route]]\nmatch = \"GET /v1beta/**\"\n{ttl}{mode}scope = {scope:?}\nttl = \"1h\"\n"
            );
            let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
            let client = sidecache.client();
            for key in ["alice", "wrong"] {
                let answer = client.get(&format!("/v1beta/cachedContents?key={key}")).await;
                assert_ne!(answer.cache(), "HIT", "{key}: {config}");
            }
        }
    });
}

/// Under a shared scope, and under a list of headers, a shared answer goes only to callers that the service accepted.
#[test]
fn a_shared_answer_goes_only_to_accepted_keys() {
    run(async {
        let route = |scope: &str| {
            format!(
                "[[route]]\nname = \"g\"\nmatch = [\"POST /**/{{m}}:generateContent\", \"POST /**/{{m}}:streamGenerateContent\"]\nkind = \"query\"\nscope = {scope}\n"
            )
        };
        for scope in ["\"shared\"", "[\"x-team\"]"] {
            let upstream = service().await;
            let sidecache = Setup::to(&upstream.url()).config(&route(scope)).start().await;
            let client = sidecache.client();
            let mut calls = 0;
            for (query, headers, expected) in [
                ("key=good", &[][..], (200, "MISS")),
                ("key=good", &[], (200, "HIT")),
                ("key=fine", &[], (200, "MISS")),
                ("key=fine", &[], (200, "HIT")),
                ("key=wrong", &[], (403, "MISS")),
                ("key=wrong", &[], (403, "MISS")),
                ("access_token=fine", &[], (200, "MISS")),
                ("access_token=fine", &[], (200, "HIT")),
                // Which of the two the service believes is not known.
                ("key=good", &[("x-goog-api-key", "wrong")], (403, "MISS")),
                ("key=wrong", &[("x-goog-api-key", "good")], (403, "MISS")),
                ("key=good", &[], (200, "HIT")),
                ("", &[], (200, "MISS")),
            ] {
                calls += usize::from(expected.1 == "MISS");
                let target = format!("{DOCUMENT}?{query}");
                let received = ask(&client, &target, headers).await;
                assert_eq!((received.0, received.1.as_str()), expected, "{scope} {query} {headers:?}");
                assert_eq!(upstream.calls(), calls, "{scope} {query}");
            }
        }
        // The header that a scope names may be in the query.
        let upstream = service().await;
        let sidecache = Setup::to(&upstream.url()).config(&route("[\"x-goog-api-key\"]")).start().await;
        let client = sidecache.client();
        for (query, expected) in
            [("key=one", "MISS"), ("key=two", "MISS"), ("key=one", "HIT"), ("key=two", "HIT")]
        {
            assert_eq!(ask(&client, &format!("{DOCUMENT}?{query}"), &[]).await.1, expected, "{query}");
        }
    });
}

/// A parameter of that name is no credential in other APIs, but part of what is asked for, whatever the scope.
#[test]
fn a_parameter_named_key_counts_elsewhere() {
    run(async {
        let upstream = Upstream::always(Script::json(&json!({"answer": "a"}))).await;
        let sidecache = Setup::to(&upstream.url()).config("scope = \"shared\"").start().await;
        let client = sidecache.client();
        let body = json!({"query": "q"});
        for (key, expected) in [("one", "MISS"), ("two", "MISS"), ("one", "HIT"), ("two", "HIT")] {
            let received = client.post(&format!("/api/v1/query?key={key}"), &body).await;
            assert_eq!(received.cache(), expected, "{key}");
        }
    });
}

const PAGES: [&str; 8] = [
    "/",
    "/health",
    "/stats",
    "/metrics",
    "/overview",
    "/history?range=24h",
    "/entries?limit=50",
    "/suggest",
];

/// Nothing that sidecache writes has them: log, operators' pages, spans, errors, entries in Redis, `explain`.
#[test]
fn no_credential_of_a_query_is_shown() {
    run(async {
        let redis = RedisServer::start();
        let upstream = service().await;
        let collector =
            Upstream::always(Script::whole(200, &[("content-type", "application/x-protobuf")], "")).await;
        let mut sidecache = Setup::to(&upstream.url())
            .config("[errors]\nnormalize = true")
            .arguments(&["--log-level", "DEBUG", "--redis", &redis.url()])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
            .admin()
            .start()
            .await;
        let client = sidecache.client();
        let mut received = String::new();
        for name in ["key", "%6bey", "$key", "%24key", "access_token", "oauth_token"] {
            for value in ["canary-one", "canary-two", "canary-wrong", "canary-fail"] {
                for target in [DOCUMENT, STREAM, "/v1beta/models/m:countTokens", "/v1beta/models"] {
                    let target = format!("{target}?{name}={value}&alt=sse");
                    let answer = client.post_with(&target, &[("x-goog-api-key", value)], &question()).await;
                    received += &format!("{:?} {}\n", answer.headers, answer.text());
                }
            }
        }
        let broken = client.post_text(&format!("{DOCUMENT}?key=canary"), &[], "{\"contents\":").await;
        received += &broken.text();
        let operator = sidecache.operator();
        for page in PAGES {
            let answer = operator.get(page).await;
            received += &answer.text();
            if page.starts_with("/entries") {
                for entry in answer.json()["entries"].as_array().expect("entries") {
                    let key = entry["key"].as_str().expect("a key");
                    received += &operator.get(&format!("/entries/{key}")).await.text();
                }
            }
        }
        for key in redis.cli(&["KEYS", "*"]).lines() {
            received += &redis.cli(&["DUMP", key]);
        }
        received += &sidecache.health().await.to_string();
        assert!(sidecache.stop().await.success());
        for export in collector.requests() {
            received += &String::from_utf8_lossy(&export.body);
        }
        received += &sidecache.log.text();
        let leak = received.lines().find(|line| line.contains(CANARY));
        assert_eq!(leak, None);
        assert!(received.contains("streamGenerateContent") && received.contains("***"));
        assert!(!collector.requests().is_empty());
    });
}

#[test]
fn explain_hashes_them_and_compares_what_counts() {
    let explain = |requests: &[String], arguments: &[&str]| {
        let setup = Setup::bare();
        let mut command: Command = setup.command();
        command.arg("explain").args(arguments);
        for (place, request) in requests.iter().enumerate() {
            let name = format!("request-{place}");
            std::fs::write(setup.dir().join(&name), request).expect("a file");
            command.arg(name);
        }
        let output = command.output().expect("it runs");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
        assert!(output.status.success() && !text.contains(CANARY), "{text}");
        text
    };
    let request = |target: &str, body: &Value| {
        format!("POST {target} HTTP/1.1\nHost: h\nContent-Type: application/json\n\n{body}")
    };
    let one = request(&format!("{DOCUMENT}?key=canary-1"), &question());
    let stream = request(&format!("{STREAM}?alt=sse&key=canary-1"), &question());
    for arguments in [&[][..], &["--json"]] {
        let told = explain(std::slice::from_ref(&one), arguments);
        assert!(told.contains("?key") && told.contains("gemini") && told.contains("blake3:"), "{told}");
    }
    let told = explain(&[one.clone(), stream.clone()], &[]);
    assert!(told.contains("the same key"), "{told}");
    let differences = |told: &str| told.split_once("the keys differ:").expect("differences").1.to_owned();
    let other = explain(&[one, request(&format!("{STREAM}?alt=sse&key=canary-2"), &question())], &[]);
    let other = differences(&other);
    assert!(other.contains("header ?key") && other.trim().lines().count() == 1, "{other}");
    let asked =
        explain(&[stream, request(&format!("{DOCUMENT}?key=canary-1"), &json!({"contents": [1]}))], &[]);
    let asked = differences(&asked);
    assert!(asked.contains("body /contents") && asked.trim().lines().count() == 1, "{asked}");
}
