//! Clients and operators over TLS.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::{
    ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    http::upstream_tls::certificates,
    support::{
        RawClient, RedisServer, Script, Setup, Sidecache, Upstream, eventually, measured, post, run,
        samples::{CHAT, chat, chat_answer},
        soon,
    },
};

/// What a client offers.
struct Offer<'a> {
    versions: &'a [&'static SupportedProtocolVersion],
    alpn: &'a [&'a [u8]],
    shows_certificate: bool,
}

const PLAIN: Offer<'_> = Offer { versions: &[&TLS12, &TLS13], alpn: &[], shows_certificate: false };

/// A client's connector, which trusts the authority in `dir`.
fn connector(dir: &Path, offer: &Offer<'_>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(dir.join("ca.pem")).expect("a certificate"))
        .expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(offer.versions)
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = if offer.shows_certificate {
        let certificate = CertificateDer::from_pem_file(dir.join("cert.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).expect("a key");
        builder.with_client_auth_cert(vec![certificate], key).expect("a pair")
    } else {
        builder.with_no_client_auth()
    };
    config.alpn_protocols = offer.alpn.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

async fn connect(
    address: SocketAddr,
    dir: &Path,
    offer: &Offer<'_>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    soon("a handshake", connector(dir, offer).connect(name, stream)).await
}

async fn ask(stream: &mut TlsStream<TcpStream>, request: &str) -> std::io::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await?;
    Ok(answer)
}

fn question() -> String {
    post(CHAT, "connection: close\r\n", &chat().to_string())
}

/// A sidecache whose clients come over TLS, with the certificate in `dir`.
fn setup(upstream: &Upstream, dir: &TempDir, more: &str) -> Setup {
    let path = dir.path().display();
    let files = format!("[tls]\ncert = \"{path}/cert.pem\"\nkey = \"{path}/key.pem\"\n{more}");
    Setup::to(&upstream.url()).config(&files)
}

/// The certificate that clients are shown.
async fn shown(sidecache: &Sidecache, dir: &Path) -> Vec<u8> {
    let stream = connect(sidecache.address(), dir, &PLAIN).await.expect("a handshake");
    let (_, session) = stream.get_ref();
    session.peer_certificates().expect("a certificate")[0].to_vec()
}

#[test]
fn clients_use_both_versions_and_both_protocols() {
    run(async {
        let dir = certificates();
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = setup(&upstream, &dir, "").start().await;
        for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
            let offer = Offer { versions: &[version], alpn: &[b"http/1.1"], ..PLAIN };
            let mut stream = connect(sidecache.address(), dir.path(), &offer).await.expect("a handshake");
            assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            let answer = ask(&mut stream, &question()).await.expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains(&chat_answer().to_string()), "{answer}");
        }
        assert_eq!(upstream.last().header("x-forwarded-proto"), Some("https"));

        let offer = Offer { alpn: &[b"h2", b"http/1.1"], ..PLAIN };
        let stream = connect(sidecache.address(), dir.path(), &offer).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let io = hyper_util::rt::TokioIo::new(stream);
        let executor = hyper_util::rt::TokioExecutor::new();
        let handshake = hyper::client::conn::http2::handshake(executor, io).await;
        let (mut sender, connection) = handshake.expect("HTTP/2");
        tokio::spawn(connection);
        let request = http::Request::post(format!("https://localhost{CHAT}"))
            .header("content-type", "application/json")
            .body(http_body_util::Full::new(bytes::Bytes::from(chat().to_string())))
            .expect("a request");
        let answer = soon("an answer", sender.send_request(request)).await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x-cache"]),
            (200, &"HIT".parse().expect("a value"))
        );
    });
}

#[test]
fn clients_need_a_certificate_if_their_authority_is_named() {
    run(async {
        let dir = certificates();
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let authority = format!("client_ca = \"{}/ca.pem\"", dir.path().display());
        let sidecache = setup(&upstream, &dir, &authority).start().await;
        for (shows_certificate, version) in [(true, &TLS12), (true, &TLS13), (false, &TLS12), (false, &TLS13)]
        {
            let offer = Offer { shows_certificate, versions: &[version], ..PLAIN };
            // Over TLS 1.3, a client learns only after its handshake that it is refused.
            let answer = match connect(sidecache.address(), dir.path(), &offer).await {
                Ok(mut stream) => ask(&mut stream, &question()).await,
                Err(error) => Err(error),
            };
            assert_eq!(answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")), shows_certificate);
        }
    });
}

#[test]
fn operators_use_tls_of_their_own() {
    run(async {
        let dir = certificates();
        let path = dir.path().display();
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let files = format!("[admin]\ntls_cert = \"{path}/cert.pem\"\ntls_key = \"{path}/key.pem\"");
        let sidecache = Setup::to(&upstream.url()).config(&files).admin().start().await;
        assert_eq!(sidecache.client().post(CHAT, &chat()).await.status, 200, "clients need none");
        let mut stream = connect(sidecache.admin(), dir.path(), &PLAIN).await.expect("a handshake");
        let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let page = ask(&mut stream, request).await.expect("an answer");
        let end =
            page.lines().find(|line| line.starts_with("sidecache_certificate_expiry_timestamp_seconds"));
        let end = end.and_then(|line| line.strip_suffix(".0").or(Some(line))).expect("the end");
        let (labels, seconds) = end.rsplit_once(' ').expect("a value");
        assert!(labels.ends_with("{use=\"admin\"}"), "{labels}");
        let left = seconds.parse::<f64>().expect("seconds") - now();
        assert!((1.5 * 86_400.0..=2.0 * 86_400.0).contains(&left), "{left}");
        let line = sidecache.log.lifecycle("a certificate ends soon").await;
        assert_eq!((&line["level"], &line["use"]), (&"WARNING".into(), &"admin".into()));
    });
}

/// What Redis and the service are shown ends, too, and so does a token that is a password.
#[test]
fn the_ends_of_what_other_servers_are_shown_are_told() {
    run(async {
        let dir = certificates();
        let path = dir.path().display();
        let ends = now() as u64 + 60;
        let payload = URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{ends}}}"));
        fs::write(dir.path().join("token"), format!("e30.{payload}.c2ln\n")).expect("a file");
        let nowhere = RedisServer::free_port();
        let redis = format!(
            "[store]\nredis = \"rediss://127.0.0.1:{nowhere}\"\nredis_ca = \"{path}/ca.pem\"\nredis_cert = \"{path}/cert.pem\"\n\
             redis_key = \"{path}/key.pem\"\nredis_password_file = \"{path}/token\"\n"
        );
        let service = format!(
            "[upstream]\nca = \"{path}/ca.pem\"\nclient_cert = \"{path}/cert.pem\"\nclient_key = \"{path}/key.pem\"\n"
        );
        let setup = Setup::to(&format!("https://127.0.0.1:{nowhere}")).config(&redis).config(&service);
        let sidecache = setup.admin().start().await;
        for shown_to in ["redis", "upstream"] {
            let is_it = |line: &serde_json::Value| {
                line["message"] == "a certificate ends soon, or has ended" && line["use"] == shown_to
            };
            let line = sidecache.log.wait_for(shown_to, is_it).await;
            assert!(line["file"].as_str().is_some_and(|file| file.ends_with("cert.pem")), "{line}");
        }
        let told = async |series: &str| {
            let page = sidecache.operator().get("/metrics").await.text();
            let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
            line.parse::<f64>().ok()
        };
        for shown_to in ["redis", "upstream"] {
            let series = format!("sidecache_certificate_expiry_timestamp_seconds{{use=\"{shown_to}\"}}");
            let left = told(&series).await.expect("its end") - now();
            assert!((1.5 * 86_400.0..=2.0 * 86_400.0).contains(&left), "{shown_to}: {left}");
        }
        let token = "sidecache_token_expiry_timestamp_seconds{use=\"redis\"}";
        assert_eq!(told(token).await, Some(ends as f64));
        // The next token says nothing of its end, and the service is shown nothing any more.
        fs::write(dir.path().join("token"), "a-plain-password").expect("a file");
        sidecache.reconfigure(&redis);
        let shown = "sidecache_certificate_expiry_timestamp_seconds{use=\"upstream\"}";
        eventually("neither is told", async || {
            (told(token).await.is_none() && told(shown).await.is_none()).then_some(())
        })
        .await;
    });
}

fn now() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_secs_f64()
}

#[test]
fn new_files_are_used_without_a_restart_and_bad_ones_change_nothing() {
    run(async {
        let (dir, next) = (certificates(), certificates());
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = setup(&upstream, &dir, "").start().await;
        let first = shown(&sidecache, dir.path()).await;
        let mut open = connect(sidecache.address(), dir.path(), &PLAIN).await.expect("a handshake");
        fs::write(dir.path().join("cert.pem"), "no certificate").expect("a file");
        let line = sidecache.log.lifecycle("a new certificate is of no use").await;
        assert_eq!(line["level"], "ERROR");
        let error = line["error"].as_str().expect("an error");
        assert!(error.contains("tls.cert") && error.contains("cert.pem"), "{error}");
        assert_eq!(shown(&sidecache, dir.path()).await, first, "the old one stays");
        for file in ["ca.pem", "key.pem", "cert.pem"] {
            fs::copy(next.path().join(file), dir.path().join(file)).expect("a file");
        }
        sidecache.hangup();
        sidecache.log.lifecycle("a new certificate is used").await;
        let second = shown(&sidecache, dir.path()).await;
        assert_ne!(second, first);
        let answer = ask(&mut open, &question()).await.expect("open connections go on");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    });
}

#[test]
fn useless_files_are_reported_at_the_start_and_by_check() {
    let dir = certificates();
    let path = dir.path().display().to_string();
    fs::write(dir.path().join("empty.pem"), "").expect("a file");
    for (files, expected) in [
        ("cert = \"/no/such.pem\"\nkey = \"P/key.pem\"", "tls.cert: /no/such.pem"),
        ("cert = \"P/cert.pem\"\nkey = \"/no/such.pem\"", "tls.key: /no/such.pem"),
        ("cert = \"P/empty.pem\"\nkey = \"P/key.pem\"", "no certificate in PEM"),
        ("cert = \"P/cert.pem\"\nkey = \"P/ca.key\"", "tls.cert"),
        ("cert = \"P/cert.pem\"\nkey = \"P/key.pem\"\nclient_ca = \"P/key.pem\"", "tls.client_ca"),
    ] {
        let files = format!("[tls]\n{}", files.replace('P', &path));
        for command in [&[][..], &["check"]] {
            let setup = Setup::to("http://127.0.0.1:9").config(&files).arguments(command);
            let ended = setup.command().output().expect("the binary");
            let complaint = String::from_utf8_lossy(&ended.stderr);
            assert!(!ended.status.success(), "{complaint}");
            assert!(complaint.contains(expected), "{expected}: {complaint}");
        }
    }
}

/// Neither a slow handshake nor one that never comes keeps others waiting.
#[test]
fn slow_handshakes_delay_nobody_and_end() {
    run(async {
        let dir = certificates();
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let limits = "[limits]\nheader_timeout = \"2s\"";
        let mut sidecache = setup(&upstream, &dir, limits).start().await;
        let mut silent = Vec::new();
        for number in 0..50 {
            let mut client = RawClient::connect(sidecache.address()).await;
            // The first bytes of a handshake, or nothing at all.
            if number % 2 == 0 {
                client.send([0x16, 0x03, 0x01, 0x02]).await;
            }
            silent.push(client);
        }
        let began = std::time::Instant::now();
        let mut stream = connect(sidecache.address(), dir.path(), &PLAIN).await.expect("a handshake");
        let answer = ask(&mut stream, &question()).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        measured(format_args!("50 silent handshakes; another client is served in {:.1?}", began.elapsed()));
        for client in silent {
            assert_eq!(client.rest_bytes().await.len(), 0, "closed without an answer");
        }
        // HTTP without TLS is no handshake.
        let mut plain = RawClient::connect(sidecache.address()).await;
        plain.send(question()).await;
        assert!(!String::from_utf8_lossy(&plain.rest_bytes().await).contains("HTTP/1.1"));
        let _silent = RawClient::connect(sidecache.address()).await;
        assert_eq!(sidecache.stop().await.code(), Some(0));
        assert!(!sidecache.log.text().contains("the drain's time is up"));
    });
}

#[test]
fn a_stream_over_tls_comes_event_by_event() {
    run(async {
        let dir = certificates();
        let go_on = crate::support::Gate::new();
        let paced = Script::chunked("text/plain").chunk("begun ").wait(&go_on).chunk("and finished").end();
        let upstream = Upstream::always(paced).await;
        let sidecache = setup(&upstream, &dir, "").start().await;
        let mut stream = connect(sidecache.address(), dir.path(), &PLAIN).await.expect("a handshake");
        let request = post("/some", "connection: close\r\n", "{}");
        stream.write_all(request.as_bytes()).await.expect("open");
        let mut text = String::new();
        eventually("the first piece", async || {
            let mut bytes = [0; 1024];
            let length = stream.read(&mut bytes).await.expect("open");
            text += &String::from_utf8_lossy(&bytes[..length]);
            text.contains("begun ").then_some(())
        })
        .await;
        go_on.open();
        let mut rest = String::new();
        soon("the rest", stream.read_to_string(&mut rest)).await.expect("a proper end");
        assert!(rest.contains("and finished"), "{rest}");
    });
}
