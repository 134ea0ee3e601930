//! `Location` and `Content-Location` with the service's own address lead back through the proxy.

use serde_json::json;

use crate::support::{
    Gate, RawClient, Script, Setup, Sidecache, Upstream, eventually, run,
    samples::{QUERY, query, query_answer},
    soon,
};

/// A route on which HTTP says what is stored.
const FOLLOWED: &str = "[[route]]\nmatch = \"GET /followed\"\nkind = \"document\"\nmode = \"rfc9111\"";

/// Answers with this status, and with locations at the host of the request.
async fn redirecting(status: u16) -> Upstream {
    Upstream::start(move |request| {
        let host = request.header("host").expect("a host");
        let own = format!("http://{host}/there?x=1#f");
        let secure = format!("https://{}/here", host.to_uppercase());
        let fresh = ("cache-control", "max-age=600");
        let headers = [("location", own.as_str()), ("content-location", &secure), fresh];
        Script::json_with(status, &headers, &query_answer())
    })
    .await
}

#[test]
fn own_locations_are_made_relative_on_every_kind_of_route() {
    run(async {
        for status in [200, 201, 307, 404, 503] {
            let upstream = redirecting(status).await;
            let sidecache = Setup::to(&upstream.url()).config(FOLLOWED).start().await;
            let client = sidecache.client();
            let json = [("content-type", "application/json")];
            for (method, target) in [
                ("GET", "/some"),
                ("POST", "/some"),
                ("POST", QUERY),
                ("POST", QUERY),
                ("GET", "/api/v1/documents/7"),
                ("GET", "/api/v1/documents/7"),
                ("PUT", "/api/v1/documents/7"),
                ("HEAD", "/api/v1/conversations/7"),
                ("GET", "/followed"),
                ("GET", "/followed"),
            ] {
                let body = if method == "POST" { query().to_string() } else { String::new() };
                let answer = client.request(method, target, &json, body).await;
                let what = format!("{method} {target} {status} {}", answer.cache());
                assert_eq!(answer.status, status, "{what}");
                // A hit leaves them out where its route has a TTL.
                let is_hit = answer.cache() == "HIT" && target != "/followed";
                let [there, here] = if is_hit { ["", ""] } else { ["/there?x=1#f", "/here"] };
                assert_eq!(answer.header("location"), there, "{what}");
                assert_eq!(answer.header("content-location"), here, "{what}");
            }
        }
    });
}

#[test]
fn own_locations_are_made_relative_for_followers_and_hits() {
    run(async {
        let gate = Gate::new();
        let wait = gate.clone();
        let upstream = Upstream::start(move |request| {
            let own = format!("http://{}/there", request.header("host").expect("a host"));
            let headers = [("location", own.as_str()), ("cache-control", "max-age=600")];
            Script::json_with(200, &headers, &query_answer()).after(&wait)
        })
        .await;
        let sidecache = Setup::to(&upstream.url()).config(FOLLOWED).start().await;
        let ask = |id: &'static str| {
            let client = sidecache.client();
            tokio::spawn(async move { client.request("GET", "/followed", &[("x-request-id", id)], "").await })
        };
        let leader = ask("leader");
        eventually("the call", async || (upstream.calls() == 1).then_some(())).await;
        let follower = ask("follower");
        sidecache.log.looked_up("follower").await;
        gate.open();
        for asked in [leader, follower, ask("later")] {
            let answer = soon("an answer", asked).await.expect("no panic");
            assert_eq!(answer.header("location"), "/there", "{}", answer.cache());
        }
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn locations_below_the_upstreams_path_lose_that_path() {
    run(async {
        let upstream = Upstream::start(|request| {
            let host = request.header("host").expect("a host");
            let to = request.header("x-to").expect("where to");
            Script::json_with(201, &[("location", &format!("http://{host}{to}"))], &json!({}))
        })
        .await;
        let url = format!("{}/base", upstream.url());
        let sidecache = Sidecache::start(&url).await;
        let address = upstream.address();
        for (to, expected) in [
            ("/base/a/b?x", "/a/b?x".to_owned()),
            ("/base", "/".to_owned()),
            ("/base//other.example/a", "/.//other.example/a".to_owned()),
            ("/elsewhere", format!("http://{address}/elsewhere")),
            ("/basement", format!("http://{address}/basement")),
        ] {
            let answer = sidecache.client().request("GET", "/some", &[("x-to", to)], "").await;
            assert_eq!(answer.header("location"), expected, "{to}");
        }
    });
}

#[test]
fn locations_with_the_preserved_host_are_made_relative() {
    run(async {
        let upstream = redirecting(307).await;
        let config = "[upstream]\nhost = \"preserve\"";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        for host in ["api.example", "api.example:8080", "[::1]:8080"] {
            let answer = sidecache.client().request("GET", "/some", &[("host", host)], "").await;
            assert_eq!(upstream.last().header("host"), Some(host));
            assert_eq!(answer.header("location"), "/there?x=1#f", "{host}");
            assert_eq!(answer.header("content-location"), "/here", "{host}");
        }
    });
}

#[test]
fn locations_elsewhere_are_unchanged() {
    run(async {
        let upstream = Upstream::start(|request| {
            Script::json_with(302, &[("location", request.header("x-to").expect("where to"))], &json!({}))
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let port = upstream.address().port();
        let user = format!("http://user@127.0.0.1:{port}/a");
        let far = format!("http://127.0.0.1:{port}.evil.example/a");
        for to in ["/a", "a?b", "https://login.example/a", "http://127.0.0.1:1/a", &user, &far] {
            for target in ["/some", "/api/v1/documents/7"] {
                let answer = sidecache.client().request("GET", target, &[("x-to", to)], "").await;
                assert_eq!(answer.header("location"), to, "{target}");
            }
        }
    });
}

#[test]
fn the_location_of_a_101_is_unchanged() {
    run(async {
        let upstream = Upstream::serve(|mut conn| async move {
            if let Some(request) = conn.head().await {
                let own = format!("http://{}/a", request.header("host").expect("a host"));
                let lines = format!("connection: upgrade\r\nupgrade: x\r\nlocation: {own}\r\n\r\n");
                conn.send(format!("HTTP/1.1 101 Switching\r\n{lines}")).await;
                conn.some().await;
            }
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let mut raw = RawClient::connect(sidecache.address()).await;
        raw.send("GET /socket HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").await;
        let head = raw.head().await;
        let own = format!("location: {}/a\r\n", upstream.url());
        assert!(head.contains(" 101 ") && head.contains(&own), "{head}");
    });
}

#[test]
fn a_write_invalidates_what_its_locations_name() {
    run(async {
        let upstream = Upstream::start(|request| match request.method.as_str() {
            "GET" => {
                Script::json_with(200, &[("cache-control", "max-age=600")], &json!({"at": request.target}))
            }
            _ => {
                let host = request.header("host").expect("a host");
                let made = format!("http://{host}/base/pages/new");
                let held = format!("http://{host}/base/api/v1/documents/new");
                Script::json_with(201, &[("location", &made), ("content-location", &held)], &json!({}))
            }
        })
        .await;
        let url = format!("{}/base", upstream.url());
        let route = "[[route]]\nmatch = \"* /pages/**\"\nkind = \"other\"\nmode = \"rfc9111\"";
        let sidecache = Setup::to(&url).config(route).start().await;
        let client = sidecache.client();
        for written in ["/pages/all", "/api/v1/documents"] {
            for target in ["/pages/new", "/api/v1/documents/new"] {
                assert_eq!(client.get(target).await.status, 200);
                assert_eq!(client.get(target).await.cache(), "HIT", "{target}");
            }
            assert_eq!(client.post(written, &json!({})).await.status, 201);
            assert_eq!(client.get("/api/v1/documents/new").await.cache(), "MISS", "{written}");
            if written.starts_with("/pages") {
                assert_eq!(client.get("/pages/new").await.cache(), "MISS", "{written}");
            }
        }
    });
}
