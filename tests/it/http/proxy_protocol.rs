//! Proxies of TCP that name their clients.

use crate::support::{
    RawClient, Script, Setup, Upstream, post, run,
    samples::{CHAT, chat, chat_answer},
};

const VERSION_1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.9 4711 80\r\n";
const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x09\x12\x67\0\x50";

const TRUSTING: &str = "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]";

fn question() -> String {
    post(CHAT, "connection: close\r\n", &chat().to_string())
}

#[test]
fn a_trusted_proxy_names_its_client() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Setup::to(&upstream.url()).config(TRUSTING).start().await;
        for header in [VERSION_1, VERSION_2] {
            let mut client = RawClient::connect(sidecache.address()).await;
            client.send(header).await;
            client.send(post("/some", "connection: close\r\nx-forwarded-for: 203.0.113.5\r\n", "{}")).await;
            let answer = client.rest().await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            // The client itself is no trusted proxy: what it says of its way is replaced.
            assert_eq!(upstream.last().all("x-forwarded-for"), ["192.0.2.7"]);
        }
        let line = sidecache.log.wait_for("a request", |line| line["event_type"] == "http_request").await;
        assert_eq!(line["client_ip"], "192.0.2.7");
    });
}

#[test]
fn who_is_not_trusted_or_sends_no_header_is_refused() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let others = TRUSTING.replace("127.0.0.1", "10.0.0.0/8");
        for (config, header, reason) in [
            (&others[..], VERSION_1, "trusted_proxies"),
            (&others, b"", "trusted_proxies"),
            (TRUSTING, b"", "no PROXY header"),
            (TRUSTING, b"PROXY TCP4 nobody\r\n", "no PROXY header"),
        ] {
            let sidecache = Setup::to(&upstream.url()).config(config).start().await;
            let mut client = RawClient::connect(sidecache.address()).await;
            client.send(header).await;
            client.send(question()).await;
            // Closed, perhaps by a reset, since its request is not read.
            let answer = client.rest_or_error().await.unwrap_or_default();
            assert_eq!(answer, "");
            let line = sidecache.log.lifecycle("a connection was refused by proxy_protocol").await;
            assert!(line["reason"].as_str().is_some_and(|text| text.contains(reason)), "{line}");
            assert_eq!((&line["level"], &line["peer"]), (&"WARNING".into(), &"127.0.0.1".into()));
        }
        assert_eq!(upstream.calls(), 0);
    });
}

#[test]
fn a_header_that_does_not_come_is_bounded_in_time_and_delays_nobody() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let limits = format!("{TRUSTING}\nlimits.header_timeout = \"1s\"");
        let sidecache = Setup::to(&upstream.url()).config(&limits).start().await;
        let mut silent = RawClient::connect(sidecache.address()).await;
        silent.send("PROXY TCP4 192.0.2.7").await;
        let mut client = RawClient::connect(sidecache.address()).await;
        client.send(VERSION_2).await;
        client.send(question()).await;
        assert!(client.rest().await.starts_with("HTTP/1.1 200"));
        assert_eq!(silent.rest().await, "");
    });
}

/// Who is trusted follows a reload, as elsewhere.
#[test]
fn a_reload_changes_who_is_trusted() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Setup::to(&upstream.url()).config(TRUSTING).start().await;
        sidecache.reconfigure(&TRUSTING.replace("127.0.0.1", "10.0.0.1"));
        sidecache.log.lifecycle("reloaded").await;
        let mut client = RawClient::connect(sidecache.address()).await;
        client.send(VERSION_1).await;
        client.send(question()).await;
        assert_eq!(client.rest_or_error().await.unwrap_or_default(), "");
    });
}
