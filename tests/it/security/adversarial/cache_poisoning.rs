//! Web-cache poisoning: nothing that one caller sends besides the question is in another caller's answer.

use serde_json::{Value, json};

use crate::support::{
    Client, Received, Script, Setup, Upstream, run,
    samples::{CHAT, QUERY, chat, chat_choice, query},
};

const EVIL: &str = "evil.example";

/// Headers that services may use to build an answer.
const HEADERS: [&str; 44] = [
    "X-Forwarded-Host",
    "X-Forwarded-Scheme",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-For",
    "X-Forwarded-Server",
    "X-Forwarded-Path",
    "X-Forwarded-Ssl",
    "X-Forwarded-Uri",
    "X_Forwarded_Host",
    "X-Forwarded_Host",
    "Forwarded",
    "X-Real-IP",
    "X_Real_IP",
    "X-Host",
    "X-HTTP-Host-Override",
    "X-Original-URL",
    "X-Original-Host",
    "X-Rewrite-URL",
    "X-Override-URL",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Fastly-Client-IP",
    "X-Cluster-Client-IP",
    "X-Backend-Host",
    "X-Proxy-URL",
    "Base-URL",
    "Destination",
    "Origin",
    "X-Wap-Profile",
    "X-Original-Query",
    "Surrogate-Capability",
    "CDN-Loop",
    "X-Amz-Website-Redirect-Location",
    "X-Tenant",
    "Accept-Language",
    "Host",
    "Accept-Encoding",
    "TE",
];

/// Headers that are passed on and not in the key. If a service repeats them in answers, sidecache does not
/// help; see `docs/SECURITY.md`.
fn is_harmless(name: &str) -> bool {
    let names = ["user-agent", "accept", "x-request-id", "x-forwarded-for", "x-forwarded-proto"];
    names.contains(&name) || name.starts_with("content-")
}

/// An upstream that repeats all it got in the body and in a header.
async fn reflecting() -> Upstream {
    Upstream::start(|request: &Received| {
        let headers =
            request.headers.iter().filter(|(name, value)| !is_harmless(name) || value.contains(EVIL));
        let received = format!("{} {} {:?}", request.method, request.target, headers.collect::<Vec<_>>());
        let body = match request.target.split('?').next() {
            Some(CHAT) => chat_choice(json!({"role": "assistant", "content": received}), "stop"),
            _ => json!({"answer": received, "body": String::from_utf8_lossy(&request.body)}),
        };
        Script::json_with(200, &[("x-told", &received)], &body)
    })
    .await
}

/// The requests that are attacked.
fn victims() -> [(&'static str, &'static str, Value); 4] {
    [
        ("POST", CHAT, chat()),
        ("POST", QUERY, query()),
        ("GET", "/api/v1/documents/1", Value::Null),
        ("GET", "/page/1", Value::Null),
    ]
}

const PAGES: &str = "[[route]]\nmatch = \"GET /page/**\"\nkind = \"other\"";

async fn ask(client: &Client, method: &str, target: &str, headers: &[(&str, &str)], body: &Value) -> String {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let mut all = vec![("content-type", "application/json")];
    all.extend_from_slice(headers);
    let answer = client.request(method, target, if body.is_null() { headers } else { &all }, text).await;
    format!("{:?} {}", answer.headers, answer.text())
}

#[test]
fn no_header_of_one_caller_is_in_another_callers_answer() {
    run(async {
        let upstream = reflecting().await;
        let sidecache = Setup::to(&upstream.url()).config(PAGES).start().await;
        let client = sidecache.client();
        for (method, target, body) in victims() {
            // Vendors' APIs do not depend on languages: there `Accept-Language` is not in the key.
            let counts = |name: &&str| target != CHAT || *name != "Accept-Language";
            for name in HEADERS.into_iter().filter(counts) {
                // Each attack has entries of its own, so that it comes before its victim.
                let target = format!("{target}?{name}");
                let attack = ask(&client, method, &target, &[(name, EVIL)], &body).await;
                let victim = ask(&client, method, &target, &[], &body).await;
                assert!(!victim.contains(EVIL), "{name} on {target}: {attack}\n{victim}");
                let again = ask(&client, method, &target, &[], &body).await;
                assert!(again.contains("HIT"), "what is shared by those who ask the same: {again}");
            }
        }
    });
}

#[test]
fn a_value_with_line_ends_does_not_split_a_response() {
    run(async {
        let upstream = reflecting().await;
        let sidecache = Setup::to(&upstream.url()).config(PAGES).start().await;
        let client = sidecache.client();
        for (method, target, body) in victims() {
            for split in [
                "%0d%0aSet-Cookie:%20evil.example",
                "%0a%0d",
                "%E5%98%8A%E5%98%8DSet-Cookie:evil.example",
                "%00",
            ] {
                for place in
                    [format!("{target}?x={split}"), format!("{target}/{split}"), format!("{target}{split}")]
                {
                    let answer = client
                        .request(method, &place, &[("content-type", "application/json")], body.to_string())
                        .await;
                    assert_eq!(answer.header("set-cookie"), "", "{place}");
                }
                let victim = ask(&client, method, target, &[], &body).await;
                assert!(!victim.contains(EVIL), "{split} on {target}: {victim}");
            }
        }
    });
}

#[test]
fn targets_that_look_alike_have_separate_entries() {
    run(async {
        let upstream = reflecting().await;
        let sidecache = Setup::to(&upstream.url()).config(PAGES).start().await;
        let client = sidecache.client();
        for (method, target, body) in victims() {
            // Targets that a service or another cache may treat alike.
            for other in [
                "?utm_source=evil.example",
                "?utm_source=x;callback=evil.example",
                "?callback=a&callback=evil.example",
                "?a=1&evil.example",
                "?%63allback=evil.example",
                "?callback%3devil.example",
                "??evil.example",
                "?evil.example#x",
                ";evil.example",
                "/?evil.example",
                "%3fevil.example",
                "%23evil.example",
                "/../evil.example",
                "//evil.example",
                "/evil.example",
                "/.?evil.example",
                "%20evil.example",
                "%00evil.example",
            ] {
                ask(&client, method, &format!("{target}{other}"), &[], &body).await;
                let victim = ask(&client, method, target, &[], &body).await;
                assert!(!victim.contains(EVIL), "{other} on {target}: {victim}");
            }
        }
    });
}

#[test]
fn an_unexpected_body_is_in_the_key() {
    run(async {
        let upstream = reflecting().await;
        let sidecache = Setup::to(&upstream.url()).config(PAGES).start().await;
        let client = sidecache.client();
        for target in ["/api/v1/documents/1", "/page/1"] {
            for (kind, body) in [
                ("application/json", "{\"id\": \"evil.example\"}"),
                ("application/x-www-form-urlencoded", "id=evil.example"),
                ("text/plain", EVIL),
            ] {
                let fat = client.request("GET", target, &[("content-type", kind)], body).await;
                assert!(fat.text().contains(EVIL), "the service sees it: {}", fat.text());
                for headers in [&[("content-type", kind)][..], &[]] {
                    let victim = ask(&client, "GET", target, headers, &Value::Null).await;
                    assert!(!victim.contains(EVIL), "{kind} on {target}: {victim}");
                }
            }
        }
    });
}

#[test]
fn an_error_that_one_caller_provokes_reaches_no_other_caller() {
    run(async {
        // Rejects what servers reject: long headers, control characters, unknown methods and versions.
        let upstream = Upstream::start(|request: &Received| {
            let is_odd = |(name, value): &(String, String)| {
                name.starts_with("x-odd") || value.len() > 4000 || value.contains('\u{1}')
            };
            if request.headers.iter().any(is_odd) {
                Script::json_with(400, &[], &json!({"error": EVIL}))
            } else if request.header("if-match").is_some() {
                Script::json_with(412, &[], &json!({"error": EVIL}))
            } else {
                Script::json(&chat_choice(json!({"role": "assistant", "content": "good"}), "stop"))
            }
        })
        .await;
        let sidecache = Setup::to(&upstream.url()).config(PAGES).start().await;
        let client = sidecache.client();
        let long = "x".repeat(5000);
        for (method, target, body) in victims() {
            for (name, value) in [
                ("user-agent", long.as_str()),
                ("referer", &long),
                ("x-stainless-os", &long),
                ("traceparent", &long),
                ("if-match", "\"evil\""),
                ("x-odd", "1"),
                ("range", "bytes=0-1"),
                ("expect", "100-continue"),
            ] {
                let target = format!("{target}?{name}");
                ask(&client, method, &target, &[(name, value)], &body).await;
                let victim = ask(&client, method, &target, &[], &body).await;
                assert!(!victim.contains(EVIL), "{name} on {target}: {victim}");
            }
        }
    });
}
