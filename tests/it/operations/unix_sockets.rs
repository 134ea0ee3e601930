//! Listeners that are socket files.

use std::{
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::cli::command;
use crate::support::{
    Gate, Script, Setup, Upstream, eventually, post, run,
    samples::{CHAT, chat, chat_answer},
    soon,
};

/// Sends a request over a new connection, and reads the whole answer.
async fn ask(path: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("open");
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.expect("text");
    answer
}

fn question() -> String {
    post(CHAT, "connection: close\r\n", &chat().to_string())
}

/// A sidecache whose listeners are these files.
fn setup(upstream: &Upstream, clients: &Path, admin: &Path) -> Setup {
    Setup::to(&upstream.url()).arguments(&[
        "--listen",
        &format!("unix:{}", clients.display()),
        "--admin-listen",
        &format!("unix:{}", admin.display()),
    ])
}

#[test]
fn clients_and_operators_use_socket_files() {
    run(async {
        let dir = tempfile::tempdir().expect("a folder");
        let (clients, admin) = (dir.path().join("c.sock"), dir.path().join("a.sock"));
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let modes = "listen_mode = \"0666\"\nadmin.listen_mode = \"0600\"";
        let mut sidecache = setup(&upstream, &clients, &admin).config(modes).start().await;
        let mode = |path: &Path| {
            let file = std::fs::metadata(path).expect("a file");
            assert!(file.file_type().is_socket());
            file.permissions().mode() & 0o777
        };
        assert_eq!((mode(&clients), mode(&admin)), (0o666, 0o600));
        for turn in ["MISS", "HIT"] {
            let answer = ask(&clients, &question()).await;
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.contains(&format!("x-cache: {turn}")),
                "{answer}"
            );
        }
        let stats = ask(&admin, "GET /stats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        assert!(stats.contains("\"hits\":1"), "{stats}");
        // Who connects has no address: it is this machine.
        assert_eq!(upstream.last().header("x-forwarded-for"), Some("127.0.0.1"));
        let line = sidecache.log.wait_for("a request", |line| line["event_type"] == "http_request").await;
        assert_eq!(line["client_ip"], "127.0.0.1");
        assert_eq!(sidecache.stop().await.code(), Some(0));
        assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 0, "both files are gone");
    });
}

#[test]
fn commands_call_a_socket_file() {
    run(async {
        let dir = tempfile::tempdir().expect("a folder");
        let (clients, admin) = (dir.path().join("c.sock"), dir.path().join("a.sock"));
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let _sidecache = setup(&upstream, &clients, &admin).start().await;
        let admin = format!("unix:{}", admin.display());
        // By the configuration, and by URL.
        for flag in ["--admin-listen", "--admin"] {
            let stats = command(&Setup::bare().arguments(&["stats", "--json", flag, &admin]), "").json();
            assert_eq!(stats["store"], "memory");
        }
    });
}

#[test]
fn a_peer_on_a_socket_file_is_trusted_as_this_machine_is() {
    run(async {
        let dir = tempfile::tempdir().expect("a folder");
        let (clients, admin) = (dir.path().join("c.sock"), dir.path().join("a.sock"));
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let trusting = setup(&upstream, &clients, &admin).config("trusted_proxies = [\"127.0.0.1\"]");
        let _sidecache = trusting.start().await;
        let from = post("/some", "connection: close\r\nx-forwarded-for: 192.0.2.7\r\n", "{}");
        assert!(ask(&clients, &from).await.starts_with("HTTP/1.1 200"));
        assert_eq!(upstream.last().all("x-forwarded-for"), ["192.0.2.7", "127.0.0.1"]);
    });
}

#[test]
fn a_stale_file_is_replaced_and_a_live_one_is_an_error() {
    run(async {
        let dir = tempfile::tempdir().expect("a folder");
        let (clients, admin) = (dir.path().join("c.sock"), dir.path().join("a.sock"));
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let mut killed = setup(&upstream, &clients, &admin).start().await;
        let refused = setup(&upstream, &clients, &admin).command().output().expect("the binary");
        let complaint = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{complaint}");
        assert!(complaint.contains("c.sock") && complaint.contains("another process does"), "{complaint}");
        assert!(ask(&clients, &question()).await.starts_with("HTTP/1.1 200"), "it is still there");
        killed.kill();
        assert!(clients.exists());
        let _next = setup(&upstream, &clients, &admin).start().await;
        assert!(ask(&clients, &question()).await.starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn the_next_process_takes_a_socket_file_over() {
    run(async {
        let dir = tempfile::tempdir().expect("a folder");
        let (clients, admin) = (dir.path().join("c.sock"), dir.path().join("a.sock"));
        let go_on = Gate::new();
        let upstream = Upstream::always(Script::raw().wait(&go_on).then(Script::json(&chat_answer()))).await;
        let sharing = || setup(&upstream, &clients, &admin).config("listen_reuse = true");
        let mut old = sharing().start().await;
        let answer = tokio::spawn({
            let clients = clients.clone();
            async move { ask(&clients, &question()).await }
        });
        eventually("it runs", async || (upstream.calls() > 0).then_some(())).await;
        let next = sharing().start().await;
        old.terminate();
        next.log.lifecycle("the admin listener is taken over").await;
        go_on.open();
        assert!(soon("an answer", answer).await.expect("no panic").starts_with("HTTP/1.1 200"));
        assert_eq!(old.ended().await.code(), Some(0));
        assert!(ask(&clients, &question()).await.starts_with("HTTP/1.1 200"), "the next one's file stays");
    });
}
