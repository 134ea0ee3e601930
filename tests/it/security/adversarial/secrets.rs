//! Secrets appear nowhere.

use serde_json::json;

use crate::support::{
    Client, RedisServer, Script, Setup, Upstream, run,
    samples::{CHAT, CREDENTIALS, QUERY, chat_choice},
};

/// A text that is in every secret and nowhere else.
const CANARY: &str = "canary";

const SECRET_QUERY: &str = "?api_key=canary-1&key=canary-2&token=canary-3&sig=canary-4&password=canary-5";

/// The pages for operators.
const PAGES: [&str; 14] = [
    "/",
    "/health",
    "/health/live",
    "/health/ready",
    "/stats",
    "/metrics",
    "/overview",
    "/history?range=24h",
    "/entries?kind=query",
    "/entries?kind=other",
    "/entries?limit=1",
    "/entries/query:00",
    "/purge",
    "/nothing",
];

async fn redis_with_password() -> RedisServer {
    let redis = RedisServer::start();
    redis.cli(&["CONFIG", "SET", "requirepass", "canary-redis"]);
    redis
}

#[test]
fn admin_pages_logs_and_errors_show_no_secret() {
    run(async {
        let redis = redis_with_password().await;
        let upstream = Upstream::start(|request| match request.target.split('?').next() {
            Some(CHAT) => {
                Script::json(&chat_choice(json!({"role": "assistant", "content": "canary-answer"}), "stop"))
            }
            Some(QUERY) => Script::json_with(500, &[], &json!({"error": "canary-upstream-error"})),
            Some("/cut") => Script::raw().send("canary-garbage\r\n\r\n").close(),
            _ => Script::whole(200, &[], "canary-page"),
        })
        .await;
        let sidecache = Setup::to(&upstream.url())
            .config("[errors]\nnormalize = true")
            .env("REDIS_URL", &format!("redis://:canary-redis@127.0.0.1:{}", redis.port()))
            .env("ADMIN_TOKEN", "canary-admin-token")
            .arguments(&["--log-level", "DEBUG"])
            .admin()
            .start()
            .await;
        let (client, admin) = (sidecache.client(), Client::new(sidecache.admin()));
        let question = json!({"model": "m", "messages": [{"role": "user", "content": "canary-prompt"}]});
        let mut received = String::new();
        for target in [CHAT, QUERY, "/cut", "/some"] {
            for body in [
                question.to_string(),
                json!({"query": "canary-question"}).to_string(),
                "{\"canary\":".to_owned(),
            ] {
                let answer = client.post_text(&format!("{target}{SECRET_QUERY}"), &CREDENTIALS, &body).await;
                // The body is the caller's own; headers that sidecache adds and its errors must not have it.
                received += &format!("{:?}", answer.headers);
                if answer.status >= 400 && target != QUERY {
                    received += &answer.text();
                }
            }
        }
        let refused =
            client.request("GET", "/some", &[("host", "canary@canary"), ("cookie", "canary")], "").await;
        assert_eq!(refused.status, 400);
        received += &refused.text();
        for page in PAGES {
            for token in ["canary-admin-token", "canary-wrong-token"] {
                let headers =
                    [("authorization", &*format!("Bearer {token}")), ("content-type", "application/json")];
                received += &admin.request("GET", page, &headers, "").await.text();
                received += &admin.request("POST", page, &headers, "{\"canary\":").await.text();
            }
        }
        received += &sidecache.health().await.to_string();
        // Redis stops, and its password changes: both are logged.
        redis.cli(&["AUTH", "canary-redis"]);
        redis.talk(&[
            &["AUTH", "canary-redis"],
            &["CONFIG", "SET", "requirepass", "canary-other"],
            &["CLIENT", "KILL", "TYPE", "normal"],
        ]);
        sidecache.log.lifecycle("Cache store lost").await;
        received += &sidecache.health().await.to_string();
        assert!(!received.contains(CANARY), "{received}");
        let log = sidecache.log.text();
        // Error bodies of the upstream are logged if the client does not get them.
        let leak = log.lines().find(|line| line.contains(CANARY) && !line.contains("canary-upstream-error"));
        assert_eq!(leak, None);
        let others = log.replace("canary-upstream-error", "");
        assert!(!others.contains(CANARY) && log.lines().count() > 50);
    });
}

#[test]
fn check_shows_no_secret_of_a_good_or_bad_configuration() {
    let settings = |redis: &str, token: &str, more: &str| {
        format!("[store]\nredis = {redis:?}\n{more}\n[admin]\ntoken = {token:?}\n")
    };
    let (redis, token) = ("redis://user:canary-redis@127.0.0.1:1/0", "canary-token-long-enough");
    for (config, arguments, good) in [
        (settings(redis, token, ""), &[][..], true),
        (settings("redis://:canary/x@h", token, ""), &[], false),
        (settings("http://:canary@h", token, ""), &[], false),
        (settings("redis://h:canary", token, ""), &[], false),
        (settings(redis, token, "namespace = \"canary!\""), &[], false),
        (settings(redis, "canary \u{e9}", ""), &[], false),
        (settings(redis, token, "redi = \"canary\""), &[], false),
        (settings(redis, token, "encryption_key = \"canary\""), &[], false),
        (settings(redis, token, "encryption_key_old = \"canary\""), &[], false),
        (format!("admin.token = [\"{token}\"]"), &[], false),
        (format!("admin.token = \"{token}"), &[], false),
        (format!("[store]\nredis = {redis}"), &[], false),
        (String::new(), &["--redis", "redis://canary:canary@"], false),
        (String::new(), &["--upstream", "http://user:canary@127.0.0.1:1"], false),
    ] {
        let setup = Setup::to("http://127.0.0.1:1").config(&config).arguments(arguments);
        let output = setup.command().arg("check").output().expect("it runs");
        let received = [output.stdout, output.stderr].concat();
        let received = String::from_utf8(received).expect("text");
        assert_eq!(output.status.success(), good, "{config}: {received}");
        // Names of settings may be repeated.
        let secret = received.replace("namespace = \"canary!\"", "").replace("\"canary!\"", "");
        assert!(!secret.contains(CANARY), "{config} {arguments:?}: {received}");
    }
}
