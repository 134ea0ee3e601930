//! Routes with `mode = "rfc9111"`. Each test is named after the clause that it checks.
//!
//! Stale responses arrive with an `Age`, so that no test has to wait.

mod freshness;
mod invalidation;
mod query;
mod ranges;
mod replicas;
mod stale;
mod storing;
mod validation;
mod vary;

use crate::support::{Answer, Client, Script, Setup, Sidecache, Upstream};

/// The settings of a route for every path, with further lines.
fn route(lines: &str) -> String {
    format!("[[route]]\nname = \"all\"\nmatch = \"* /**\"\nkind = \"document\"\nmode = \"rfc9111\"\n{lines}")
}

/// A sidecache with one shared `rfc9111` route in front of `upstream`.
async fn follow(upstream: &Upstream) -> Sidecache {
    Setup::to(&upstream.url()).config(&route("scope = \"shared\"")).start().await
}

/// A 200 with this body.
fn says(headers: &[(&str, &str)], body: &str) -> Script {
    Script::whole(200, headers, body)
}

/// An upstream whose answers are their numbers, always with these headers.
async fn counting(headers: &[(&str, &str)]) -> Upstream {
    let scripts = (1..100).map(|count: u32| says(headers, &count.to_string())).collect();
    Upstream::in_turn(scripts).await
}

async fn get(client: &Client, headers: &[(&str, &str)]) -> Answer {
    client.request("GET", "/a", headers, "").await
}

/// Sends two requests; returns the second answer.
async fn second(headers: &[(&str, &str)]) -> Answer {
    let upstream = counting(headers).await;
    let sidecache = follow(&upstream).await;
    assert_eq!(get(&sidecache.client(), &[]).await.cache(), "MISS");
    get(&sidecache.client(), &[]).await
}
