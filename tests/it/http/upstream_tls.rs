//! An upstream behind TLS, with an authority of the test's own.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::support::{
    Script, Setup, Upstream, measured, run,
    samples::{CHAT, chat, chat_answer},
};

fn openssl(dir: &Path, arguments: &[&str]) {
    let done = Command::new("openssl").args(arguments).current_dir(dir).output();
    let done = done.expect("openssl runs; install it: apt-get install openssl");
    assert!(done.status.success(), "{done:?}");
}

/// A folder with an authority, `ca.pem`, and a certificate that it signed for this machine.
pub(crate) fn certificates() -> TempDir {
    certificates_for("DNS:localhost,IP:127.0.0.1")
}

/// A folder with an authority, `ca.pem`, and a certificate that it signed for these names.
pub(crate) fn certificates_for(names: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority = ["-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", "-days", "2"];
    openssl(dir.path(), &[&["req", "-x509"], &key[..], &authority].concat());
    let server = ["-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost"];
    openssl(dir.path(), &[&["req"], &key[..], &server].concat());
    std::fs::write(dir.path().join("names"), format!("subjectAltName={names}")).expect("a file");
    let sign = ["x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(dir.path(), &[&sign[..], &["-out", "cert.pem", "-days", "2", "-extfile", "names"]].concat());
    dir
}

/// The URL of a TLS proxy in front of `upstream`.
pub(crate) async fn behind_tls(upstream: &Upstream, dir: &Path) -> String {
    behind(upstream, dir, Arc::new(NoClientAuth)).await
}

/// The same, for clients with a certificate that the authority in `dir` signed.
async fn behind_mutual_tls(upstream: &Upstream, dir: &Path) -> String {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(dir.join("ca.pem")).expect("a certificate");
    roots.add(authority).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    behind(upstream, dir, verifier.expect("a verifier")).await
}

async fn behind(upstream: &Upstream, dir: &Path, clients: Arc<dyn ClientCertVerifier>) -> String {
    let certificate = CertificateDer::from_pem_file(dir.join("cert.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], key)
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let target = upstream.address();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust us leaves.
                let Ok(mut client) = acceptor.accept(stream).await else { return };
                let mut server = TcpStream::connect(target).await.expect("the upstream");
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    format!("https://localhost:{port}")
}

#[test]
fn an_upstream_behind_tls_is_cached_and_passed_through() {
    run(async {
        let dir = certificates();
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let url = behind_tls(&upstream, dir.path()).await;
        let bundle = dir.path().join("ca.pem");
        let sidecache = Setup::to(&url).env("SSL_CERT_FILE", bundle.to_str().expect("UTF-8")).start().await;
        let client = sidecache.client();
        for (target, turn) in [("/some", "PASS"), (CHAT, "MISS"), (CHAT, "HIT")] {
            let answer = client.post(target, &chat()).await;
            assert_eq!((answer.status, answer.cache(), answer.json()), (200, turn, chat_answer()));
        }
        let host = url.strip_prefix("https://");
        assert_eq!(upstream.last().header("host"), host);
        let health = sidecache.health().await;
        assert_eq!(health["upstream"]["reachable"], true, "{health}");
    });
}

#[test]
fn tls_connections_are_reused_unless_closed() {
    run(async {
        let dir = certificates();
        let bundle = dir.path().join("ca.pem");
        for closes in [false, true] {
            let connections = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&connections);
            let upstream = Upstream::serve(move |mut conn| {
                counted.fetch_add(1, Ordering::Relaxed);
                async move {
                    while conn.request().await.is_some() {
                        conn.play(Script::json(&chat_answer())).await;
                        if closes {
                            return;
                        }
                    }
                }
            })
            .await;
            let url = behind_tls(&upstream, dir.path()).await;
            let bundle = bundle.to_str().expect("UTF-8");
            let sidecache = Setup::to(&url).env("SSL_CERT_FILE", bundle).start().await;
            let client = sidecache.client();
            for number in 0..40 {
                let asked = [("cache-control", "no-cache"), ("x-number", &number.to_string())];
                assert_eq!(client.get("/some").await.status, 200, "{number}, closes: {closes}");
                assert_eq!(
                    client.post_with(CHAT, &asked, &chat()).await.status,
                    200,
                    "{number}, closes: {closes}"
                );
            }
            let connections = connections.load(Ordering::Relaxed);
            measured(format_args!("80 requests over {connections} connections; closes: {closes}"));
            assert!(
                if closes { connections >= 80 } else { connections <= 4 },
                "{connections}, closes: {closes}"
            );
        }
    });
}

#[test]
fn an_upstream_with_an_untrusted_certificate_is_not_asked() {
    run(async {
        let (dir, other) = (certificates(), certificates());
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let url = behind_tls(&upstream, dir.path()).await;
        let bundle = other.path().join("ca.pem");
        let sidecache = Setup::to(&url).env("SSL_CERT_FILE", bundle.to_str().expect("UTF-8")).start().await;
        for target in ["/some", CHAT] {
            let headers = [("x-request-id", target.trim_matches('/'))];
            let answer = sidecache.client().post_with(target, &headers, &chat()).await;
            assert_eq!(
                (answer.status, &answer.json()["error"]),
                (502, &"UpstreamConnectionException".into())
            );
        }
        let line = sidecache.log.wait_for("the error", |line| line["event_type"] == "error").await;
        assert!(line["exc_info"].as_str().expect("a chain").contains("certificate"), "{line}");
        assert_eq!(upstream.calls(), 0);
    });
}

/// The lines of the settings for files in `dir`.
fn files(dir: &Path, settings: &[(&str, &str)]) -> String {
    let line = |(setting, name): &(&str, &str)| format!("{setting} = \"{}\"\n", dir.join(name).display());
    "[upstream]\n".to_owned() + &settings.iter().map(line).collect::<String>()
}

#[test]
fn a_service_may_have_its_own_authority_and_want_a_certificate() {
    run(async {
        let dir = certificates();
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let url = behind_mutual_tls(&upstream, dir.path()).await;
        let own = [("ca", "ca.pem"), ("client_cert", "cert.pem"), ("client_key", "key.pem")];
        let sidecache = Setup::to(&url).config(&files(dir.path(), &own)).start().await;
        for (target, turn) in [("/some", "PASS"), (CHAT, "MISS"), (CHAT, "HIT")] {
            let answer = sidecache.client().post(target, &chat()).await;
            assert_eq!((answer.status, answer.cache(), answer.json()), (200, turn, chat_answer()));
        }
        let stranger = Setup::to(&url).config(&files(dir.path(), &own[..1])).start().await;
        let details = stranger.client().get("/some").await.json()["details"].clone();
        assert_eq!(details, json!({"kind": "tls", "host": "localhost", "trouble": "client-certificate"}));
    });
}

#[test]
fn files_for_the_service_are_read_again_and_a_bad_one_changes_nothing() {
    run(async {
        let (dir, other) = (certificates(), certificates());
        let upstream = Upstream::always(Script::json(&chat_answer()).close()).await;
        let url = behind_tls(&upstream, dir.path()).await;
        let authority = other.path().join("now.pem");
        let put = |from: &Path| {
            std::fs::copy(from, other.path().join("new.pem")).expect("a file");
            std::fs::rename(other.path().join("new.pem"), &authority).expect("a file");
        };
        put(&other.path().join("ca.pem"));
        let sidecache = Setup::to(&url).config(&files(other.path(), &[("ca", "now.pem")])).start().await;
        let client = sidecache.client();
        assert_eq!(client.get("/some").await.json()["details"]["trouble"], "authority");
        put(&dir.path().join("ca.pem"));
        assert_eq!(sidecache.log.lifecycle("a new certificate is used").await["use"], "upstream");
        assert_eq!(client.get("/some").await.status, 200);
        put(&dir.path().join("names"));
        let told = sidecache.log.lifecycle("a new certificate is of no use").await;
        assert_eq!((&told["level"], &told["use"]), (&json!("ERROR"), &json!("upstream")));
        let error = told["error"].as_str().expect("a text");
        assert!(error.starts_with("upstream.ca: ") && error.contains("now.pem"), "{error}");
        assert_eq!(client.get("/some").await.status, 200, "the old one stays");
    });
}

#[test]
fn useless_files_for_the_service_are_reported_at_the_start_and_by_check() {
    let dir = certificates();
    for (settings, expected) in [
        (&[("ca", "none.pem")][..], "upstream.ca: "),
        (&[("ca", "key.pem")], "no certificate in PEM"),
        (&[("client_cert", "none.pem"), ("client_key", "key.pem")], "upstream.client_cert: "),
        (&[("client_cert", "cert.pem"), ("client_key", "cert.pem")], "upstream.client_key: "),
        (&[("client_cert", "cert.pem"), ("client_key", "ca.key")], "upstream.client_cert: "),
    ] {
        for command in [&[][..], &["check"]] {
            let setup = Setup::to("https://127.0.0.1:9").config(&files(dir.path(), settings));
            let setup = setup.env("SSL_CERT_FILE", dir.path().join("ca.pem").to_str().expect("UTF-8"));
            let ended = setup.arguments(command).command().output().expect("the binary");
            let complaint = String::from_utf8_lossy(&ended.stderr);
            assert!(!ended.status.success() && complaint.contains(expected), "{expected}: {complaint}");
        }
    }
}
