//! Encryption: sealed values, keys that reveal nothing, and TLS to Redis.

use serde_json::{Value, json};

use crate::{
    http::upstream_tls::certificates,
    operations::cli::command,
    support::{
        Answer, Client, RedisServer, Script, Setup, Sidecache, Upstream, eventually, run,
        samples::{CHAT, QUERY, chat, chat_answer, chat_choice},
    },
};

const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
/// A key of the same length in base64.
const TWO: &str = "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI=";
const OTHER: &str = "3333333333333333333333333333333333333333333333333333333333333333";

/// A sidecache with an encryption key, and maybe the previous one.
async fn with_keys(upstream: &Upstream, redis: &RedisServer, keys: &[&str]) -> Sidecache {
    let names = ["CACHE_ENCRYPTION_KEY", "CACHE_ENCRYPTION_KEY_OLD"];
    let setup =
        Setup::to(&upstream.url()).arguments(&["--redis", &redis.url()]).env("CACHE_NEAR_MEMORY", "0");
    names.iter().zip(keys).fold(setup, |setup, (name, key)| setup.env(name, key)).start().await
}

/// The key that `Cache-Status` names.
fn key(cache_status: &str) -> &str {
    cache_status.split("key=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a key")
}

/// Waits until `answer`, a miss, is written to Redis.
async fn written(sidecache: &Sidecache, answer: &Answer) {
    let id = answer.header("x-request-id");
    let is = |line: &Value| line["operation"] == "cache_store" && line["request_id"] == id;
    sidecache.log.wait_for("the write", is).await;
}

/// Waits until something is stored under the key of the answer to `question`, and gives that key.
async fn stored(sidecache: &Sidecache, redis: &RedisServer, target: &str, question: &Value) -> String {
    let answer = sidecache.client().post(target, question).await;
    let key = key(answer.header("cache-status")).to_owned();
    if answer.cache() == "MISS" {
        written(sidecache, &answer).await;
    }
    eventually("it is stored", async || (redis.cli(&["EXISTS", &key]) == "1").then_some(())).await;
    key
}

#[test]
fn a_redis_dump_shows_no_plain_text() {
    run(async {
        let upstream = Upstream::start(|request| match request.target.split('?').next() {
            Some(CHAT) => Script::json(&chat_choice(json!({"role": "assistant", "content": "canary-answer"}), "stop")),
            Some("/v1/embeddings") => Script::json(&json!({"object": "list", "model": "canary-model",
                "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1, "total_tokens": 1}})),
            _ => Script::json_with(
                200,
                &[("cache-tag", "canary-tag"), ("x-some", "canary-header")],
                &json!({"answer": "canary-answer", "sources": [{"document_id": "canary-document"}]}),
            ),
        })
        .await;
        for (keys, shown) in [(&[][..], true), (&[ONE], false)] {
            let redis = RedisServer::start();
            redis.cli(&["CONFIG", "SET", "rdbcompression", "no"]);
            let sidecache = with_keys(&upstream, &redis, keys).await;
            let client = sidecache.client();
            let headers = [
                ("authorization", "Bearer canary-bearer"),
                ("x-tenant", "canary-tenant"),
                ("idempotency-key", "canary-turn"),
            ];
            let prompt = json!({"model": "m", "messages": [{"role": "user", "content": "canary-prompt"}]});
            let turn = json!({"query": "canary-question", "conversation_id": "canary-conversation"});
            let texts = json!({"model": "e", "input": ["canary-text"]});
            for (target, body) in [(CHAT, &prompt), (QUERY, &turn), ("/v1/embeddings", &texts)] {
                let target = format!("{target}?canary=1");
                assert_eq!(client.post_with(&target, &headers, body).await.cache(), "MISS", "{target}");
                eventually("a hit", async || {
                    (client.post_with(&target, &headers, body).await.cache() == "HIT").then_some(())
                })
                .await;
            }
            // Invalidations are stored too.
            client.request("GET", "/api/v1/documents/canary-document", &headers, "").await;
            client.request("PUT", "/api/v1/documents/canary-document", &headers, "").await;
            client.request("PUT", "/api/v1/conversations/canary-conversation", &headers, "").await;
            let dump = String::from_utf8_lossy(&redis.dump()).into_owned();
            assert!(dump.contains("sidecache:query:"), "entries were dumped");
            assert_eq!(dump.contains("canary"), shown, "with {keys:?}");
        }
    });
}

#[test]
fn the_reported_key_is_the_key_in_redis() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let (open, redis) = (RedisServer::start(), RedisServer::start());
        let plain = stored(&with_keys(&upstream, &open, &[]).await, &open, CHAT, &chat()).await;
        let sidecache = with_keys(&upstream, &redis, &[ONE]).await;
        let named = stored(&sidecache, &redis, CHAT, &chat()).await;
        assert_ne!(plain, named, "who knows the question does not know the key");
        assert_eq!(sidecache.client().post(CHAT, &chat()).await.cache(), "HIT");
        let is_entry = |key: &&str| key.starts_with("sidecache:query:");
        assert_eq!(redis.cli(&["KEYS", "*"]).lines().filter(is_entry).collect::<Vec<_>>(), [named]);
        assert_eq!(upstream.calls(), 2);
    });
}

#[test]
fn only_a_replica_with_the_encryption_key_reads_sealed_values() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let redis = RedisServer::start();
        stored(&with_keys(&upstream, &redis, &[ONE]).await, &redis, CHAT, &chat()).await;
        for (keys, turn) in [(&[ONE][..], "HIT"), (&[OTHER], "MISS"), (&[], "MISS")] {
            let sidecache = with_keys(&upstream, &redis, keys).await;
            let answer = sidecache.client().post(CHAT, &chat()).await;
            assert_eq!((answer.cache(), answer.json()), (turn, chat_answer()), "{keys:?}");
        }
    });
}

#[test]
fn the_encryption_key_can_be_rotated_without_losing_entries() {
    run(async {
        let upstream = Upstream::start(|request| match request.target.as_str() {
            CHAT => Script::json(&chat_answer()),
            _ => Script::json(&json!({"object": "list", "model": "e", "usage": {"prompt_tokens": 2, "total_tokens": 2},
                "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}, {"object": "embedding", "index": 1, "embedding": [1.5]}]})),
        })
        .await;
        let redis = RedisServer::start();
        let texts = json!({"model": "e", "input": ["a", "b"]});
        let first = with_keys(&upstream, &redis, &[ONE]).await;
        let old = stored(&first, &redis, CHAT, &chat()).await;
        let vectors = first.client().post("/v1/embeddings", &texts).await;
        eventually("both vectors", async || {
            (redis.cli(&["KEYS", "sidecache:embedding:*"]).lines().count() == 2).then_some(())
        })
        .await;
        drop(first);
        let second = with_keys(&upstream, &redis, &[TWO, ONE]).await;
        let answer = second.client().post(CHAT, &chat()).await;
        assert_eq!((answer.cache(), answer.json()), ("HIT", chat_answer()));
        let new = key(answer.header("cache-status"));
        assert_ne!(new, old);
        let again = second.client().post("/v1/embeddings", &texts).await;
        assert_eq!((again.cache(), &again.json()["data"]), ("HIT", &vectors.json()["data"]));
        eventually("they are kept under the new key", async || {
            let are_there = redis.cli(&["EXISTS", new]) == "1"
                && redis.cli(&["KEYS", "sidecache:embedding:*"]).lines().count() == 4;
            are_there.then_some(())
        })
        .await;
        let ttl = |key| redis.cli(&["PTTL", key]).parse::<i64>().expect("a number");
        assert!(
            ttl(new) > 0 && ttl(new) <= ttl(&old) + 1000,
            "no longer than before: {} {}",
            ttl(new),
            ttl(&old)
        );
        drop(second);
        redis.cli(&["DEL", &old]);
        let third = with_keys(&upstream, &redis, &[TWO]).await;
        assert_eq!(third.client().post(CHAT, &chat()).await.cache(), "HIT");
        assert_eq!(third.client().post("/v1/embeddings", &texts).await.cache(), "HIT");
        assert_eq!(upstream.calls(), 2);
    });
}

#[test]
fn invalidations_hold_under_the_old_and_the_new_key() {
    run(async {
        let upstream =
            Upstream::always(Script::json(&json!({"answer": "a", "sources": [{"document_id": "d"}]}))).await;
        let redis = RedisServer::start();
        let question = json!({"query": "q"});
        stored(&with_keys(&upstream, &redis, &[ONE]).await, &redis, QUERY, &question).await;
        let sidecache = with_keys(&upstream, &redis, &[TWO, ONE]).await;
        assert_eq!(sidecache.client().post(QUERY, &question).await.cache(), "HIT");
        assert_eq!(sidecache.client().request("PUT", "/api/v1/documents/d", &[], "").await.status, 200);
        assert_eq!(sidecache.client().post(QUERY, &question).await.cache(), "MISS");
    });
}

#[test]
fn a_value_that_cannot_be_decrypted_is_a_counted_miss() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let redis = RedisServer::start();
        let sidecache = with_keys(&upstream, &redis, &[ONE]).await;
        let other = json!({"model": "m", "messages": [{"role": "user", "content": "Another?"}]});
        let mut errors = 0;
        for spoil in ["changed", "another's", "plain"] {
            let key = stored(&sidecache, &redis, CHAT, &chat()).await;
            match spoil {
                // A single new byte could equal the old one.
                "changed" => redis.cli(&["SETRANGE", &key, "100", &"x".repeat(16)]),
                "plain" => redis.cli(&["SET", &key, "scE\u{5}"]),
                _ => {
                    let theirs = stored(&sidecache, &redis, CHAT, &other).await;
                    redis.cli(&["COPY", &theirs, &key, "REPLACE"])
                }
            };
            let answer = sidecache.client().post(CHAT, &chat()).await;
            assert_eq!((answer.status, answer.cache()), (200, "MISS"), "{spoil}");
            errors += 1;
            let counted = sidecache.health().await["cache"]["errors"].as_u64().expect("a count");
            assert!(counted >= errors, "{spoil}: {counted}");
            // A late write would overwrite the next value.
            written(&sidecache, &answer).await;
            redis.cli(&["DEL", &key]);
        }
    });
}

#[test]
fn operators_see_and_change_sealed_entries() {
    run(async {
        // A summary that is longer than the first part of a sealed value, and a body that is longer than
        // both.
        let tags: Vec<_> = (0..200).map(|n| format!("a-rather-long-tag-{n}")).collect();
        let mut answer = json!({"answer": "a".repeat(100_000), "sources": []});
        answer["sources"] = tags.iter().map(|tag| json!({"document_id": tag})).collect();
        let upstream = Upstream::always(Script::json(&answer)).await;
        let redis = RedisServer::start();
        let setup = Setup::to(&upstream.url()).arguments(&["--redis", &redis.url()]);
        let setup = setup.config("[store]\ntimeout = \"5s\"");
        let sidecache = setup.env("CACHE_ENCRYPTION_KEY", ONE).admin().start().await;
        let operator = Client::new(sidecache.admin());
        let question = json!({"query": "q"});
        let key = stored(&sidecache, &redis, QUERY, &question).await;
        let explained = command(
            &Setup::bare()
                .env("CACHE_ENCRYPTION_KEY", ONE)
                .arguments(&["explain", "--json", "--path", QUERY]),
            &question.to_string(),
        );
        assert_eq!(explained.json()["key"], key);
        let list = operator.get("/entries?kind=query").await.json();
        assert_eq!((&list["entries"][0]["key"], &list["more"]), (&json!(key), &json!(false)), "{list}");
        let shown = operator.get(&format!("/entries/{key}")).await.json();
        assert_eq!(shown["body"], answer.to_string());
        for dry_run in [true, false] {
            let purge = json!({"tag": tags[150], "dry_run": dry_run});
            assert_eq!(operator.post("/purge", &purge).await.json()["purged"], 1, "{purge}");
        }
        assert_eq!(sidecache.client().post(QUERY, &question).await.cache(), "MISS");
        let by_hand = json!({"body": {"answer": "by hand"}});
        let headers = [("content-type", "application/json")];
        let put = operator.request("PUT", &format!("/entries/{key}"), &headers, by_hand.to_string()).await;
        assert_eq!(put.status, 200, "{}", put.text());
        let served = sidecache.client().post(QUERY, &question).await;
        assert_eq!((served.cache(), served.json()), ("HIT", by_hand["body"].clone()));
        assert!(!String::from_utf8_lossy(&redis.dump()).contains("by hand"));
    });
}

#[test]
fn redis_behind_tls_requires_a_client_certificate_and_a_user() {
    run(async {
        let (dir, strangers) = (certificates(), certificates());
        let path = |name: &str| dir.path().join(name).display().to_string();
        let port = RedisServer::free_port();
        let redis = RedisServer::start_with(&[
            "--tls-port",
            &port.to_string(),
            "--tls-auth-clients",
            "yes",
            "--tls-cert-file",
            &path("cert.pem"),
            "--tls-key-file",
            &path("key.pem"),
            "--tls-ca-cert-file",
            &path("ca.pem"),
        ]);
        redis.cli(&["ACL", "SETUSER", "cache", "on", ">canary-pass", "~sidecache:*", "+@all"]);
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let url = format!("rediss://cache:canary-pass@localhost:{port}");
        let settings = |ca: &str, client: &str| {
            format!("[store]\ntimeout = \"5s\"\nredis = \"{url}\"\nredis_ca = \"{ca}\"\n{client}")
        };
        let client = format!("redis_cert = \"{}\"\nredis_key = \"{}\"", path("cert.pem"), path("key.pem"));
        let foreign = strangers.path().join("ca.pem").display().to_string();
        for (config, connected) in [
            (settings(&path("ca.pem"), &client), true),
            (settings(&path("ca.pem"), ""), false),
            (settings(&foreign, &client), false),
        ] {
            let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
            if connected {
                eventually("a connection", async || {
                    (sidecache.health().await["cache"]["connected"] == true).then_some(())
                })
                .await;
            } else {
                sidecache.log.lifecycle("Cache store lost").await;
                assert_eq!(sidecache.health().await["cache"]["connected"], false, "{config}");
            }
            assert_eq!(sidecache.client().post(CHAT, &chat()).await.status, 200);
            if connected {
                stored(&sidecache, &redis, CHAT, &chat()).await;
                assert_eq!(sidecache.client().post(CHAT, &chat()).await.cache(), "HIT");
            }
            assert!(!sidecache.log.text().contains("canary"), "{}", sidecache.log.text());
        }
    });
}
