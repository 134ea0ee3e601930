//! Requests that no route covers: passed through unchanged, streaming both ways, upgrades included.

use bytes::Bytes;
use serde_json::json;

use crate::support::{
    Client, RawClient, Received, Script, Setup, Sidecache, Upstream, measured, run,
    samples::{CHAT, chat, chat_answer},
};

#[test]
fn every_method_and_status_passes_through() {
    run(async {
        let upstream = Upstream::start(|request| {
            let (_, status) = request.target.rsplit_once('/').expect("a status in the path");
            let status = status.parse().expect("a number");
            Script::whole(status, &[("x-method", &request.method), ("x-body", "kept")], &request.body)
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY", "X-OWN"];
        for method in methods {
            for status in [200, 201, 302, 404, 418, 500, 503] {
                let body = if method == "GET" { "" } else { "a body" };
                let answer = client.request(method, &format!("/some/{status}"), &[], body).await;
                assert_eq!((answer.status, answer.text().as_str()), (status, body), "{method} {status}");
                assert_eq!((answer.header("x-method"), answer.header("x-body")), (method, "kept"));
                assert_eq!((answer.cache(), answer.detail()), ("PASS", Some("no-route")));
            }
        }
        assert_eq!(upstream.calls(), methods.len() * 7, "nothing is stored");
    });
}

#[test]
fn targets_and_bodies_arrive_byte_for_byte() {
    run(async {
        let upstream = Upstream::start(|request| Script::whole(200, &[], &request.body)).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let body: Vec<u8> = (0..=255).collect();
        for target in ["/", "/a%2Fb//c/../d;x=1?q=%20+&q=2&&", "/a?", "/\u{7e}'(*)!$,@:%E4"] {
            let answer = client.request("PUT", target, &[], body.clone()).await;
            assert_eq!((answer.status, answer.body.as_ref()), (200, &body[..]));
            assert_eq!((upstream.last().target.as_str(), &upstream.last().body), (target, &body));
        }
    });
}

#[test]
fn head_204_and_304_have_no_body() {
    run(async {
        let upstream = Upstream::start(|request| match request.target.as_str() {
            "/204" => Script::whole(204, &[], ""),
            "/304" => Script::whole(304, &[("etag", "\"a\"")], ""),
            "/chunked" => Script::chunked("text/plain"),
            _ => Script::raw().head(200, &[("content-length", "12345"), ("content-type", "text/plain")]),
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let head = client.request("HEAD", "/some", &[], "").await;
        assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "12345", 0));
        let chunked = client.request("HEAD", "/chunked", &[], "").await;
        assert_eq!((chunked.status, chunked.body.len()), (200, 0));
        let none = client.get("/204").await;
        assert_eq!(
            (none.status, none.header("content-length"), none.header("transfer-encoding")),
            (204, "", "")
        );
        let same = client.request("GET", "/304", &[("if-none-match", "\"a\"")], "").await;
        assert_eq!((same.status, same.header("etag"), same.body.len()), (304, "\"a\"", 0));
        assert_eq!(upstream.last().header("if-none-match"), Some("\"a\""));
    });
}

#[test]
fn interim_responses_are_dropped_and_the_final_one_arrives() {
    run(async {
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        let upstream = Upstream::start(move |request| {
            let answer = if request.target == CHAT {
                Script::json(&chat_answer())
            } else {
                Script::whole(200, &[("x-last", "1")], "done")
            };
            Script { steps: [Script::raw().send(interim).steps, answer.steps].concat() }
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let answer = sidecache.client().get("/some").await;
        assert_eq!((answer.status, answer.text().as_str(), answer.header("x-last")), (200, "done", "1"));
        let cached = sidecache.client().post(CHAT, &chat()).await;
        assert_eq!((cached.status, cached.json()), (200, chat_answer()));
        measured("2 answers behind 4 interim ones, whole");
    });
}

#[test]
fn an_http_1_0_upstream_leaves_the_client_on_http_1_1() {
    run(async {
        let old = Script::raw().send("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok").close();
        let upstream = Upstream::always(old).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let mut client = RawClient::connect(sidecache.address()).await;
        for _ in 0..2 {
            client.send("GET /x HTTP/1.1\r\nHost: h\r\n\r\n").await;
            let head = client.head().await;
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            client.until("ok").await;
        }
    });
}

#[test]
fn bodies_stream_both_ways_at_once() {
    run(async {
        // The upstream answers each piece of the request before the next one is sent.
        let upstream = Upstream::serve(|mut conn| async move {
            let Some(request) = conn.head().await else { return };
            conn.record(&request);
            conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            while let Some(chunk) = conn.chunk().await.filter(|chunk| !chunk.is_empty()) {
                let text = format!("{:x}\r\n", chunk.len());
                conn.send([text.as_bytes(), &chunk, b"\r\n"].concat()).await;
            }
            conn.send("4\r\nlast\r\n0\r\n\r\n").await;
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let mut raw = RawClient::connect(sidecache.address()).await;
        raw.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        for piece in ["one", "two", "three"] {
            raw.send(format!("{:x}\r\n{piece}\r\n", piece.len())).await;
            raw.until(&format!("{:X}\r\n{piece}\r\n", piece.len())).await;
        }
        raw.send("0\r\n\r\n").await;
        raw.until("4\r\nlast\r\n0\r\n\r\n").await;
        assert_eq!(upstream.last().header("transfer-encoding"), Some("chunked"));
    });
}

#[test]
fn large_bodies_pass_untouched() {
    run(async {
        const SIZE: usize = 64 * 1024 * 1024;
        let upstream = Upstream::serve(|mut conn| async move {
            let Some(Received { body, .. }) = conn.request().await else { return };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            conn.send(head).await;
            conn.send(body).await;
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let body: Bytes = (0..SIZE / 8).flat_map(|n| (n as u64).to_le_bytes()).collect::<Vec<_>>().into();
        let answer = sidecache.client().request("POST", "/upload", &[], body.clone()).await;
        assert_eq!((answer.status, answer.header("content-length")), (200, SIZE.to_string().as_str()));
        assert!(answer.body == body, "{} bytes, and others", answer.body.len());
    });
}

#[test]
fn upgraded_connections_are_tunnelled() {
    run(async {
        let (upstream, closed) = Upstream::until_closed(|mut conn| async move {
            let request = conn.head().await?;
            conn.record(&request);
            conn.send(
                "HTTP/1.1 101 Switching\r\nconnection: Upgrade\r\nupgrade: websocket\r\nx-own: 1\r\n\r\nhi",
            )
            .await;
            loop {
                let some = conn.some().await;
                if some.is_empty() {
                    return Some(conn);
                }
                conn.send(some.to_ascii_uppercase()).await;
            }
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let mut raw = RawClient::connect(sidecache.address()).await;
        raw.send(
            "GET /socket HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-key: abc\r\nsec-websocket-version: 13\r\n\r\n",
        )
        .await;
        let head = raw.head().await.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        assert!(
            head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nconnection: upgrade\r\n"),
            "{head}"
        );
        assert!(head.contains("\r\nx-own: 1\r\n"), "{head}");
        raw.until("hi").await;
        for text in ["one", "two \0\u{1}", "three"] {
            raw.send(text).await;
            raw.until(&text.to_ascii_uppercase()).await;
        }
        let request = upstream.last();
        assert_eq!(request.header("upgrade"), Some("websocket"));
        assert_eq!(request.header("connection").map(str::to_ascii_lowercase).as_deref(), Some("upgrade"));
        assert_eq!(request.header("sec-websocket-key"), Some("abc"));
        drop(raw);
        closed.passed().await;
    });
}

#[test]
fn a_declined_upgrade_is_an_ordinary_answer() {
    run(async {
        let upstream = Upstream::always(Script::whole(426, &[("upgrade", "other")], "no")).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let headers = [("connection", "upgrade"), ("upgrade", "websocket")];
        let answer = sidecache.client().request("GET", "/socket", &headers, "").await;
        assert_eq!((answer.status, answer.text().as_str()), (426, "no"));
    });
}

#[test]
fn http2_without_tls_is_supported() {
    run(async {
        let upstream = Upstream::start(|request| match request.target.as_str() {
            CHAT => Script::json(&chat_answer()),
            _ => Script::whole(200, &[("connection", "x-drop"), ("x-drop", "1")], &request.body),
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = Client::h2c(sidecache.address());
        let answer = client.request("POST", "/some?x=1", &[("x-own", "1")], "a body").await;
        assert_eq!((answer.status, answer.text().as_str(), answer.header("x-drop")), (200, "a body", ""));
        let request = upstream.last();
        assert_eq!(request.target, "/some?x=1");
        assert_eq!(request.header("x-own"), Some("1"));
        assert_eq!(request.header("host"), Some(upstream.address().to_string().as_str()));
        assert_eq!(request.header("x-forwarded-host"), Some(sidecache.address().to_string().as_str()));
        assert_eq!(client.post(CHAT, &chat()).await.cache(), "MISS");
        assert_eq!(client.post(CHAT, &chat()).await.cache(), "HIT");
        assert_eq!(sidecache.client().post(CHAT, &chat()).await.cache(), "HIT", "whatever the version");
        // Many requests at once over one connection.
        let body = json!({"n": 1}).to_string();
        let requests = (0..20).map(|_| {
            let (client, body) = (client.clone(), body.clone());
            tokio::spawn(async move { client.request("PUT", "/some", &[], body).await.status })
        });
        for request in requests.collect::<Vec<_>>() {
            assert_eq!(request.await.expect("an answer"), 200);
        }
    });
}

#[test]
fn the_upstreams_url_may_have_a_path() {
    run(async {
        let upstream = Upstream::start(|_| Script::json(&chat_answer())).await;
        for prefix in ["/base/v2", "/base/v2/"] {
            let url = format!("{}{prefix}", upstream.url());
            let sidecache = Setup::to(&url).start().await;
            let client = sidecache.client();
            client.get("/some?x=1").await;
            assert_eq!(upstream.last().target, "/base/v2/some?x=1");
            assert_eq!(client.post(CHAT, &chat()).await.cache(), "MISS");
            assert_eq!(upstream.last().target, format!("/base/v2{CHAT}"));
            client.get("/").await;
            assert_eq!(upstream.last().target, "/base/v2/");
        }
    });
}
