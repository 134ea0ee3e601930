//! Routes with `mode = "rfc9111"`, clause by clause: each test is named after the clause that it is about.
//!
//! What is to be stale comes with an `Age`, so that no test waits for it.

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

/// The settings of a route for everything, with further lines.
fn route(lines: &str) -> String {
    format!("[[route]]\nname = \"all\"\nmatch = \"* /**\"\nkind = \"document\"\nmode = \"rfc9111\"\n{lines}")
}

/// A sidecache that follows `upstream` for all who ask.
async fn follow(upstream: &Upstream) -> Sidecache {
    Setup::to(&upstream.url()).config(&route("scope = \"shared\"")).start().await
}

/// A 200 that says `body`.
fn says(headers: &[(&str, &str)], body: &str) -> Script {
    Script::whole(200, headers, body)
}

/// An upstream that says with each answer how many it has given, always with these headers.
async fn counting(headers: &[(&str, &str)]) -> Upstream {
    let scripts = (1..100).map(|count: u32| says(headers, &count.to_string())).collect();
    Upstream::in_turn(scripts).await
}

async fn get(client: &Client, headers: &[(&str, &str)]) -> Answer {
    client.request("GET", "/a", headers, "").await
}

/// Asks twice, and tells what became of the second request.
async fn second(headers: &[(&str, &str)]) -> Answer {
    let upstream = counting(headers).await;
    let sidecache = follow(&upstream).await;
    assert_eq!(get(&sidecache.client(), &[]).await.cache(), "MISS");
    get(&sidecache.client(), &[]).await
}
