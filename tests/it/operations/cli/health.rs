//! `sidecache health`.

use serde_json::json;

use super::command;
use crate::support::{Script, Setup, Sidecache, Upstream, eventually, run};

/// Whether the command succeeds, and what it prints.
fn health(arguments: &[&str]) -> (bool, String) {
    let ended = command(&Setup::bare().arguments(&["health"]).arguments(arguments), "");
    (ended.success, ended.output + &ended.complaint)
}

#[test]
fn health_asks_the_clients_port_without_an_admin_listener() {
    run(async {
        let upstream = Upstream::always(Script::json(&json!({}))).await;
        let mut sidecache = Sidecache::start(&upstream.url()).await;
        let listen = sidecache.address().to_string();
        let url = format!("http://{listen}");
        for (arguments, expected) in [
            (&["--listen", &listen][..], "\"status\":\"healthy\""),
            (&["--proxy", &url], "\"status\":\"healthy\""),
            (&["--listen", &listen, "--live"], "{\"status\":\"live\"}"),
            (&["--listen", &listen, "--ready"], "{\"status\":\"ready\"}"),
        ] {
            let (success, told) = health(arguments);
            assert!(success && told.contains(expected), "{arguments:?}: {told}");
        }
        sidecache.kill();
        let (success, told) = health(&["--listen", &listen, "--live"]);
        assert!(!success && told.contains("nothing answers"), "{told}");
    });
}

#[test]
fn while_it_drains_it_is_live_and_not_ready() {
    run(async {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = format!("unix:{}/c.sock", dir.path().display());
        let setup = Setup::to("http://127.0.0.1:9").config("drain_delay = \"60s\"");
        let sidecache = setup.arguments(&["--listen", &socket]).start().await;
        assert!(health(&["--listen", &socket, "--ready"]).0);
        sidecache.terminate();
        let told = eventually("not ready", async || {
            let (success, told) = health(&["--listen", &socket, "--ready"]);
            (!success).then_some(told)
        })
        .await;
        assert!(told.contains("status 503") && told.contains("draining"), "{told}");
        assert!(health(&["--listen", &socket, "--live"]).0);
    });
}
