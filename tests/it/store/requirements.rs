//! What a Redis lacks, or refuses, is named: by `check`, in one line of the log, and at `/health`. Requests go on.

use std::process::Output;

use serde_json::Value;

use crate::support::{
    Client, Cluster, RedisServer, Script, Sentinels, Setup, Sidecache, Upstream, eventually, run,
    samples::{CHAT, chat_answer},
};

const OPERATING: &str = include_str!("../../../docs/OPERATING.md");

const LINE: &str = "Cache store lacks something";

async fn upstream() -> Upstream {
    Upstream::forgetful(|_| Script::json(&chat_answer())).await
}

fn setup(upstream: &Upstream, redis: &str) -> Setup {
    Setup::to(&upstream.url()).arguments(&["--redis", redis]).config("[store]\nnear_memory = 0")
}

/// What `check --strict` says of Redis, and whether it succeeds.
fn check(upstream: &Upstream, redis: &str) -> (String, bool) {
    let setup = setup(upstream, redis).arguments(&["check", "--strict"]);
    let Output { stderr, status, .. } = setup.command().output().expect("the binary runs");
    (String::from_utf8_lossy(&stderr).into_owned(), status.success())
}

/// Asks a new question; it must be answered.
async fn ask(client: &Client, number: usize) -> String {
    let question =
        serde_json::json!({"model": "m", "messages": [{"role": "user", "content": format!("{number}")}]});
    let answer = client.post(CHAT, &question).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("cache-status").to_owned()
}

/// The texts of the lines about what is missing.
fn lines(sidecache: &Sidecache) -> Vec<String> {
    let all = sidecache.log.all().into_iter().filter(|line| line["message"] == LINE);
    all.map(|line| line["problem"].as_str().expect("a text").to_owned()).collect()
}

/// Waits until `/health` names `text`; whether all is well otherwise.
async fn named_at_health(sidecache: &Sidecache, text: &str) -> bool {
    eventually(text, async || {
        let health = sidecache.health().await;
        let problem = health["cache"]["store_problem"].as_str()?;
        problem.contains(text).then(|| health["status"] == "healthy")
    })
    .await
}

#[test]
fn a_redis_that_lacks_nothing_has_no_problem() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), upstream().await);
        let (text, is_good) = check(&upstream, &redis.url());
        assert!(is_good, "{text}");
        let sidecache = setup(&upstream, &redis.url()).start().await;
        let health = sidecache.health().await;
        assert_eq!(
            (&health["status"], health["cache"].get("store_problem")),
            (&Value::from("healthy"), None)
        );
        assert!(redis.keys() <= 2, "the look stores nothing");
    });
}

#[test]
fn commands_that_the_user_may_not_run_are_named_until_he_may() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), upstream().await);
        assert_eq!(redis.cli(&["ACL", "SETUSER", "default", "-exists", "-zadd"]), "OK");
        let text = "the user of Redis may not run EXISTS, ZADD";
        let (checked, is_good) = check(&upstream, &redis.url());
        assert!(!is_good && checked.contains(text), "{checked}");
        let sidecache = setup(&upstream, &redis.url()).start().await;
        assert!(!named_at_health(&sidecache, text).await, "scripts need EXISTS");
        assert_eq!(lines(&sidecache), [text]);
        assert_eq!(redis.cli(&["ACL", "SETUSER", "default", "+@all"]), "OK");
        redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        sidecache.log.lifecycle("Cache store has all that it needs").await;
        let health = sidecache.health().await;
        assert_eq!(health["cache"].get("store_problem"), None, "{health}");
    });
}

#[test]
fn commands_for_figures_are_named_and_are_no_fault_of_serving() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), upstream().await);
        assert_eq!(redis.cli(&["ACL", "SETUSER", "default", "-zadd", "-config"]), "OK");
        let sidecache = setup(&upstream, &redis.url()).start().await;
        assert!(named_at_health(&sidecache, "may not run ZADD").await);
    });
}

/// The user that docs/OPERATING.md makes.
#[test]
fn the_user_of_the_documentation_lacks_nothing() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), upstream().await);
        let (_, command) =
            OPERATING.split_once("redis-cli ACL SETUSER sidecache on '>PASSWORD'").expect("the command");
        let (command, _) = command.split_once("\n    sidecache ").expect("the next command");
        let rules: Vec<_> = command.split_whitespace().filter(|word| *word != "\\").collect();
        let rules: Vec<_> = rules.iter().map(|rule| rule.trim_matches('\'')).collect();
        let made = redis.cli(&[&["ACL", "SETUSER", "sidecache", "on", ">secret"], &rules[..]].concat());
        assert_eq!(made, "OK");
        let url = format!("redis://sidecache:secret@127.0.0.1:{}", redis.port());
        let (checked, is_good) = check(&upstream, &url);
        assert!(is_good, "{checked}");
    });
}

/// A master whose replica sidecache is led to.
#[test]
fn a_replica_is_named_and_nothing_is_said_to_be_stored() {
    run(async {
        let (sentinels, upstream) = (Sentinels::start().await, upstream().await);
        let master = sentinels.master();
        let [replica, master] = [1 - master, master].map(|place| &sentinels.servers[place]);
        let text =
            format!("127.0.0.1:{} is a replica: write redis://127.0.0.1:{},", replica.port(), master.port());
        let (checked, is_good) = check(&upstream, &replica.url());
        assert!(!is_good && checked.contains(&text), "{checked}");
        let sidecache = setup(&upstream, &replica.url()).start().await;
        assert!(!named_at_health(&sidecache, &text).await);
        assert!(!named_at_health(&sidecache, "READONLY").await);
        for number in 0..20 {
            let status = ask(&sidecache.client(), number).await;
            assert!(!status.contains("stored;") && !status.ends_with("stored"), "{status}");
        }
        assert_eq!(lines(&sidecache).len(), 1, "{:?}", lines(&sidecache));
    });
}

#[test]
fn sentinels_and_servers_of_a_cluster_are_named_with_the_url_to_write() {
    run(async {
        let (sentinels, upstream) = (Sentinels::start().await, upstream().await);
        let url = sentinels.url();
        let one = url.trim_start_matches("redis+sentinel://").split(',').next().expect("a host").to_owned();
        let cluster = Cluster::start().await;
        let node = format!("127.0.0.1:{}", cluster.servers[0].port());
        for (host, text) in [
            (&one, format!("{one} is a sentinel: write redis+sentinel://{one}/main")),
            (&node, format!("{node} is a server of a cluster: write redis+cluster://{node}")),
        ] {
            let redis = format!("redis://{host}");
            let (checked, is_good) = check(&upstream, &redis);
            assert!(!is_good && checked.contains(&text), "{checked}");
            let sidecache = setup(&upstream, &redis).start().await;
            assert!(!named_at_health(&sidecache, &text).await);
            for number in 0..20 {
                ask(&sidecache.client(), number).await;
            }
            assert_eq!(lines(&sidecache), [text]);
        }
    });
}

#[test]
fn a_redis_that_is_full_is_degraded_and_says_so_before_the_first_write() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), upstream().await);
        let sidecache = setup(&upstream, &redis.url()).start().await;
        ask(&sidecache.client(), 0).await;
        redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
        redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        assert!(!named_at_health(&sidecache, "OOM").await);
        for number in 1..20 {
            let status = ask(&sidecache.client(), number).await;
            assert!(!status.contains("stored;") && !status.ends_with("stored"), "{status}");
        }
        redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
        sidecache.log.lifecycle("Cache store takes writes again").await;
        eventually("healthy", async || (sidecache.health().await["status"] == "healthy").then_some(())).await;
    });
}

#[test]
fn settings_of_redis_that_do_not_suit_a_cache_are_named() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), upstream().await);
        redis.cli(&["CONFIG", "SET", "maxmemory", "100mb"]);
        redis.cli(&["CONFIG", "SET", "timeout", "10"]);
        let (checked, is_good) = check(&upstream, &redis.url());
        assert!(!is_good, "{checked}");
        assert!(
            checked.contains("maxmemory-policy noeviction") && checked.contains("idle for 10 s"),
            "{checked}"
        );
        let sidecache = setup(&upstream, &redis.url()).start().await;
        assert!(named_at_health(&sidecache, "noeviction").await, "requests are served all the same");
    });
}
