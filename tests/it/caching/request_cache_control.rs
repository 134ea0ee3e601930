//! TTLs, and the request's own `Cache-Control` and `X-Cache-TTL`.

use crate::support::{
    Client, RawClient, Script, Setup, Sidecache, Upstream, eventually, post, run,
    samples::{CHAT, QUERY, chat, chat_answer, query, query_answer},
};

async fn chatting() -> Upstream {
    Upstream::always(Script::json(&chat_answer())).await
}

async fn ask(client: &Client, headers: &[(&str, &str)]) -> String {
    let answer = client.post_with(CHAT, headers, &chat()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.cache().to_owned()
}

#[test]
fn an_answer_is_fresh_for_its_routes_ttl() {
    run(async {
        let upstream = Upstream::always(Script::json(&query_answer())).await;
        let route = "[ttl]\nquery = \"20m\"\n[[route]]\nmatch = \"POST /short\"\nkind = \"query\"\ndialect = \"rag\"\nttl = \"300ms\"";
        let sidecache = Setup::to(&upstream.url()).config(route).start().await;
        let client = sidecache.client();
        assert_eq!(client.post("/short", &query()).await.cache(), "MISS");
        let received = eventually("the answer is stale", async || {
            let received = client.post("/short", &query()).await;
            (received.cache() == "MISS").then_some(received)
        })
        .await;
        assert!(received.header("cache-status").starts_with("sidecache; fwd="), "{:?}", received.headers);
        assert!(upstream.calls() >= 2);
        // Other routes have the TTL of their kind.
        client.post(QUERY, &query()).await;
        let hit = client.post(QUERY, &query()).await;
        let ttl = hit.header("cache-status").split("; ").find_map(|part| part.strip_prefix("ttl="));
        let ttl: u64 = ttl.expect("a ttl").parse().expect("seconds");
        assert!((1000..=1200).contains(&ttl), "{ttl}");
    });
}

#[test]
fn a_ttl_of_zero_caches_nothing() {
    run(async {
        let upstream = chatting().await;
        let sidecache = Setup::to(&upstream.url()).env("CACHE_QUERY_TTL", "0").start().await;
        for _ in 0..2 {
            let answer = sidecache.client().post(CHAT, &chat()).await;
            assert_eq!((answer.cache(), answer.detail()), ("BYPASS", Some("ttl-zero")));
        }
        assert_eq!(upstream.calls(), 2);
    });
}

#[test]
fn no_cache_asks_the_upstream_and_stores_the_answer() {
    run(async {
        let mut other = chat_answer();
        other["id"] = "chatcmpl-2".into();
        let upstream = Upstream::in_turn(vec![Script::json(&chat_answer()), Script::json(&other)]).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        assert_eq!(ask(&client, &[]).await, "MISS");
        let fresh = client.post_with(CHAT, &[("cache-control", "no-cache")], &chat()).await;
        assert_eq!((fresh.cache(), fresh.detail()), ("BYPASS", Some("request-no-cache")));
        assert_eq!(fresh.json(), other);
        let hit = client.post(CHAT, &chat()).await;
        assert_eq!((hit.cache(), hit.json()), ("HIT", other));
        assert_eq!(upstream.calls(), 2);
    });
}

#[test]
fn no_store_neither_reads_nor_writes() {
    run(async {
        let upstream = chatting().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let no_store = [("cache-control", "max-age=60, No-Store")];
        assert_eq!(ask(&client, &no_store).await, "BYPASS");
        assert_eq!(ask(&client, &[]).await, "MISS", "it was not written");
        let bypassed = client.post_with(CHAT, &no_store, &chat()).await;
        assert_eq!((bypassed.cache(), bypassed.detail()), ("BYPASS", Some("request-no-store")));
        assert_eq!(ask(&client, &[]).await, "HIT");
        assert_eq!(upstream.calls(), 3);
    });
}

#[test]
fn max_age_skips_entries_that_are_older() {
    run(async {
        let upstream = chatting().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        assert_eq!(ask(&client, &[]).await, "MISS");
        assert_eq!(ask(&client, &[("cache-control", "max-age=600")]).await, "HIT");
        eventually("it is older than a moment", async || {
            (ask(&client, &[("cache-control", "max-age=0")]).await == "MISS").then_some(())
        })
        .await;
        assert_eq!(ask(&client, &[]).await, "HIT", "the new answer is stored");
    });
}

#[test]
fn only_if_cached_never_asks_the_upstream() {
    run(async {
        let upstream = chatting().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let only = [("cache-control", "only-if-cached")];
        let absent = client.post_with(CHAT, &only, &chat()).await;
        assert_eq!((absent.status, absent.cache()), (504, "MISS"));
        assert_eq!(absent.json()["error"], "NotCachedException");
        assert_eq!(absent.json()["path"], CHAT);
        assert_eq!(upstream.calls(), 0);
        assert_eq!(ask(&client, &[]).await, "MISS");
        assert_eq!(ask(&client, &only).await, "HIT");
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn x_cache_ttl_shortens_the_ttl_and_never_lengthens_it() {
    run(async {
        let upstream = chatting().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let zero = client.post_with(CHAT, &[("x-cache-ttl", "0")], &chat()).await;
        assert_eq!((zero.status, zero.cache()), (200, "MISS"));
        assert_eq!(ask(&client, &[("x-cache-ttl", "1")]).await, "MISS", "zero was not stored");
        assert!(upstream.requests().iter().all(|request| request.header("x-cache-ttl").is_none()));
        eventually("its second is over", async || {
            (ask(&client, &[("x-cache-ttl", "999999")]).await == "MISS").then_some(())
        })
        .await;
        let hit = client.post(CHAT, &chat()).await;
        let ttl = hit.header("cache-status").split("; ").find_map(|part| part.strip_prefix("ttl="));
        let ttl: u64 = ttl.expect("a ttl").parse().expect("seconds");
        assert!((1..=1800).contains(&ttl), "{ttl}");
    });
}

#[test]
fn a_route_can_ignore_request_cache_control() {
    run(async {
        let upstream = Upstream::always(Script::json(&query_answer())).await;
        let route = "[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\ndialect = \"rag\"\nhonor_request_cache_control = false";
        let sidecache = Setup::to(&upstream.url()).config(route).start().await;
        let client = sidecache.client();
        let directives = ["no-store", "no-cache", "max-age=0", "only-if-cached"];
        for (index, directive) in directives.into_iter().enumerate() {
            let headers = [("cache-control", directive), ("x-cache-ttl", "0")];
            let answer = client.post_with("/ask", &headers, &query()).await;
            assert_eq!(answer.cache(), if index == 0 { "MISS" } else { "HIT" }, "{directive}");
        }
        assert_eq!(upstream.calls(), 1);
    });
}

/// The `X-Cache` of a question with these headers, sent over `connection`.
async fn ask_on(connection: &mut RawClient, headers: &str, text: &str) -> String {
    let body = serde_json::json!({"model": "m", "messages": [{"role": "user", "content": text}]});
    connection.send(post(CHAT, headers, &body.to_string())).await;
    let head = connection.head().await;
    connection.until(&chat_answer().to_string()).await;
    let received =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("x-cache: ").map(str::to_owned));
    received.unwrap_or_default()
}

/// A connection caches what it read from a head, and may use that for an identical head only.
#[test]
fn each_request_on_a_connection_is_judged_by_its_own_head() {
    run(async {
        let upstream = chatting().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let connection = &mut RawClient::connect(sidecache.address()).await;
        for (headers, text, expected) in [
            ("", "a", "miss"),
            ("", "a", "hit"),
            ("", "a longer one", "miss"),
            ("cache-control: no-store\r\n", "a", "bypass"),
            ("cache-control: no-store\r\n", "a", "bypass"),
            ("", "a", "hit"),
            ("authorization: Bearer one\r\n", "a", "miss"),
            ("authorization: Bearer one\r\n", "a", "hit"),
            ("authorization: Bearer two\r\n", "a", "miss"),
            ("x-tenant: 1\r\n", "a", "miss"),
            ("x-tenant: 1\r\n", "a", "hit"),
            // `Connection` names this header, so the service does not get it.
            ("connection: x-tenant\r\nx-tenant: 2\r\n", "a", "hit"),
            ("connection: x-tenant\r\nx-tenant: 2\r\n", "a longer one", "hit"),
            ("connection: x-tenant\r\nx-tenant: 2\r\n", "another", "miss"),
            ("x-tenant: 2\r\n", "a", "miss"),
            ("range: bytes=0-1\r\n", "a", "bypass"),
            ("content-type: text/plain\r\n", "a", "pass"),
            ("", "a", "hit"),
        ] {
            assert_eq!(ask_on(connection, headers, text).await, expected, "{headers:?} {text}");
        }
        let last = upstream.requests().iter().rev().nth(3).expect("some").clone();
        assert_eq!(last.header("x-tenant"), None, "{last:?}");
    });
}
