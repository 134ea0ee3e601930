//! The page: who gets it, and what browsers let it do. `tests/page.sh` walks it with a real one.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Fixture, StoreKind};
use crate::support::{Client, Script, Setup, Upstream, run, samples::chat_answer};

const TOKEN: &str = "a-token-of-some-length";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page, and all files that it and its files name.
async fn files(operator: &Client) -> BTreeSet<String> {
    let mut found = BTreeSet::from(["/".to_owned()]);
    let mut waiting = vec!["/".to_owned()];
    while let Some(path) = waiting.pop() {
        let text = operator.get(&path).await.text();
        for quoted in text.split('"').skip(1).step_by(2) {
            let named = match quoted.strip_prefix("./") {
                Some(name) => format!("/page/{name}"),
                None if quoted.starts_with("/page/") => quoted.to_owned(),
                None => continue,
            };
            if found.insert(named.clone()) {
                waiting.push(named);
            }
        }
    }
    found
}

async fn with_token() -> (Upstream, Fixture) {
    let upstream = Upstream::always(Script::json(&chat_answer())).await;
    let setup = Setup::to(&upstream.url()).env("ADMIN_TOKEN", TOKEN);
    let fixture = Fixture::with(StoreKind::Memory, setup).await;
    (upstream, fixture)
}

#[test]
fn every_file_of_the_page_has_its_type_and_forbids_what_it_does_not_need() {
    run(async {
        let (_upstream, fixture) = with_token().await;
        let files = files(&fixture.operator).await;
        assert!(files.len() > 5 && files.contains("/page/style.css"), "{files:?}");
        let mut bytes = 0;
        for path in &files {
            let answer = fixture.operator.get(path).await;
            let media = match path.rsplit_once('.') {
                Some((_, "js")) => "text/javascript; charset=utf-8",
                Some((_, "css")) => "text/css; charset=utf-8",
                _ => "text/html; charset=utf-8",
            };
            assert_eq!((answer.status, answer.header("content-type")), (200, media), "{path}");
            assert_eq!(answer.header("content-security-policy"), POLICY, "{path}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
            assert_eq!(answer.header("cache-control"), "no-store", "{path}");
            bytes += answer.body.len();
            let head = fixture.operator.request("HEAD", path, &[], "").await;
            assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
            let posted = fixture.call("POST", path, &json!({})).await;
            assert_eq!((posted.status, posted.header("allow")), (405, "GET, HEAD"), "{path}");
        }
        assert!(bytes <= 150 * 1024, "{bytes}");
    });
}

#[test]
fn the_page_alone_needs_no_token_and_nobody_gets_it_under_a_foreign_name() {
    run(async {
        let (_upstream, fixture) = with_token().await;
        for path in files(&fixture.operator).await {
            let rebound = fixture.operator.request("GET", &path, &[("host", "evil.example")], "").await;
            assert_eq!(rebound.status, 403, "{path}");
            assert!(!rebound.text().contains("<!doctype"), "{path}");
        }
        // What the page asks for, and what is like one of its files.
        for path in [
            "/overview",
            "/history?range=24h",
            "/entries",
            "/stats",
            "/metrics",
            "/page/",
            "/page/none.js",
            "/page/../stats",
            "/page/%6dain.js",
            "//",
            "/index.html",
        ] {
            assert_eq!(fixture.operator.get(path).await.status, 401, "{path}");
        }
        let bearer = format!("Bearer {TOKEN}");
        let known = [("authorization", &*bearer), ("host", "localhost")];
        for path in ["/overview", "/history"] {
            assert_eq!(fixture.operator.request("GET", path, &known, "").await.status, 200, "{path}");
        }
        assert_eq!(fixture.operator.request("GET", "/page/none.js", &known, "").await.status, 404);
        // On the clients' listener, the page's paths are the service's.
        assert_eq!(fixture.client.get("/").await.json(), chat_answer());
        assert_eq!(fixture.client.get("/page/main.js").await.json(), chat_answer());
    });
}
