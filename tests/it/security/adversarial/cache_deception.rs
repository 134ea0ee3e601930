//! Web-cache deception: if a caller is lured to a crafted address, others cannot fetch the answer from the
//! store.

use serde_json::json;

use crate::support::{Client, Received, Script, Setup, Upstream, run};

/// Addresses that look like one thing to a cache and like another to a service.
const TARGETS: [&str; 40] = [
    "/api/v1/documents/me",
    "/api/v1/documents/me/",
    "/api/v1/documents/me/x.css",
    "/api/v1/documents/me%2fx.css",
    "/api/v1/documents/me;.css",
    "/api/v1/documents/me;x=1",
    "/api/v1/documents/me%3b.css",
    "/api/v1/documents/me%00.css",
    "/api/v1/documents/me%0a.css",
    "/api/v1/documents/me%0d%0ax",
    "/api/v1/documents/me%09.js",
    "/api/v1/documents/me%23.css",
    "/api/v1/documents/me%3fx.css",
    "/api/v1/documents/me?x.css",
    "/api/v1/documents/ME",
    "/api/v1/Documents/me",
    "/api/v1/documents/x/..%2fme",
    "/api/v1/documents/x%2f..%2fme",
    "/api/v1/documents/x/../me",
    "/api/v1/documents/..%2fme",
    "/api/v1/documents//me",
    "//api/v1/documents/me",
    "/api//v1/documents/me",
    "/./api/v1/documents/me",
    "/api/v1/documents/%6de",
    "/api/v1/documents/me%20",
    "/api/v1/documents/me.",
    "/api/v1/documents/.",
    "/api/v1/documents/..",
    "/static/../me",
    "/static/..%2fme",
    "/static/%2e%2e/me",
    "/static/%2e%2e%2fme",
    "/static/..%5cme",
    "/static/..;/me",
    "/static/%252e%252e%252fme",
    "/static/x/%2E./%2e%2E/me",
    "/static/.%2e/me",
    "/static/..%255cme",
    "/static/%2e%2e;a=b/me",
];

/// An upstream whose answer names the caller.
async fn mirror() -> Upstream {
    Upstream::start(|request: &Received| {
        let who = request.header("authorization").or(request.header("cookie")).unwrap_or("nobody");
        match who {
            "Bearer wrong" => Script::json_with(401, &[], &json!({"who": "refused"})),
            who => Script::json(&json!({"who": who, "target": request.target})),
        }
    })
    .await
}

async fn ask(client: &Client, target: &str, headers: &[(&str, &str)]) -> String {
    client.request("GET", target, headers, "").await.text()
}

const CALLERS: [&[(&str, &str)]; 5] = [
    &[("authorization", "Bearer one")],
    &[("cookie", "session=two")],
    &[("authorization", "Bearer three"), ("cookie", "session=three")],
    &[("authorization", "Bearer wrong")],
    &[],
];

#[test]
fn every_caller_gets_their_own_answer_at_crafted_addresses() {
    run(async {
        let upstream = mirror().await;
        let config = "[[route]]\nmatch = \"GET /static/**\"\nkind = \"other\"\n[[route]]\nmatch = \"* /**\"\nkind = \"other\"";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        for target in TARGETS {
            for _ in 0..2 {
                for headers in CALLERS {
                    let who = headers
                        .first()
                        .map_or("nobody", |(_, who)| if *who == "Bearer wrong" { "refused" } else { who });
                    let received = ask(&client, target, headers).await;
                    assert!(
                        received.contains(&format!("\"who\":\"{who}\"")),
                        "{target}, {headers:?}: {received}"
                    );
                }
            }
        }
    });
}

#[test]
fn paths_that_climb_out_of_a_shared_route_are_not_shared() {
    run(async {
        let upstream = mirror().await;
        let config = "[[route]]\nmatch = \"GET /static/**\"\nkind = \"other\"\nscope = \"shared\"";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        // The upstream accepts both, so both share the answers of the route.
        for who in ["Bearer one", "Bearer two"] {
            ask(&client, "/static/app.js", &[("authorization", who)]).await;
        }
        let received = ask(&client, "/static/app.js", &[("authorization", "Bearer one")]).await;
        assert!(received.contains("Bearer two"), "{received}");
        for target in TARGETS.iter().filter(|target| target.starts_with("/static/")) {
            for who in ["Bearer one", "Bearer two"] {
                let received = ask(&client, target, &[("authorization", who)]).await;
                assert!(received.contains(who), "{target}: {who} got {received}");
            }
        }
    });
}
