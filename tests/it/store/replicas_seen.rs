//! How many replicas share a Redis and a namespace.

use serde_json::Value;

use crate::support::{RedisServer, Setup, Sidecache, eventually, run};

const NOWHERE: &str = "http://127.0.0.1:9";

async fn start(redis: &RedisServer, arguments: &[&str]) -> Sidecache {
    Setup::to(NOWHERE).arguments(&["--redis", &redis.url()]).arguments(arguments).admin().start().await
}

async fn seen(sidecache: &Sidecache) -> Option<u64> {
    sidecache.health().await["cache"]["replicas"].as_u64()
}

async fn sees(sidecache: &Sidecache, count: u64) {
    eventually("the number of replicas", async || (seen(sidecache).await == Some(count)).then_some(())).await;
}

#[test]
fn replicas_of_one_namespace_see_each_other() {
    run(async {
        let redis = RedisServer::start();
        let first = start(&redis, &[]).await;
        sees(&first, 1).await;
        // Without a near cache, a replica reads the streams in another way.
        let second = Setup::to(NOWHERE)
            .config("[store]\nnear_memory = 0")
            .arguments(&["--redis", &redis.url()])
            .admin()
            .start()
            .await;
        sees(&second, 2).await;
        sees(&first, 2).await;
        let overview = second.operator().get("/overview").await.json();
        assert_eq!(overview["health"]["cache"]["replicas"], 2);
        let other = Setup::to(NOWHERE).config("[store]\nnamespace = \"other\"");
        let other = other.arguments(&["--redis", &redis.url()]).admin().start().await;
        sees(&other, 1).await;
        // A check looks at the same Redis, and serves nobody.
        let check = Setup::to(NOWHERE).arguments(&["check", "--redis", &redis.url()]);
        assert!(check.command().output().expect("it runs").status.success());
        assert_eq!(redis.cli(&["ZCARD", "sidecache:_:{retired}:replicas"]), "2");
        let alone = Setup::to(NOWHERE).admin().start().await;
        assert_eq!(alone.health().await["cache"].get("replicas"), None::<&Value>);
    });
}

#[test]
fn those_that_are_gone_are_forgotten() {
    run(async {
        let redis = RedisServer::start();
        let now: i64 =
            redis.cli(&["TIME"]).lines().next().expect("seconds").trim().parse().expect("a number");
        for (name, ago) in [("gone", 60), ("there", 30)] {
            redis.cli(&["ZADD", "sidecache:_:{retired}:replicas", &(now - ago).to_string(), name]);
        }
        let sidecache = start(&redis, &[]).await;
        sees(&sidecache, 2).await;
        let left: i64 =
            redis.cli(&["PTTL", "sidecache:_:{retired}:replicas"]).trim().parse().expect("a number");
        assert!((1..=45_000).contains(&left), "{left}");
        assert_eq!(sidecache.health().await["cache"]["total_keys"], 0, "it is no entry");
    });
}

/// A user of Redis without the right to it has all else.
#[test]
fn without_the_right_the_number_is_not_known() {
    run(async {
        let redis = RedisServer::start();
        let user = ["ACL", "SETUSER", "default", "-zadd"];
        assert_eq!(redis.cli(&user).trim(), "OK");
        let sidecache = start(&redis, &[]).await;
        let health = sidecache.health().await;
        assert_eq!(
            (&health["cache"]["connected"], health["cache"].get("replicas")),
            (&Value::from(true), None)
        );
    });
}
