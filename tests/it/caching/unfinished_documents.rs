//! Documents with a status like `processing` are stored for a few seconds only.

use serde_json::{Value, json};

use crate::support::{Answer, RedisServer, Script, Setup, Upstream, eventually, run};

const DOCUMENT: &str = "/api/v1/documents/7";
const CONVERSATION: &str = "/api/v1/conversations/7";

/// The remaining TTL of a hit, in seconds.
fn left(hit: &Answer) -> i64 {
    let received = hit.header("cache-status").split("; ").find_map(|part| part.strip_prefix("ttl="));
    received.expect("a ttl").parse().expect("seconds")
}

async fn is_kept_for_a_moment(redis: Option<&RedisServer>) {
    let processing = json!({"id": "7", "status": "Processing"});
    for (target, first, is_short) in [
        (DOCUMENT, &processing, true),
        (CONVERSATION, &processing, true),
        (DOCUMENT, &json!({"data": {"document": {"state": "in-progress"}}}), true),
        (DOCUMENT, &json!({"id": "7", "status": "COMPLETED"}), false),
        (DOCUMENT, &json!({"id": "7", "status": 3}), false),
    ] {
        let answer = first.clone();
        let upstream = Upstream::start(move |_| Script::json(&answer)).await;
        let setup = Setup::to(&upstream.url()).config("[store]\ntimeout = \"5s\"");
        let sidecache = match redis {
            Some(redis) => setup.arguments(&["--redis", &redis.url()]).env("CACHE_NEAR_MEMORY", "0"),
            None => setup,
        };
        let sidecache = sidecache.start().await;
        let client = sidecache.client();
        let miss = client.request("GET", target, &[("x-request-id", "first")], "").await;
        assert_eq!((miss.cache(), miss.detail()), ("MISS", is_short.then_some("unfinished")), "{first}");
        // Redis may still be writing when the response goes out.
        sidecache.log.stored(1).await;
        let hit = client.get(target).await;
        assert_eq!((hit.cache(), hit.detail(), &hit.json()), ("HIT", None, first));
        assert_eq!(left(&hit) <= 5, is_short, "{first}: {}", left(&hit));
        assert!(miss.header("cache-status").contains("; stored"), "{first}");
        let line = sidecache.log.response("first").await;
        let reason = if is_short { json!("unfinished") } else { Value::Null };
        assert_eq!(line["cache"].get("reason").unwrap_or(&Value::Null), &reason, "{line}");
        if let Some(redis) = redis {
            let key = miss.key();
            let ttl: i64 = redis.cli(&["TTL", &key]).trim().parse().expect("seconds");
            assert_eq!((0..=5).contains(&ttl), is_short, "{first}: {ttl}");
            redis.cli(&["FLUSHALL"]);
        }
    }
}

#[test]
fn unfinished_documents_are_stored_for_seconds_in_memory() {
    run(is_kept_for_a_moment(None));
}

#[test]
fn unfinished_documents_are_stored_for_seconds_in_redis() {
    run(async { is_kept_for_a_moment(Some(&RedisServer::start())).await });
}

#[test]
fn unfinished_documents_are_never_served_stale_and_obey_shorter_ttls() {
    run(async {
        let upstream = Upstream::always(Script::json(&json!({"status": "queued"}))).await;
        let route = "[[route]]\nmatch = \"GET /docs/{id}\"\nkind = \"document\"\nttl = \"1s\"\n\
             stale_while_revalidate = \"1h\"\nstale_if_error = \"1h\"";
        let sidecache = Setup::to(&upstream.url()).config(route).start().await;
        let client = sidecache.client();
        assert_eq!(client.get("/docs/1").await.detail(), Some("unfinished"));
        eventually("its end", async || {
            let answer = client.get("/docs/1").await;
            assert!(["HIT", "MISS"].contains(&answer.cache()), "{}", answer.cache());
            (answer.cache() == "MISS").then_some(())
        })
        .await;
        let short = client.request("GET", "/docs/2", &[("x-cache-ttl", "60")], "").await;
        assert_eq!(short.detail(), Some("unfinished"));
        assert!(left(&client.get("/docs/2").await) <= 1);
    });
}

#[test]
fn unfinished_documents_obey_the_upstream_in_rfc9111_mode() {
    run(async {
        let fresh = [("cache-control", "max-age=600")];
        let upstream = Upstream::always(Script::json_with(200, &fresh, &json!({"status": "queued"}))).await;
        let route = "[[route]]\nmatch = \"GET /docs/{id}\"\nkind = \"document\"\nmode = \"rfc9111\"";
        let sidecache = Setup::to(&upstream.url()).config(route).start().await;
        assert_eq!(sidecache.client().get("/docs/1").await.detail(), None);
        assert!(left(&sidecache.client().get("/docs/1").await) > 500);
    });
}
