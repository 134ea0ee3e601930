//! A real Redis: entries are shared, survive restarts, and an outage fails no request.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{
    Action, Client, FaultProxy, RedisServer, Script, Setup, Sidecache, Upstream, eventually, measured, run,
    samples::{CHAT, Case, QUERY, cases, chat, chat_answer, query},
};

async fn chatting() -> Upstream {
    Upstream::always(Script::json(&chat_answer())).await
}

/// A sidecache on `redis`, without a near cache.
fn before(redis: &RedisServer, upstream: &Upstream) -> Setup {
    Setup::to(&upstream.url()).arguments(&["--redis", &redis.url()]).env("CACHE_NEAR_MEMORY", "0")
}

/// The same, running, with a timeout that even a busy machine keeps.
async fn on(redis: &RedisServer, upstream: &Upstream) -> Sidecache {
    before(redis, upstream).config(ROOMY).start().await
}

const ROOMY: &str = "[store]\ntimeout = \"5s\"";

async fn asked(client: &Client) -> String {
    let answer = client.post(CHAT, &chat()).await;
    assert_eq!((answer.status, answer.json()), (200, chat_answer()));
    answer.cache().to_owned()
}

/// All keys that match, in their order.
fn scan(redis: &RedisServer, pattern: &str) -> Vec<String> {
    let mut keys: Vec<_> = redis.cli(&["KEYS", pattern]).lines().map(str::to_owned).collect();
    keys.sort();
    keys
}

#[test]
fn an_answer_is_shared_by_replicas_and_survives_restarts() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), chatting().await);
        let (mut one, other) = (on(&redis, &upstream).await, on(&redis, &upstream).await);
        assert_eq!(asked(&one.client()).await, "MISS");
        assert_eq!(asked(&one.client()).await, "HIT");
        one.log.stored(1).await;
        assert_eq!(asked(&other.client()).await, "HIT");
        assert!(one.stop().await.success());
        let again = on(&redis, &upstream).await;
        assert_eq!(asked(&again.client()).await, "HIT");
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn large_answers_are_compressed_in_redis() {
    run(async {
        let mut answer = chat_answer();
        answer["choices"][0]["message"]["content"] = "All work and no play. ".repeat(1000).into();
        let (redis, upstream) = (RedisServer::start(), Upstream::always(Script::json(&answer)).await);
        let sidecache = on(&redis, &upstream).await;
        let first = sidecache.client().post(CHAT, &chat()).await;
        assert_eq!((first.cache(), first.json()), ("MISS", answer));
        let hit = async || {
            Some(sidecache.client().post(CHAT, &chat()).await).filter(|received| received.cache() == "HIT")
        };
        let hit = eventually("stored", hit).await;
        assert_eq!(hit.body, first.body);
        // Until then, hits may come from the pending write.
        sidecache.log.stored(1).await;
        let key = &scan(&redis, "sidecache:query:*")[0];
        let stored: usize = redis.cli(&["STRLEN", key]).parse().expect("a length");
        assert!(stored < first.body.len() / 10, "{stored} bytes of {}", first.body.len());

        // An entry larger than `max_entry` is not used either.
        let less = format!("{ROOMY}\nmax_entry = \"16KiB\"");
        let other = before(&redis, &upstream).config(&less).start().await;
        assert_eq!(other.client().post(CHAT, &chat()).await.cache(), "MISS");
    });
}

#[test]
fn keys_have_the_documented_names_and_ttls() {
    run(async {
        let redis = RedisServer::start();
        let upstream = Upstream::start(|request| match request.method.as_str() {
            "GET" => Script::json(&query()),
            _ => {
                let case = cases().into_iter().find(|case| case.target == request.target);
                Script::json(&case.expect("a case").answer)
            }
        })
        .await;
        let sidecache = on(&redis, &upstream).await;
        let client = sidecache.client();
        let case = |target| cases().into_iter().find(|case: &Case| case.target == target).expect("a case");
        client.post(QUERY, &case(QUERY).question).await;
        client.post("/v1/embeddings", &case("/v1/embeddings").question).await;
        client.get("/api/v1/documents/d").await;
        client.get("/api/v1/conversations/c").await;
        for (kind, ttl) in
            [("query", 1800), ("embedding", 86_400), ("document", 3600), ("conversation", 1800)]
        {
            let keys = eventually(kind, async || {
                Some(scan(&redis, &format!("sidecache:{kind}:*"))).filter(|keys| keys.len() == 1)
            })
            .await;
            let hex = keys[0].rsplit(':').next().expect("a digest");
            assert!(hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()), "{keys:?}");
            let left: i64 = redis.cli(&["TTL", &keys[0]]).parse().expect("seconds");
            assert!((ttl - 60..=ttl).contains(&left), "{kind}: {left}");
            assert_eq!(redis.cli(&["TYPE", &keys[0]]), "string");
        }
        // The four entries and the two keys of the invalidation log; leases are gone.
        eventually("no other keys", async || (redis.keys() == 6).then_some(())).await;
    });
}

#[test]
fn a_redis_that_stops_fails_no_request_and_is_used_again_in_time() {
    run(async {
        let (mut redis, upstream) = (RedisServer::start(), chatting().await);
        let sidecache = on(&redis, &upstream).await;
        let client = sidecache.client();
        assert_eq!(asked(&client).await, "MISS");
        assert_eq!(asked(&client).await, "HIT");
        sidecache.log.stored(1).await;
        redis.kill();
        for _ in 0..20 {
            assert_eq!(asked(&client).await, "MISS");
        }
        sidecache.log.lifecycle("Cache store lost").await;
        let health = sidecache.health().await;
        assert_eq!((&health["status"], &health["cache"]["connected"]), (&"degraded".into(), &false.into()));
        assert_eq!(
            (&health["cache"]["total_keys"], &health["cache"]["memory_used"]),
            (&Value::Null, &Value::Null)
        );
        assert!(health["cache"]["errors"].as_u64().expect("a count") > 0, "{health}");
        assert_eq!(client.get("/health/live").await.status, 200);
        assert_eq!(client.get("/health/ready").await.status, 200);

        redis.restart();
        eventually("hits are back", async || (asked(&client).await == "HIT").then_some(())).await;
        sidecache.log.lifecycle("Cache store back").await;
        let health = sidecache.health().await;
        assert_eq!((&health["status"], &health["cache"]["connected"]), (&"healthy".into(), &true.into()));
    });
}

#[test]
fn a_hung_redis_delays_no_request_for_long() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), chatting().await);
        let config = "[store]\ntimeout = \"200ms\"";
        let sidecache = before(&redis, &upstream).config(config).start().await;
        let client = sidecache.client();
        eventually("stored", async || (asked(&client).await == "HIT").then_some(())).await;
        sidecache.log.stored(1).await;
        redis.pause();
        let mut fastest = Duration::MAX;
        for _ in 0..10 {
            let began = Instant::now();
            // A hit may come from the pending write.
            asked(&client).await;
            fastest = fastest.min(began.elapsed());
        }
        // After a few timeouts the store is not asked any more.
        assert!(fastest < Duration::from_millis(200), "{fastest:?}");
        redis.resume();
        eventually("hits are back", async || (asked(&client).await == "HIT").then_some(())).await;
    });
}

#[test]
fn a_redis_that_is_down_at_the_start_is_used_once_up() {
    run(async {
        let (mut redis, upstream) = (RedisServer::start(), chatting().await);
        redis.kill();
        let sidecache = on(&redis, &upstream).await;
        let client = sidecache.client();
        for _ in 0..3 {
            assert_eq!(asked(&client).await, "MISS");
        }
        assert_eq!(sidecache.health().await["cache"]["connected"], false);
        redis.restart();
        eventually("hits", async || (asked(&client).await == "HIT").then_some(())).await;
    });
}

/// The value under a key as a text of hexadecimal digits, and back.
fn dump(redis: &RedisServer, key: &str) -> String {
    let script = "local v = redis.call('GET', KEYS[1]) \
        return (v:gsub('.', function(c) return string.format('%02x', string.byte(c)) end))";
    redis.cli(&["EVAL", script, "1", key])
}

fn restore(redis: &RedisServer, key: &str, hex: &str) {
    let script = "local v = ARGV[1]:gsub('..', function(h) return string.char(tonumber(h, 16)) end) \
        return redis.call('SET', KEYS[1], v)";
    redis.cli(&["EVAL", script, "1", key, hex]);
}

#[test]
fn a_foreign_or_corrupt_value_is_a_miss_and_is_overwritten() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), chatting().await);
        let sidecache = before(&redis, &upstream).config(ROOMY).admin().start().await;
        let client = sidecache.client();
        assert_eq!(asked(&client).await, "MISS");
        sidecache.settled().await;
        let mut other = chat();
        other["messages"][0]["content"] = "Another question?".into();
        let keys = scan(&redis, "sidecache:query:*");
        client.post(CHAT, &other).await;
        sidecache.settled().await;
        let others = scan(&redis, "sidecache:query:*");
        let other_key = others.iter().find(|key| !keys.contains(key)).expect("another key");
        let key = &keys[0];
        let (good, others_value) = (dump(&redis, key), dump(&redis, other_key));
        let flipped = |at: usize| {
            let digit = if good.as_bytes()[at] == b'0' { "1" } else { "0" };
            [&good[..at], digit, &good[at + 1..]].concat()
        };
        for (what, value) in [
            ("nothing", String::new()),
            ("rubbish", "00ff7a".to_owned()),
            ("another key's", others_value),
            ("a cut one", good[..good.len() - 2].to_owned()),
            ("a longer one", format!("{good}00")),
            ("another version", flipped(7)),
            ("a changed body", flipped(good.len() - 1)),
            ("a changed middle", flipped(good.len() / 2)),
        ] {
            restore(&redis, key, &value);
            assert_eq!(asked(&client).await, "MISS", "{what}");
            // The write may have failed if the store was lost for a moment.
            eventually(what, async || (asked(&client).await == "HIT").then_some(())).await;
            sidecache.settled().await;
            assert_eq!(dump(&redis, key)[..8], good[..8], "{what}");
        }
        redis.talk(&[&["DEL", key], &["LPUSH", key, "x"]]);
        assert_eq!(asked(&client).await, "MISS", "a list");
        eventually("a list", async || (asked(&client).await == "HIT").then_some(())).await;
        sidecache.settled().await;
        restore(&redis, key, &good);
        assert_eq!(asked(&client).await, "HIT", "and what was ours is ours again");
        measured(format_args!(
            "8 values and a list, each a miss; {} calls of the upstream",
            upstream.calls()
        ));
    });
}

#[test]
fn only_the_keys_of_its_namespace_are_counted() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), chatting().await);
        for foreign in
            ["other:query:1", "sidecache2:query:1", "xsidecache:query:1", "sidecache", "sidecache:_:x"]
        {
            redis.cli(&["SET", foreign, "x"]);
        }
        let sidecache = on(&redis, &upstream).await;
        for question in ["one", "two", "three"] {
            let mut asks = chat();
            asks["messages"][0]["content"] = question.into();
            assert_eq!(sidecache.client().post(CHAT, &asks).await.cache(), "MISS");
        }
        let health = eventually("counted", async || {
            Some(sidecache.health().await).filter(|health| health["cache"]["total_keys"] == 3)
        })
        .await;
        assert_eq!((&health["cache"]["store"], &health["status"]), (&"redis".into(), &"healthy".into()));
        assert!(health["cache"]["memory_used"].is_string(), "{health}");
        // With the two keys of the invalidation log. A lease is released just after its answer is stored.
        eventually("no lease is left", async || (redis.keys() == 10).then_some(())).await;
    });
}

#[test]
fn a_response_does_not_wait_for_its_write_and_hits_are_served_meanwhile() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), chatting().await);
        let (proxy, slow) = (FaultProxy::in_front_of(redis.port()).await, Duration::from_secs(4));
        proxy.apply(move |name| if name == "SET" { Action::Delay(slow) } else { Action::Pass });
        let sidecache = Setup::to(&upstream.url())
            .arguments(&["--redis", &proxy.url()])
            .env("CACHE_NEAR_MEMORY", "0")
            .config("[store]\ntimeout = \"30s\"")
            .start()
            .await;
        let client = sidecache.client();
        let connected = async || (sidecache.health().await["cache"]["connected"] == true).then_some(());
        eventually("connected", connected).await;
        let began = Instant::now();
        let first = client.post(CHAT, &chat()).await;
        assert_eq!((first.cache(), first.json()), ("MISS", chat_answer()));
        assert!(first.header("cache-status").contains("; stored"), "{:?}", first.headers);
        drop(client);
        assert_eq!(asked(&sidecache.client()).await, "HIT");
        let mut streamed = chat();
        streamed["stream"] = true.into();
        assert_eq!(sidecache.client().post(CHAT, &streamed).await.cache(), "HIT", "in the other form");
        assert!(began.elapsed() < slow, "{:?}", began.elapsed());
        let stored = sidecache.log.all().iter().any(|line| line["operation"] == "cache_store");
        assert!(!stored, "it is being written still");
        sidecache.log.stored(1).await;
        assert_eq!(asked(&sidecache.client()).await, "HIT");
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn namespaces_are_separate() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), chatting().await);
        let with = async |namespace| {
            before(&redis, &upstream).config(ROOMY).env("CACHE_NAMESPACE", namespace).start().await
        };
        for (namespace, turn) in [("team-a", "MISS"), ("team-b", "MISS"), ("team-a", "HIT")] {
            let sidecache = with(namespace).await;
            assert_eq!(asked(&sidecache.client()).await, turn, "{namespace}");
            sidecache.log.stored(usize::from(turn == "MISS")).await;
        }
        assert_eq!(scan(&redis, "team-?:query:*").len(), 2);
    });
}

#[test]
fn a_full_redis_still_answers_hits() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), chatting().await);
        let sidecache = on(&redis, &upstream).await;
        let client = sidecache.client();
        assert_eq!(asked(&client).await, "MISS");
        sidecache.log.stored(1).await;
        redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
        let mut other = chat();
        other["messages"][0]["content"] = "Another question?".into();
        for _ in 0..3 {
            assert_eq!(client.post(CHAT, &other).await.cache(), "MISS");
            sidecache.log.lifecycle("Cache store refuses writes").await;
            assert_eq!(asked(&client).await, "HIT");
        }
        redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
        eventually("writes are back", async || {
            (client.post(CHAT, &other).await.cache() == "HIT").then_some(())
        })
        .await;
    });
}
