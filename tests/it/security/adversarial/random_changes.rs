//! A property: if one part of a request changes, the answer is the upstream's answer to the changed request,
//! unless `docs/CACHING.md` says that the part is not in the key.

use std::collections::BTreeMap;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::support::{
    Client, Received, Script, Setup, Upstream, run,
    samples::{CHAT, QUERY, chat_choice},
};

/// A request.
#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, &'static str)>,
    body: BTreeMap<&'static str, Value>,
}

/// The headers that are documented as not in the key.
struct Uncounted(Vec<String>);

impl Uncounted {
    /// The names in the first column of the table of headers that are left out of the key.
    fn documented() -> Self {
        let page = include_str!("../../../../docs/CACHING.md");
        let table = page.split("| left out | why |").nth(1).expect("the table");
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let cells = rows
            .filter_map(|row| row.split('|').nth(1))
            .map(|cell| cell.replace("`Content-Type` of", "").replace("`Accept`, on", ""))
            .map(|cell| cell.replace("`Accept-Language`, on", ""));
        let names: Vec<_> = cells
            .flat_map(|cell| {
                cell.split('`').skip(1).step_by(2).map(str::to_ascii_lowercase).collect::<Vec<_>>()
            })
            .collect();
        assert!(names.len() > 30, "{names:?}");
        Self(names)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|own| own.strip_suffix('*').map_or(own == name, |prefix| name.starts_with(prefix)))
    }

    /// Everything in a request that may change its answer.
    fn rest(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let is_json = headers.contains(&("content-type", "application/json"));
        let has_stream_member = target.starts_with("/v1/");
        let counts = |name: &str| match name {
            "content-type" => !is_json,
            "accept" | "accept-language" => !has_stream_member,
            name => !self.has(name),
        };
        let mut kept: Vec<_> = headers.iter().filter(|(name, _)| counts(name)).collect();
        kept.sort_by_key(|(name, _)| *name);
        let body = match serde_json::from_slice::<BTreeMap<String, Value>>(body) {
            Ok(mut members) if has_stream_member => {
                members.retain(|name, _| name != "stream" && name != "stream_options");
                format!("{members:?}").into_bytes()
            }
            _ => body.to_vec(),
        };
        blake3::hash(format!("{method} {target} {kept:?} {body:?}").as_bytes()).to_hex()[..16].to_owned()
    }
}

impl Asked {
    fn text(&self) -> String {
        if self.body.is_empty() { String::new() } else { json!(self.body).to_string() }
    }

    /// Sends the request; returns `X-Cache`, the digest in the answer and the right one.
    async fn ask(&self, client: &Client, uncounted: &Uncounted) -> (String, String, String) {
        let body = self.text();
        let answer = client.request(self.method, &self.target, &self.headers, body.clone()).await;
        let own = uncounted.rest(self.method, &self.target, &self.headers, body.as_bytes());
        (answer.header("x-told").to_owned(), own, answer.cache().to_owned())
    }
}

/// An upstream that answers with a digest of all parts of the request that may change its answer.
async fn digesting() -> Upstream {
    let uncounted = Uncounted::documented();
    Upstream::start(move |request: &Received| {
        let headers: Vec<_> =
            request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let received = uncounted.rest(&request.method, &request.target, &headers, &request.body);
        let body = match request.target.split(['?', ';']).next() {
            Some(QUERY) => json!({"answer": received}),
            Some("/v1/messages") => json!({"id": "m", "type": "message", "role": "assistant", "model": "m",
                "content": [{"type": "text", "text": received}], "stop_reason": "end_turn",
                "usage": {"input_tokens": 1, "output_tokens": 1}}),
            _ => chat_choice(json!({"role": "assistant", "content": received}), "stop"),
        };
        Script::json_with(200, &[("x-told", &received)], &body)
    })
    .await
}

fn targets() -> impl Strategy<Value = String> {
    let paths = prop::sample::select(vec![
        CHAT,
        "/v1/messages",
        QUERY,
        "/api/v1/documents/a",
        "/api/v1/documents/A",
        "/api/v1/documents/%61",
        "/api/v1/documents/a/",
        "/api/v1/documents/a;b",
        "/page/a",
        "/page/a/b",
        "/page/a%2fb",
        "/page//a",
        "/page/./a",
        "/other",
    ]);
    let queries = prop::sample::select(vec![
        "", "?", "?a=1", "?a=2", "?a=1&b=2", "?b=2&a=1", "?a=1&a=2", "?A=1", "?a=%31", "?a",
    ]);
    (paths, queries).prop_map(|(path, query)| format!("{path}{query}"))
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let names = prop::sample::select(vec![
        "authorization",
        "cookie",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "x-auth-token",
        "x-tenant",
        "openai-beta",
        "openai-organization",
        "anthropic-version",
        "accept",
        "accept-language",
        "origin",
        "x-http-method-override",
        "x-original-url",
        "x-host",
        "user-agent",
        "x-request-id",
        "traceparent",
        "x-stainless-os",
        "sec-fetch-mode",
        "referer",
        "x-forwarded-for",
        "x-real-ip",
        "via",
        "if-none-match",
        "range",
        "cache-control",
        "pragma",
        "idempotency-key",
        "accept-encoding",
        "x-cache-ttl",
        "priority",
        "content-encoding",
    ]);
    let values = prop::sample::select(vec!["a", "b", "A", "", "a, b"]);
    prop::collection::vec((names, values), 0..4)
}

fn bodies() -> impl Strategy<Value = BTreeMap<&'static str, Value>> {
    let names = prop::sample::select(vec![
        "temperature",
        "user",
        "metadata",
        "seed",
        "tools",
        "lang",
        "stream",
        "stream_options",
    ]);
    let values = prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!("1"),
        json!(""),
        json!("a"),
        json!("A"),
        json!(" a"),
        json!([]),
        json!({}),
        json!([1]),
        json!([1, 2]),
        json!([2, 1]),
        json!([[1], 2]),
        json!({"a": 1}),
        json!({"a": {"a": 1}}),
        json!({"A": 1}),
        json!({"b": 1}),
    ]);
    let texts = prop::sample::select(vec!["Who?", "who?", "Who ?", "Who?\n", "Why?"]);
    (prop::collection::btree_map(names, values, 0..3), texts, prop::bool::weighted(0.9)).prop_map(
        |(mut members, text, is_whole)| {
            if is_whole {
                let messages = json!([{"role": "user", "content": text}]);
                members.extend([
                    ("model", json!("m")),
                    ("messages", messages),
                    ("max_tokens", json!(9)),
                    ("query", json!(text)),
                ]);
            }
            members
        },
    )
}

fn requests() -> impl Strategy<Value = Asked> {
    let kinds =
        prop::sample::select(vec!["application/json", "application/json", "application/json", "text/plain"]);
    let methods = prop::sample::select(vec!["POST", "POST", "POST", "GET", "GET", "PUT", "QUERY"]);
    (methods, targets(), headers(), kinds, bodies()).prop_map(
        |(method, target, mut headers, kind, mut body)| {
            headers.push(("content-type", kind));
            if method == "GET" && !target.contains("a=2") {
                body.clear();
            }
            Asked { method, target, headers, body }
        },
    )
}

/// Two requests that differ in one part, or in none.
fn pairs() -> impl Strategy<Value = (Asked, Asked)> {
    (requests(), requests(), 0..5).prop_map(|(one, other, part)| {
        let mut changed = one.clone();
        match part {
            0 => changed.method = other.method,
            1 => changed.target = other.target,
            2 => changed.headers = other.headers,
            3 => changed.body = other.body,
            _ => {}
        }
        (one, changed)
    })
}

#[test]
fn every_answer_is_the_upstreams_answer_to_that_request() {
    run(async {
        let upstream = digesting().await;
        let config = "[[route]]\nmatch = \"* /page/**\"\nkind = \"other\"\ndialect = \"none\"";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let (client, handle) = (sidecache.client(), Handle::current());
        let hits = tokio::task::spawn_blocking(move || {
            let (uncounted, hits) = (Uncounted::documented(), std::cell::Cell::new(0));
            let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
            TestRunner::new(config)
                .run(&pairs(), |(one, changed)| {
                    for asked in [&one, &changed, &one] {
                        let (received, own, cache) = handle.block_on(asked.ask(&client, &uncounted));
                        prop_assert_eq!(&received, &own, "{:?} ({})", asked, cache);
                        hits.set(hits.get() + usize::from(cache == "HIT"));
                    }
                    Ok(())
                })
                .unwrap();
            hits.get()
        });
        // Without hits, the test would show nothing.
        assert!(hits.await.expect("the property holds") > 50);
    });
}
