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
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
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
    let certificate = CertificateDer::from_pem_file(dir.join("cert.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
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
