//! From start to stop: refusals, `check`, draining, reloading.

use std::{net::TcpListener, process::Output};

use serde_json::Value;

use crate::support::{
    Client, Gate, RedisServer, Script, Setup, Sidecache, Upstream, eventually, run,
    samples::{CHAT, chat, chat_answer},
};

const NOWHERE: &str = "http://127.0.0.1:9";

/// Runs a command to its end.
fn output(setup: &Setup) -> Output {
    setup.command().output().expect("the binary")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn an_impossible_start_is_reported_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let log = file.join("under-a-file/sidecache.log");
    let log = log.to_str().expect("UTF-8");
    for (what, setup, received) in [
        (
            "taken",
            Setup::to(NOWHERE).arguments(&["--listen", &taken]),
            &[taken.as_str(), "--listen", "LISTEN"][..],
        ),
        (
            "taken by the admin listener",
            Setup::to(NOWHERE).arguments(&["--admin-listen", &taken]),
            &[taken.as_str(), "--admin-listen", "ADMIN_LISTEN"],
        ),
        ("no upstream", Setup::bare(), &["upstream.url", "UPSTREAM_URL", "--upstream"]),
        ("no URL", Setup::to("localhost:8000"), &["--upstream", "http://"]),
        ("another scheme", Setup::to("ftp://127.0.0.1"), &["--upstream", "http://"]),
        ("no Redis", Setup::to(NOWHERE).env("REDIS_URL", "http://127.0.0.1"), &["REDIS_URL", "redis://"]),
        (
            "an unknown key",
            Setup::to(NOWHERE).config("[ttl]\nqeury = \"1m\""),
            &["sidecache.toml:2", "qeury", "did you mean `", "query"],
        ),
        (
            "a bad value",
            Setup::to(NOWHERE).config("\n[ttl]\nquery = \"1 fortnight\""),
            &["sidecache.toml:3", "ttl.query", "fortnight"],
        ),
        ("bad syntax", Setup::to(NOWHERE).config("[ttl\n"), &["sidecache.toml:1"]),
        (
            "an open admin listener",
            Setup::to(NOWHERE).arguments(&["--admin-listen", "0.0.0.0:0"]),
            &["admin", "ADMIN_TOKEN", "127.0.0.1"],
        ),
        ("no log folder", Setup::to(NOWHERE).env("LOG_FILE", log), &["under-a-file", "LOG_FILE"]),
        (
            "an invalid level",
            Setup::to(NOWHERE).arguments(&["--log-level", "LOUD"]),
            &["--log-level", "LOUD", "DEBUG", "ERROR"],
        ),
    ] {
        let ended = output(&setup);
        let complaint = text(&ended.stderr);
        assert!(!ended.status.success(), "{what}: {complaint}");
        assert_eq!(complaint.trim_end().lines().count(), 1, "{what}: {complaint}");
        for part in received {
            assert!(complaint.contains(part), "{what}: {part:?} is not in {complaint}");
        }
    }
}

#[test]
fn check_prints_the_effective_settings_with_secrets_masked() {
    run(async {
        let redis = RedisServer::start();
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let config =
            "[ttl]\nquery = \"10m\"\n[[route]]\nname = \"mine\"\nmatch = \"GET /mine\"\nkind = \"other\"";
        let setup = Setup::bare()
            .config(config)
            .arguments(&["check", "--strict"])
            .env("UPSTREAM_URL", &upstream.url())
            .env("REDIS_URL", &format!("{}/0", redis.url().replace("://", "://user:canary@")))
            .env("ADMIN_TOKEN", "canary-token-canary");
        std::fs::write(setup.dir().join(".env"), "CACHE_DOCUMENT_TTL=7m\nCACHE_QUERY_TTL=\n")
            .expect("a file");
        redis.cli(&["ACL", "SETUSER", "user", "on", ">canary", "~*", "+@all"]);
        let ended = output(&setup);
        let (received, complaint) = (text(&ended.stdout), text(&ended.stderr));
        assert!(ended.status.success(), "{received}{complaint}");
        assert!(!received.contains("canary") && !complaint.contains("canary"), "{received}{complaint}");
        for (setting, parts) in [
            ("upstream.url", &[upstream.url().as_str(), "UPSTREAM_URL"][..]),
            ("ttl.query", &["10m", "sidecache.toml:2"]),
            ("ttl.document", &["7m", ".env"]),
            ("ttl.embedding", &["24h", "default"]),
            ("admin.token", &["***", "ADMIN_TOKEN"]),
            ("store.redis", &["***", "REDIS_URL"]),
            ("listen", &["127.0.0.1:0", "--listen"]),
        ] {
            let line = received.lines().find(|line| line.split_whitespace().next() == Some(setting));
            let line = line.unwrap_or_else(|| panic!("{setting}: {received}"));
            for part in parts {
                assert!(line.contains(part), "{part:?} is not in {line}");
            }
        }
        assert!(received.contains("mine") && received.contains("POST /api/v1/query"), "{received}");
    });
}

#[test]
fn check_lists_the_routes_with_where_they_come_from() {
    let setup = Setup::to(NOWHERE)
        .config("[[route]]\nmatch = \"GET /mine\"\nkind = \"other\"")
        .env("CACHE_ROUTES", "POST /embed embedding 24h")
        .arguments(&["check", "--route", "POST /chat", "--route", "GET /page 0"]);
    let received = text(&output(&setup).stdout);
    let (_, routes) = received.split_once("routes, the first").expect("the routes");
    let lines: Vec<_> = routes.lines().skip(1).take(5).map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "POST /chat  query  1800 s  (--route)",
            "GET /page  document  0 s  (--route)",
            "POST /embed  embedding  86400 s  (CACHE_ROUTES)",
            "GET /mine  other  3600 s  (file)",
            "POST /openai/deployments/{name}/chat/completions  query  1800 s  (built in)",
        ],
        "{received}"
    );
    let clash = output(&setup.config("[[route]]\nmatch = \"POST /chat\"\nkind = \"query\""));
    let complaint = text(&clash.stderr);
    assert_eq!(clash.status.code(), Some(2), "{complaint}");
    assert!(complaint.contains("sidecache.toml:4: route: \"POST /chat\""), "{complaint}");
    assert!(complaint.contains("--route"), "{complaint}");
}

#[test]
fn check_warns_of_unreachable_servers_and_fails_if_strict() {
    let nowhere = format!("127.0.0.1:{}", RedisServer::free_port());
    for (arguments, good) in [(&["check"][..], true), (&["check", "--strict"], false)] {
        let setup = Setup::to(&format!("http://{nowhere}"))
            .arguments(&["--redis", &format!("redis://{nowhere}")])
            .arguments(arguments);
        let ended = output(&setup);
        let complaint = text(&ended.stderr);
        assert_eq!(ended.status.success(), good, "{complaint}");
        assert!(complaint.contains("upstream.url") && complaint.contains("store.redis"), "{complaint}");
    }
    let bad = output(&Setup::to(NOWHERE).arguments(&["check"]).config("scop = \"shared\""));
    assert!(!bad.status.success());
    assert!(text(&bad.stderr).contains("sidecache.toml:1: scop"), "{}", text(&bad.stderr));
}

/// What `serve` would reject is an error, not a warning.
#[test]
fn check_rejects_unusable_files_and_warns_of_settings_without_effect() {
    let file = "[store]\nredis = \"rediss://127.0.0.1:1\"\nredis_ca = \"/no/such/ca.pem\"";
    let bad = output(&Setup::to(NOWHERE).arguments(&["check"]).config(file));
    assert_eq!(bad.status.code(), Some(2));
    let complaint = text(&bad.stderr);
    assert!(complaint.contains("sidecache.toml:3: store.redis_ca: /no/such/ca.pem"), "{complaint}");
    let key = "0".repeat(64);
    let plain = output(&Setup::to(NOWHERE).arguments(&["check"]).env("CACHE_ENCRYPTION_KEY", &key));
    let complaint = text(&plain.stderr);
    assert!(complaint.contains("store.encryption_key has no effect"), "{complaint}");
    assert!(!complaint.contains(&key), "{complaint}");
}

#[test]
fn a_drain_finishes_running_requests() {
    run(async {
        let go_on = Gate::new();
        let paced = Script::chunked("text/plain").chunk("begun ").wait(&go_on).chunk("and finished").end();
        let upstream = Upstream::always(paced).await;
        let mut sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let (mut passed, mut cached) =
            (client.stream("/some", &chat()).await, client.stream(CHAT, &chat()).await);
        passed.until("begun ").await;
        cached.until("begun ").await;
        sidecache.terminate();
        sidecache.log.lifecycle("draining").await;
        let address = sidecache.address();
        eventually("nobody is accepted any more", async || {
            tokio::net::TcpStream::connect(address).await.is_err().then_some(())
        })
        .await;
        go_on.open();
        assert_eq!(passed.rest().await.as_deref(), Ok("begun and finished"));
        assert_eq!(cached.rest().await.as_deref(), Ok("begun and finished"));
        let status = sidecache.ended().await;
        assert_eq!(status.code(), Some(0));
        sidecache.log.lifecycle("stopped").await;
    });
}

#[test]
fn readiness_ends_before_the_listener_closes() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let mut sidecache = Setup::to(&upstream.url()).config("drain_delay = \"3s\"").admin().start().await;
        let admin = crate::support::Client::new(sidecache.admin());
        let client = sidecache.client();
        assert_eq!(client.get("/health/ready").await.status, 200);
        sidecache.terminate();
        eventually("not ready", async || (client.get("/health/ready").await.status == 503).then_some(()))
            .await;
        assert_eq!(client.get("/health/live").await.status, 200);
        assert_eq!(admin.get("/health/ready").await.status, 503);
        // Clients that do not know yet are still served.
        assert_eq!(client.post(CHAT, &chat()).await.status, 200);
        assert_eq!(sidecache.ended().await.code(), Some(0));
    });
}

#[test]
fn a_drain_ends_after_drain_timeout() {
    run(async {
        let upstream = Upstream::always(Script::chunked("text/plain").chunk("begun").hang()).await;
        let mut sidecache = Setup::to(&upstream.url()).config("drain_timeout = \"200ms\"").start().await;
        let mut stream = sidecache.client().stream("/some", &chat()).await;
        stream.until("begun").await;
        assert_eq!(sidecache.stop().await.code(), Some(0));
        stream.rest().await.expect_err("a cut body");
    });
}

#[test]
fn idle_connections_do_not_delay_a_stop() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let mut sidecache = Sidecache::start(&upstream.url()).await;
        let mut raw = crate::support::RawClient::connect(sidecache.address()).await;
        raw.send("GET /some HTTP/1.1\r\nhost: a\r\n\r\n").await;
        raw.head().await;
        assert_eq!(sidecache.stop().await.code(), Some(0));
        sidecache.log.lifecycle("stopped").await;
        assert!(
            sidecache.log.all().iter().all(|line| line["level"] != "WARNING"),
            "{}",
            sidecache.log.text()
        );
    });
}

#[test]
fn answers_of_a_draining_process_close_their_connections() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let mut sidecache = Setup::to(&upstream.url()).config("drain_delay = \"1s\"").start().await;
        let client = sidecache.client();
        assert_eq!(client.post(CHAT, &chat()).await.header("connection"), "");
        sidecache.terminate();
        eventually("told to go elsewhere", async || {
            let answer = client.post(CHAT, &chat()).await;
            assert_eq!(answer.status, 200);
            (answer.header("connection") == "close").then_some(())
        })
        .await;
        assert_eq!(sidecache.ended().await.code(), Some(0));
    });
}

/// Who connected before the listener closed has its answer, even if its request comes a moment later.
#[test]
fn a_connection_that_is_open_at_a_stop_may_send_a_request() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let mut sidecache = Sidecache::start(&upstream.url()).await;
        let address = sidecache.address();
        let mut fresh = crate::support::RawClient::connect(address).await;
        let mut used = crate::support::RawClient::connect(address).await;
        used.send("GET /some HTTP/1.1\r\nhost: a\r\n\r\n").await;
        used.until(&chat_answer().to_string()).await;
        sidecache.terminate();
        sidecache.log.lifecycle("draining").await;
        for client in [&mut fresh, &mut used] {
            client.send("GET /some HTTP/1.1\r\nhost: a\r\n\r\n").await;
        }
        for client in [fresh, used] {
            let answer = client.rest().await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
        }
        assert_eq!(sidecache.ended().await.code(), Some(0));
    });
}

#[test]
fn a_second_signal_ends_the_drain_at_once() {
    run(async {
        for second in [Sidecache::terminate, Sidecache::interrupt] {
            let upstream = Upstream::always(Script::chunked("text/plain").chunk("begun").hang()).await;
            let mut sidecache = Setup::to(&upstream.url()).config("drain_timeout = \"1h\"").start().await;
            let mut stream = sidecache.client().stream("/some", &chat()).await;
            stream.until("begun").await;
            sidecache.terminate();
            sidecache.log.lifecycle("draining").await;
            second(&sidecache);
            assert_eq!(sidecache.ended().await.code(), Some(0));
            stream.rest().await.expect_err("a cut body");
            sidecache.log.lifecycle("asked to stop again").await;
            sidecache.log.lifecycle("stopped").await;
        }
    });
}

#[test]
fn signals_for_nothing_are_noted_and_change_nothing() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for name in ["USR1", "USR2"] {
            sidecache.signal(name);
            let line = sidecache.log.lifecycle(&format!("SIG{name} does nothing")).await;
            assert_eq!(line["level"], "INFO");
        }
        assert_eq!(sidecache.client().post(CHAT, &chat()).await.status, 200);
    });
}

/// Waits for this many lifecycle lines with this message; returns the last one.
async fn received(sidecache: &Sidecache, message: &str, times: usize) -> Value {
    eventually(message, async || {
        let is =
            |line: &Value| line["message"].as_str().is_some_and(|received| received.starts_with(message));
        sidecache.log.all().into_iter().filter(is).nth(times - 1)
    })
    .await
}

#[test]
fn a_reload_applies_every_setting_that_needs_no_restart() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let route = |settings: &str| {
            format!(
                "[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\ndialect = \"openai-chat\"\n{settings}\n"
            )
        };
        let sidecache = Setup::to(&upstream.url()).config(&route("ttl = \"0s\"")).start().await;
        let client = sidecache.client();
        let asked = async || client.post("/ask", &chat()).await.cache().to_owned();
        assert_eq!(asked().await, "BYPASS");
        sidecache.reconfigure(&route("ttl = \"10m\""));
        received(&sidecache, "reloaded", 1).await;
        assert_eq!((asked().await, asked().await), ("MISS".to_owned(), "HIT".to_owned()));

        sidecache.reconfigure("[[route]]\nmatch = \"POST /ask\"\nkind = \"qurey\"\n");
        let line = received(&sidecache, "reload failed", 1).await;
        assert_eq!(line["level"], "ERROR");
        let errors = line["errors"].to_string();
        assert!(errors.contains("sidecache.toml:3") && errors.contains("qurey"), "{line}");
        assert_eq!(asked().await, "HIT", "the old settings stay");

        sidecache.reconfigure(&format!("[store]\nnamespace = \"other\"\n{}", route("cache = false")));
        let line = received(&sidecache, "reloaded", 2).await;
        assert_eq!(line["waiting_for_restart"], serde_json::json!(["store.namespace"]), "{line}");
        assert_eq!(asked().await, "PASS");
        sidecache.hangup();
        let line = received(&sidecache, "reloaded", 3).await;
        assert_eq!(
            line["waiting_for_restart"],
            serde_json::json!(["store.namespace"]),
            "it still waits: {line}"
        );
        sidecache.reconfigure(&route("cache = false"));
        let line = received(&sidecache, "reloaded", 4).await;
        assert_eq!(
            line["waiting_for_restart"],
            serde_json::json!([]),
            "what runs is asked for again: {line}"
        );
    });
}

#[test]
fn the_file_in_the_folder_is_read_shown_and_read_again() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let config = |level: &str| format!("upstream.url = \"{}\"\nlog.level = \"{level}\"", upstream.url());
        let sidecache = Setup::bare().config(&config("info")).config_unnamed().start().await;
        let path = sidecache.dir().canonicalize().expect("a folder").join("sidecache.toml");
        let starting = sidecache.log.lifecycle("starting").await;
        assert_eq!(starting["config_file"].as_str(), path.to_str(), "{starting}");
        let upstream_url = &starting["settings"]["upstream.url"];
        assert_eq!(upstream_url["source"], "sidecache.toml:1", "{starting}");
        sidecache.reconfigure(&config("debug"));
        let line = received(&sidecache, "reloaded", 1).await;
        assert_eq!(line["settings"]["log.level"]["value"], "DEBUG", "{line}");
        // If it is gone, its settings do not become the defaults.
        std::fs::remove_file(&path).expect("removed");
        sidecache.hangup();
        let line = received(&sidecache, "reload failed", 1).await;
        assert!(line["errors"].to_string().contains("sidecache.toml: cannot be read"), "{line}");
        assert_eq!(sidecache.client().post(CHAT, &chat()).await.status, 200);
    });
}

#[test]
fn check_says_which_file_it_has_read() {
    let found = Setup::to(NOWHERE).arguments(&["check"]).config_unnamed();
    let named =
        Setup::to(NOWHERE).arguments(&["check"]).config_unnamed().env("SIDECACHE_CONFIG", "other.toml");
    std::fs::write(named.dir().join("other.toml"), "epoch = \"7\"").expect("a file");
    for (setup, file) in [(found, "sidecache.toml"), (named, "other.toml")] {
        let path = setup.dir().canonicalize().expect("a folder").join(file);
        let received = text(&output(&setup).stdout);
        let first = format!("configuration file: {}\n", path.display());
        assert!(received.starts_with(&first), "{first}{received}");
        assert_eq!(received.contains("(other.toml:1)"), file == "other.toml", "{received}");
    }
}

#[test]
fn a_reload_never_removes_the_token_of_an_open_admin_listener() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let exposed = "[admin]\nlisten = \"0.0.0.0:0\"\ntoken = \"a-token-of-some-length\"\n";
        let sidecache = Setup::to(&upstream.url()).config(exposed).admin_of_file().start().await;
        let operator = Client::new(([127, 0, 0, 1], sidecache.admin().port()).into());
        assert_eq!(operator.get("/stats").await.status, 401);
        // The new settings alone would be fine, but the running listener is open to all.
        for (round, harmless) in
            ["[admin]\nlisten = \"127.0.0.1:0\"\n", "[admin]\nlisten = \"off\"\n"].iter().enumerate()
        {
            sidecache.reconfigure(harmless);
            let line = received(&sidecache, "reload failed", round + 1).await;
            assert!(line["errors"].to_string().contains("admin.token"), "{line}");
            assert_eq!(operator.get("/stats").await.status, 401);
        }
        sidecache.reconfigure(&exposed.replace("0.0.0.0", "127.0.0.1").replace("some", "another"));
        received(&sidecache, "reloaded", 1).await;
        let token = [("authorization", "Bearer a-token-of-another-length")];
        assert_eq!(operator.request("GET", "/stats", &token, "").await.status, 200);
    });
}

#[test]
fn a_moved_log_file_is_opened_again() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let setup = Setup::to(&upstream.url());
        let (path, moved) = (setup.dir().join("a.log"), setup.dir().join("a.log.old"));
        let sidecache = setup.arguments(&["--log-file", path.to_str().expect("UTF-8")]).start().await;
        std::fs::rename(&path, &moved).expect("moved");
        sidecache.hangup();
        received(&sidecache, "reloaded", 1).await;
        sidecache.client().request("GET", "/some", &[("x-request-id", "after")], "").await;
        eventually("the new file has the new lines", async || {
            std::fs::read_to_string(&path).ok().filter(|text| text.contains("\"after\""))
        })
        .await;
        let old = std::fs::read_to_string(&moved).expect("the old file");
        assert!(old.contains("starting") && !old.contains("\"after\""), "{old}");
    });
}
