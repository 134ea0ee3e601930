//! What operators see of keys and claims, and what they can get wrong.

use std::{fs, process::Command};

use serde_json::{Value, json};

use super::{
    Members, ROUTES, ask, bearer,
    login::{Login, jwks},
    routes,
};
use crate::support::{Script, Setup, Upstream, eventually, run};

const SCOPE: &str = "[\"jwt:tenant_id\", \"header:x-project\"]";

fn output(command: &mut Command) -> (bool, String) {
    let done = command.output().expect("the binary");
    let text = [done.stdout, done.stderr].map(|text| String::from_utf8(text).expect("text")).concat();
    (done.status.success(), text)
}

fn check(config: &str, strict: bool) -> (bool, String) {
    let setup = Setup::to("http://127.0.0.1:9").config(config);
    let mut command = setup.command();
    command.arg("check");
    if strict {
        command.arg("--strict");
    }
    output(&mut command)
}

#[test]
fn check_tries_the_keys() {
    run(async {
        let login = Login::new("a");
        let set = login.set();
        let server = Upstream::start(move |request| match &*request.target {
            "/good" => Script::json(&set),
            "/empty" => Script::json(&json!({"keys": []})),
            "/large" => Script::whole(200, &[], vec![b' '; 2 << 20]),
            _ => Script::json_with(404, &[], &json!({})),
        })
        .await;
        let url = |path: &str| routes(SCOPE) + &jwks(&format!("url = \"{}{path}\"", server.url()));
        for (path, fault) in [
            ("/good", None),
            ("/empty", Some("has no key of use (0 in all)")),
            ("/large", Some("is larger than 1048576 bytes")),
            ("/gone?key=secret", Some("the server answered 404")),
        ] {
            let config = url(path);
            let (_, text) =
                tokio::task::spawn_blocking(move || check(&config, false)).await.expect("it runs");
            match fault {
                None => assert!(!text.contains("warning: jwks"), "{text}"),
                Some(fault) => {
                    let line =
                        text.lines().find(|line| line.starts_with("warning: jwks.url: http://127.0.0.1:"));
                    let line = line.unwrap_or_else(|| panic!("{text}"));
                    assert!(line.contains(fault) && !line.contains("secret"), "{line}");
                }
            }
        }
        let exposed = routes(SCOPE) + &jwks("url = \"http://login.invalid/keys\"");
        let (_, text) = tokio::task::spawn_blocking(move || check(&exposed, true)).await.expect("it runs");
        assert!(text.contains("error: jwks.url is without TLS: "), "{text}");
    });
}

#[test]
fn a_file_of_no_use_stops_the_start_with_its_place() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("jwks.json");
    let config = jwks(&format!("file = \"{}\"", path.display()));
    for (text, why) in [(None, "No such file"), (Some("{}"), "is no JWKS: it has no list \"keys\"")] {
        if let Some(text) = text {
            fs::write(&path, text).expect("a file");
        }
        let setup = Setup::to("http://127.0.0.1:9").config(&config);
        let (success, text) = output(&mut setup.command());
        let place = format!("jwks.file: {}: {why}", path.display());
        assert!(!success && text.contains(&place), "{text}");
    }
}

#[test]
fn explain_names_claims_and_no_value() {
    let login = Login::new("a");
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, credentials: &str| {
        let path = dir.path().join(name);
        let request = format!(
            "POST {} HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: {credentials}\r\nX-Project: p\r\n\r\n{{\"query\": \"q\"}}",
            ROUTES[0]
        );
        fs::write(&path, request).expect("a file");
        path
    };
    let files = [
        write("one", &bearer(&login.token("canary-tenant", 0))),
        write("two", &bearer(&login.token("canary-tenant", 1))),
        write("other", &bearer(&login.token("canary-other", 2))),
        write("opaque", "Bearer canary-opaque"),
    ];
    let explained = |arguments: &[&std::path::Path]| {
        let setup = Setup::to("http://127.0.0.1:9").config(&routes(SCOPE));
        let mut command = setup.command();
        command.arg("explain").args(arguments);
        let (success, text) = output(&mut command);
        assert!(success && !text.contains("canary"), "{text}");
        text
    };
    let text = explained(&[&files[0]]);
    for line in [
        "scope     jwt:tenant_id, x-project",
        "caller    by the scope; may read once the service has accepted the credentials",
        "headers   x-project: p",
        "left out  authorization, content-type",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}: {text}");
    }
    assert!(explained(&[&files[0], &files[1]]).contains("both have the same key"));
    assert!(explained(&[&files[0], &files[2]]).contains("identity"));
    let opaque = "caller    by the whole credentials: the token is no JWT that can be read";
    assert!(explained(&[&files[3]]).lines().any(|line| line == opaque));
}

#[test]
fn a_reload_changes_whom_tokens_must_be_of_and_keeps_known_keys() {
    run(async {
        let (login, members) = (Login::new("a"), Members::default());
        let set = login.set();
        let keys = Upstream::always(Script::json(&set)).await;
        let upstream = members.serve().await;
        let config = routes("[\"jwt:tenant_id\"]") + &jwks(&format!("url = \"{}\"", keys.url()));
        let sidecache = Setup::to(&upstream.url()).config(&config).admin().start().await;
        let knows = async || (sidecache.health().await["jwks"]["keys"] == 1).then_some(());
        eventually("the keys", knows).await;
        let client = sidecache.client();
        let mut number = 0;
        let mut is_shared = async |question: &str| {
            let mut received = Vec::new();
            for _ in 0..2 {
                number += 1;
                let token = bearer(&login.token("t", number));
                members.admit(&token, "t");
                received.push(ask(&client, ROUTES[0], question, &token).await.cache().to_owned());
            }
            received[1] == "HIT"
        };
        assert!(is_shared("one").await);
        let reloaded = |times: usize| {
            let is_reload = |line: &Value| line["message"] == "reloaded";
            (sidecache.log.all().into_iter().filter(is_reload).count() >= times).then_some(())
        };
        sidecache.reconfigure(&format!("ttl.query = \"7m\"\n{config}"));
        eventually("a reload", async || reloaded(1)).await;
        assert!(is_shared("two").await);
        assert_eq!(keys.calls(), 1, "the same [jwks]: the keys stay");
        sidecache.reconfigure(&config.replace("https://api.example.com", "https://new.example.com"));
        eventually("a reload", async || reloaded(2)).await;
        eventually("the keys", knows).await;
        assert!(!is_shared("three").await, "for another audience");
        sidecache.reconfigure(config.split("[jwks]").next().expect("routes"));
        eventually("a reload", async || reloaded(3)).await;
        assert!(sidecache.health().await.get("jwks").is_none());
        assert!(!is_shared("four").await, "each token is accepted by itself");
        let page = sidecache.operator().get("/metrics").await.text();
        assert!(!page.contains("sidecache_jwks"), "{page}");
    });
}

#[test]
fn the_keys_are_measured() {
    run(async {
        let login = Login::new("a");
        let set = login.set();
        let keys = Upstream::in_turn(vec![Script::json(&set), Script::json_with(500, &[], &json!({}))]).await;
        let config = jwks(&format!("url = \"{}\"\nrefresh = \"100ms\"", keys.url()));
        let sidecache = Setup::to("http://127.0.0.1:9").config(&config).admin().start().await;
        let operator = sidecache.operator();
        eventually("failures", async || {
            let page = operator.get("/metrics").await.text();
            let value = |name: &str| {
                let line = page.lines().find_map(|line| line.strip_prefix(name))?;
                line.trim().parse::<f64>().ok()
            };
            let failed = value("sidecache_jwks_loads_total{outcome=\"error\"}")?;
            (failed > 1.0).then(|| {
                assert_eq!(value("sidecache_jwks_keys"), Some(1.0));
                assert_eq!(value("sidecache_jwks_loads_total{outcome=\"ok\"}"), Some(1.0));
            })
        })
        .await;
    });
}
