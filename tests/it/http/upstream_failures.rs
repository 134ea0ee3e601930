//! What clients, the log and `sidecache check` say of an upstream that gives no proper answer.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::upstream_tls::{behind_tls, certificates, certificates_for};
use crate::support::{
    RedisServer, Script, Setup, Upstream, run,
    samples::{CHAT, chat, chat_answer},
};

/// A sidecache for the upstream at `url` that trusts the authority in `dir`.
fn trusting(url: &str, dir: &Path) -> Setup {
    Setup::to(url).env("SSL_CERT_FILE", dir.join("ca.pem").to_str().expect("UTF-8"))
}

/// Checks what a client and the log get: an error with these `details`.
async fn assert_details(setup: Setup, error: &str, details: &Value) {
    let sidecache = setup.start().await;
    for (target, id) in [("/some", "passed"), (CHAT, "covered")] {
        let answer = sidecache.client().post_with(target, &[("x-request-id", id)], &chat()).await;
        let body = answer.json();
        assert_eq!((answer.status, &body["error"], &body["details"]), (502, &json!(error), details));
        let is = |line: &Value| line["event_type"] == "error" && line["request_id"] == *id;
        let line = sidecache.log.wait_for("the error", is).await;
        for (name, value) in details.as_object().expect("members") {
            assert_eq!(line["context"][name], *value, "{line}");
        }
    }
}

/// What `check` says of the upstream, and that this is a failure if it is strict.
fn complaint(setup: &Setup) -> String {
    let ended = setup.command().output().expect("it runs");
    assert!(!ended.status.success());
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    text.lines().find(|line| line.contains("upstream.url: ")).unwrap_or_default().to_owned()
}

const CHECK: [&str; 2] = ["check", "--strict"];

/// An upstream that answers before it is asked, and not over TLS.
async fn plain() -> Upstream {
    Upstream::serve(|mut conn| async move {
        conn.play(Script::raw().send("HTTP/1.1 400 Bad Request\r\n\r\n").close()).await;
    })
    .await
}

/// Upstreams whose TLS is of no use, with what is wrong: the word for it, and what `check` says.
async fn useless_tls(
    upstream: &Upstream,
    plain: &Upstream,
) -> Vec<(String, TempDir, &'static str, &'static str)> {
    let (good, other) = (certificates(), certificates_for("DNS:other.test"));
    let plain = plain.url().replace("http://127.0.0.1", "https://localhost");
    let stranger = behind_tls(upstream, good.path()).await;
    let misnamed = behind_tls(upstream, other.path()).await;
    vec![
        (stranger, certificates(), "authority", "no known authority vouches for its certificate"),
        (misnamed, other, "name", "its certificate is for other names"),
        (plain, good, "protocol", "it speaks no TLS"),
    ]
}

#[test]
fn a_connection_that_fails_is_told_by_its_kind() {
    run(async {
        let nowhere = format!("http://127.0.0.1:{}", RedisServer::free_port());
        for (url, kind, host) in
            [("http://nobody.invalid", "dns", "nobody.invalid"), (&nowhere, "connect", "127.0.0.1")]
        {
            let details = json!({"kind": kind, "host": host});
            assert_details(Setup::to(url), "UpstreamConnectionException", &details).await;
        }
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        for (url, dir, trouble, _) in useless_tls(&upstream, &plain().await).await {
            let details = json!({"kind": "tls", "host": "localhost", "trouble": trouble});
            assert_details(trusting(&url, dir.path()), "UpstreamConnectionException", &details).await;
        }
    });
}

#[test]
fn an_answer_that_is_none_is_told_by_its_kind() {
    run(async {
        let unasked =
            Script::raw().send("HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
        let coded = Script::raw().head(200, &[("transfer-encoding", "gzip")]).close();
        for (script, kind) in [
            (Script::raw().close(), "closed"),
            (Script::raw().send("SSH-2.0-OpenSSH_9.2p1\r\n\r\n").close(), "http"),
            (coded, "framing"),
            (unasked, "upgrade"),
        ] {
            let upstream = Upstream::always(script).await;
            let details = json!({"kind": kind});
            assert_details(Setup::to(&upstream.url()), "UpstreamProtocolException", &details).await;
        }
    });
}

#[test]
fn check_shakes_hands_and_says_what_failed() {
    run(async {
        let upstream = Upstream::always(Script::json_with(404, &[], &json!({}))).await;
        for (url, dir, _, text) in useless_tls(&upstream, &plain().await).await {
            let told = complaint(&trusting(&url, dir.path()).arguments(&CHECK));
            assert!(told.contains(text) && told.contains("https://localhost:"), "{told}");
        }
        let nowhere = format!("http://127.0.0.1:{}", RedisServer::free_port());
        let silent = Upstream::always(Script::raw().hang()).await;
        let impatient = "[upstream]\nfirst_byte_timeout = \"100ms\"";
        for (setup, text) in [
            (Setup::to("http://nobody.invalid"), "its name has no address"),
            (Setup::to(&nowhere), "refused"),
            (Setup::to(&silent.url()).config(impatient), "did not answer in time"),
        ] {
            let told = complaint(&setup.arguments(&CHECK));
            assert!(told.contains(text), "{told}");
        }
        let dir = certificates();
        let url = behind_tls(&upstream, dir.path()).await;
        let setup = trusting(&format!("{url}/base"), dir.path()).arguments(&CHECK);
        let ended = setup.command().output().expect("it runs");
        assert!(ended.status.success(), "{ended:?}: a 404 is an answer");
        assert_eq!(upstream.last().target, "/base/");
    });
}
